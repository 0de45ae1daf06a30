"""The pages that list everything: FILE.md what is in a result file, TARGET.md the keys of a configuration."""

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import h5py
import msgspec
import pytest
from support import run_here

from mfpde.problem.sections import Config, StageSection

EXAMPLES = Path(__file__).parents[1] / "examples"
# Attributes of a dataset that say what it is, see mfpde/output/captions.py, and those of HDF5's dimension scales.
ABOUT = {"units", "long_name", "formula", "dimensions"}
SCALES = {"checksum", "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"}

SHORT = ["output.plot=false", "training.final_time=0.25", "output.times=3"]
FEW = ["discretization.accuracy=false", "discretization.a_nodes=3", "input.dimension=inf"]
ONE = ["target.polynomial=z1", "input.dimension=100", "discretization.a_nodes=3", "discretization.r_nodes=1"]
NET = ["discretization.nodes=net", "discretization.accuracy=0.1", "initial.b=uniform(-1, 1)"]
ROUGH = ["discretization.accuracy=0.1", "discretization.relative_accuracy=0.1"]
# A command, its keys, and further words.
RUNS: dict[str, tuple[str, list[str], list[str]]] = {
    "default": ("solve", [*SHORT, "target.polynomial=z1", "input.dimension=100", *ROUGH], []),
    "net": ("solve", [*SHORT, *ONE[:2], *NET], []),
    "strategy": ("solve", [*SHORT, *FEW, "training.strategy=chen-ge"], []),
    "affine": ("solve", [*SHORT, *ONE, "discretization.frame=affine", "discretization.cells=4"], []),
    "decay": ("solve", [*SHORT, *FEW, "training.decay_a=0.1", "training.interaction=false"], []),
    "function": ("solve", [*SHORT, *FEW, "target.function=tanh(z1 + z2)"], []),
    "biases": ("solve", [*SHORT, *FEW, "initial.b=uniform(-1, 1)", "discretization.b_nodes=2"], []),
    "kernel": ("kernel", [*SHORT, *FEW], ["--once"]),
    "gauss": ("particles", [*SHORT, "particles.particles=64", "particles.sampling=gauss", "discretization.accuracy=1e-2"], []),
    "repeats": ("particles", [*SHORT, "particles.particles=16", "particles.repeats=2", "initial.b=point(0)"], []),
    "width": ("width", ["training.final_time=0.5", "input.dimension=300", "target.polynomial=z1"], ["--batch", "10"]),
    "sweep": ("sweep", [*SHORT, *FEW], ["--vary", "network.activation=['tanh']"]),
    "study": ("converge", [*SHORT, *FEW], ["--vary", "a_nodes", "--values", "2", "3"]),
}
# What a key of a sweep names.
AXES = {"/activation"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small result of every kind."""
    folder = tmp_path_factory.mktemp("files")
    for name, (module, keys, words) in RUNS.items():
        options = [word for key in keys for word in ("--set", key)]
        assert run_here(folder, module, *options, *words, "--output", f"{name}.h5", "--quiet") == 0, name
    words = ["default.h5", "--axes", "a,v1", "--bins", "8", "--accuracy", "0.5", "--output", "density.h5"]
    assert run_here(folder, "density", *words) == 0
    return [folder / f"{name}.h5" for name in (*RUNS, "density")]


def named() -> tuple[set[str], set[tuple[str, str]]]:
    """Datasets, and attributes with their group, that the first columns of FILE.md's tables name; * stands for anything.

    What stands in brackets is there with biases.
    """
    cells = [line.split("|")[1] for line in (EXAMPLES / "FILE.md").read_text().splitlines() if line.startswith("| ")]
    datasets, attributes = set(), set()
    for cell in cells:
        words = [quoted.split(", ") for quoted in re.findall(r"`([^`]+)`", re.sub("[()]", "", cell))]
        if cell.startswith(" attributes of "):
            (group,), names = words
            attributes |= {(group, name) for name in names}
            continue
        for first, *others in words:
            folder = first.rpartition("/")[0]
            datasets |= {first, *(f"{folder}/{name}" for name in others)}
    return datasets, attributes


def contents(path: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """Datasets of a file, and attributes with what they belong to, but for those that every dataset may have."""
    with h5py.File(path) as file:
        items: dict[str, h5py.Group | h5py.Dataset] = {"/": file}
        file.visititems(lambda name, item: items.update({f"/{name}": item}))
        attributes = {(name, key) for name, item in items.items() for key in item.attrs if key not in SCALES}
        datasets = {name for name, item in items.items() if isinstance(item, h5py.Dataset)}
        return datasets, {(name, key) for name, key in attributes if name not in datasets or key not in ABOUT}


def test_every_dataset_and_attribute_of_a_result_is_on_its_page_and_nothing_else(files: list[Path]) -> None:
    datasets, attributes = named()
    found = {path.stem: contents(path) for path in files}
    seen_datasets, seen_attributes = set(), {("/", "commit")}  # where the sources are a repository
    for name, (paths, pairs) in found.items():
        assert {path for path in paths - AXES if not any(fnmatchcase(path, known) for known in datasets)} == set(), name
        unknown = {(group, key) for group, key in pairs if not any(group == g and fnmatchcase(key, k) for g, k in attributes)}
        if name == "density":  # it has the attributes of its group twice
            unknown = {(group, key) for group, key in unknown if ("/density", key) not in pairs}
        assert unknown == set(), name
        seen_datasets |= paths
        seen_attributes |= pairs
    assert {known for known in datasets if not any(fnmatchcase(path, known) for path in seen_datasets)} == set()
    stale = {(g, k) for g, k in attributes if not any(g == group and fnmatchcase(key, k) for group, key in seen_attributes)}
    assert stale == set()


def defaults() -> Iterator[tuple[str, Any]]:
    """Every key that a configuration may hold, but for the names of parameters, and its default."""
    for section in msgspec.structs.fields(Config):
        if section.name != "parameters":
            for field in msgspec.structs.fields(section.type):
                yield f"{section.name}.{field.name}", field.default
    for field in msgspec.structs.fields(StageSection):
        yield f"training.stages.{field.name}", None if field.default is msgspec.NODEFAULT else field.default


def test_every_key_of_a_configuration_is_on_its_page_with_its_default() -> None:
    """Keys that share a row have one default, or one each; none: the cell is empty."""
    shown: dict[str, str] = {}
    for line in (EXAMPLES / "TARGET.md").read_text().partition("## All keys")[2].splitlines():
        if line.startswith("| `"):
            names, values = (re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3])
            shown |= dict(zip(names, values * len(names) if len(values) == 1 else values or [""] * len(names), strict=True))
    known = {key: "" if value in (None, ()) else tomllib.loads(f"x = {shown.get(key) or 0}")["x"] for key, value in defaults()}
    assert shown.keys() == known.keys()
    assert {key: value for key, value in defaults() if value not in (None, ()) and known[key] != value} == {}
    assert [key for key, value in defaults() if value in (None, ()) and shown[key]] == []
