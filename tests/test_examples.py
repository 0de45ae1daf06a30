"""Every configuration of examples/ runs by its command, with a short time and few nodes."""

import json
import tomllib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support import run_here

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.toml"))
# A resolution that is given, for elements and for a mesh alike.
FEW = ["discretization.accuracy=false", "discretization.a_nodes=4", "discretization.a_panels=1", "discretization.r_nodes=1"]
FEW += ["discretization.cells=4", "discretization.degree=2", "discretization.tolerance=1e-6"]
FEW += ["output.times=3", "output.snapshots=1", "output.plot=false", "output.file=out.h5"]


def short(training: dict[str, Any]) -> list[str]:
    """Keys that end a training after 0.1 of time, or after two or three stages of that."""
    if "stages" in training:
        stages = [
            ", ".join(f"{key}={json.dumps(value)}" for key, value in {**stage, "duration": 0.1}.items())
            for stage in training["stages"]
        ]
        return [f"training.stages=[{', '.join(f'{{{stage}}}' for stage in stages)}]"]
    return ["training.final_time=0.1", *(["training.strategy_time=1.0"] if "strategy" in training else [])]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_its_loss_falls(example: Path, tmp_path: Path) -> None:
    keys = [*FEW, *short(tomllib.loads(example.read_text()).get("training", {}))]
    options = [word for key in keys for word in ("--set", key)]
    assert run_here(tmp_path, "solve", str(example), *options, "--quiet") == 0
    with h5py.File(tmp_path / "out.h5") as file:
        loss = file["history/loss"][:]
        assert file.attrs["complete"] and np.isfinite(loss).all() and loss[-1] < loss[0]
