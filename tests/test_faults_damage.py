"""A result file that was altered is refused in one line, or what was altered is not used."""

import os
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from support import run_here

import mfpde
from mfpde.density.run import read_density
from mfpde.errors import InputError
from mfpde.output.checkpoint import GROUP, read_checkpoint
from mfpde.output.history import BULK, open_result
from mfpde.output.integrity import NAME, words_sum

SELF = MPI.COMM_SELF
SMALL: dict[str, Any] = {"accuracy": False, "a_nodes": 2, "a_panels": 1, "r_nodes": 2, "final_time": 0.5, "times": 3}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with snapshots and a checkpoint."""
    path: Path = tmp_path_factory.mktemp("damage") / "good.h5"
    mfpde.run(comm=SELF, save=path, snapshots=2, cells=2, degree=2, dimension=1000, b="normal(0, 1)", b_nodes=2, **SMALL)
    return path


def contents(path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Paths of all groups and datasets, and of all attributes."""
    names, attributes = ["/"], []
    with h5py.File(path) as file:
        file.visit(names.append)
        for name in names:
            attributes += [(name, key) for key in file[name].attrs]
    return names[1:], attributes


def without(file: h5py.File, name: str) -> None:
    del file[name]


def reshaped(file: h5py.File, name: str) -> None:
    old = file[name]
    if isinstance(old, h5py.Group):
        del file[name]
        file[name] = 1.0
        return
    values = old[()]
    del file[name]
    file.create_dataset(name, data=np.zeros((3, *np.shape(values))), maxshape=(None, *np.shape(values)))


def altered(file: h5py.File, name: str) -> None:
    old = file[name]
    if isinstance(old, h5py.Group):
        old.attrs["another"] = 1
    elif old.dtype.kind == "f" and old.size:
        old[...] = np.where(np.arange(old.size).reshape(old.shape) == old.size - 1, np.nan, old[()])
    elif old.dtype.kind in "iu" and old.size:
        old[...] = 1 - old[()]
    else:
        without(file, name)


def attribute_gone(file: h5py.File, name: str, key: str) -> None:
    del file[name].attrs[key]


def attribute_altered(file: h5py.File, name: str, key: str) -> None:
    value = file[name].attrs[key]
    file[name].attrs[key] = f"{value}?" if isinstance(value, str) else np.nan


def what_is_read(path: Path) -> Iterator[Callable[[], Any]]:
    """Everything that the package reads, as numbers."""

    def density() -> Any:
        with open_result(path, BULK) as file:
            found: Any = read_density(file)
            return [found.field.times, found.field.moments, *(s.values for s in found.snapshots), *(r.nodes for r in found.rules)]

    def checkpoint() -> Any:
        kept = read_checkpoint(path)
        states = [kept.restart(SELF).read(name, np.arange(kept.total)) for name in ("a", "r", "weight", "b")]
        return [kept.place, kept.told, kept.steps, kept.entropy, kept.planned, kept.config.to_toml(), *states]

    def curves() -> Any:
        found = mfpde.open(path)
        return [found.time, found.loss, found.coefficients, found.target, found.modes, found.config, *found.columns.values()]

    yield from (density, checkpoint, curves)


def read_all(path: Path) -> list[Any]:
    """Each with what was read, or the line that refuses it."""
    found: list[Any] = []
    for read in what_is_read(path):
        try:
            found.append(read())
        except InputError as error:
            found.append(str(error))
    return found


def exact(value: Any) -> Any:
    """What differs if any bit of a value does."""
    if isinstance(value, list | tuple):
        return [exact(each) for each in value]
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)


def all_exact(path: Path) -> list[Any]:
    """The same of a good file, as `check` compares it with."""
    found = read_all(path)
    assert not any(isinstance(each, str) for each in found)
    return exact(found)


def check(path: Path, known: list[Any], what: str) -> None:
    for got, wanted in zip(read_all(path), known, strict=True):
        assert path.name in got if isinstance(got, str) else exact(got) == wanted, (what, got)


def test_an_edited_dataset_or_attribute_is_refused_in_one_line_or_not_used(result: Path, tmp_path: Path) -> None:
    names, attributes = contents(result)
    path, good = tmp_path / "bad.h5", result.read_bytes()
    known = all_exact(result)
    edits: list[tuple[Any, tuple[str, ...]]] = [
        *((edit, (name,)) for edit, name in zip(cycle((without, reshaped, altered)), names, strict=False)),
        *((edit, at) for edit, at in zip(cycle((attribute_gone, attribute_altered)), attributes[::2], strict=False)),
    ]
    for edit, at in edits:
        path.write_bytes(good)
        with h5py.File(path, "a") as file:
            edit(file, *at)
        check(path, known, f"{edit.__name__} {at}")


@pytest.mark.parametrize("name", ["/history/loss", "/checkpoint/a", "/field/moments", "/modes/radial", "/target/coefficients"])
def test_a_number_that_was_altered_in_place_is_found(name: str, result: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes(result.read_bytes())
    with h5py.File(path, "a") as file:
        flat = file[name][()].ravel()
        flat[-1] += np.spacing(flat[-1]) if flat.dtype.kind == "f" else 1
        file[name][...] = flat.reshape(file[name].shape)
    with pytest.raises(InputError, match=f"--restart: .*bad.h5.* is damaged.*{name} is not what was written"):
        read_checkpoint(path)


def test_flipped_bytes_leave_no_altered_number(result: Path, tmp_path: Path) -> None:
    path, good = tmp_path / "bad.h5", result.read_bytes()
    known = all_exact(result)
    chance = np.random.default_rng(1)
    for _ in range(30):
        data, place = bytearray(good), int(chance.integers(len(good)))
        data[place] ^= 1 << int(chance.integers(8))
        path.write_bytes(data)
        check(path, known, f"byte {place}")


def test_a_size_that_the_file_does_not_hold_costs_no_memory(result: Path, tmp_path: Path) -> None:
    path = tmp_path / "huge.h5"
    path.write_bytes(result.read_bytes())
    with h5py.File(path, "a") as file:
        file["/field/moments"].resize(10**9, axis=0)
    with pytest.raises(InputError, match=r"/field/moments has the shape .* more than the file holds"), open_result(path, BULK):
        pass


def test_a_file_left_before_its_first_checkpoint_says_so(result: Path, tmp_path: Path) -> None:
    path = tmp_path / "early.h5"
    path.write_bytes(result.read_bytes())
    with h5py.File(path, "a") as file:
        del file[GROUP]
        file.create_group(GROUP)
    with pytest.raises(InputError, match=r"^--restart: '.*early.h5' was left before its first checkpoint, and holds none"):
        read_checkpoint(path)


def test_commands_name_the_damaged_file_and_end_with_status_2(
    result: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, good = tmp_path / "bad.h5", tmp_path / "good.h5"
    good.write_bytes(result.read_bytes())
    path.write_bytes(result.read_bytes())
    with h5py.File(path, "a") as file:
        file["modes/radial"][-1] = 40
    for words in (
        ("solve", "--restart", "bad.h5", "--set", "training.final_time=5"),
        ("density", "bad.h5", "--bins", "10"),
        ("compare", "good.h5", "bad.h5"),
        ("inspect", "bad.h5"),
    ):
        assert run_here(tmp_path, *words) == 2
        line = capfd.readouterr().err
        assert line.count("\n") == 1 and "bad.h5" in line and "damaged" in line and "output.file" not in line, line


def test_a_pipe_is_no_result(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "good.h5").touch()
    for words in (("solve", "--restart", "pipe"), ("density", "pipe"), ("compare", "pipe", "pipe"), ("inspect", "pipe")):
        assert run_here(tmp_path, *words) == 2
        line = capfd.readouterr().err
        assert line.count("\n") == 1 and "'pipe' is a device, a pipe or a socket" in line, line


def test_the_checksum_of_parts_is_that_of_the_whole() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    parts = words_sum(values[:300]) + words_sum(values[300:], 300)
    assert parts % 2**64 == words_sum(values)


def test_files_of_the_disk_and_of_the_memory_have_the_same_checksums(result: Path, tmp_path: Path) -> None:
    options = {"snapshots": 2, "cells": 2, "degree": 2, "dimension": 1000, "b": "normal(0, 1)", "b_nodes": 2, **SMALL}
    path = mfpde.run(comm=SELF, **options).save(tmp_path / "memory.h5")
    with h5py.File(path) as one, h5py.File(result) as other:
        for name in ("/slices/y", "/slices/snapshots/0001/A", "/target/coefficients", "/history/time"):
            assert one[name].attrs[NAME] == other[name].attrs[NAME]
