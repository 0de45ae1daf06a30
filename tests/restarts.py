"""Runs that end and go on, for the tests of them: the problems, a run from a checkpoint, and what two files must share."""

import signal
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
from mpi4py import MPI
from petsc4py import PETSc  # noqa: F401  (it begins on all ranks together)
from support import AFFINE

from mfpde import interrupts
from mfpde.discretisations import build_problem
from mfpde.interrupts import Interrupted
from mfpde.output.checkpoint import read_checkpoint
from mfpde.output.restart import stored
from mfpde.problem.config import config_of, load
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config, Output
from mfpde.solve import solve

SELF = MPI.COMM_SELF

# Many short steps on few nodes.
SMALL = ["discretization.accuracy=false", "discretization.a_nodes=6", "discretization.r_nodes=2"]
SMALL += ["discretization.tolerance=1e-10", "training.final_time=3.0"]
SMALL += ["output.times=31", "output.snapshots=4", "output.plot=false"]
FRAME = [AFFINE, "discretization.cells=4", "discretization.degree=2", "discretization.half_width=5.5", "output.times=16"]
STAGES = """training.stages=[
 {duration = 1.5, xi_w = 1.0}, {duration = 1.0, xi_a = 1.0, xi_w = "where(t < 0.5, 1, exp(-t))"},
 {duration = 50.0, xi_a = 1.0, activation = "(1 + u)**2", average = 2, reset_a = true}]""".replace("\n", "")
# Neurons for each pair of labels in the second stage.
POINTS = """training.stages=[{duration = 1.5, xi_w = 1.0, xi_a = 1.0},
 {duration = 1.5, xi_w = 1.0, xi_a = 1.0, average = 2, reset_a = true}]""".replace("\n", "")
PROBLEMS = {
    "one stage": [],
    "sphere": ["initial.w=sphere", "training.constraint=sphere", "input.dimension=20"],
    "biases": ["initial.b=normal(0, 1)", "discretization.b_nodes=3", "training.xi_b=0.5", "training.decay_b=0.1"],
    "jumps": ["training.xi_w=where(t < 1, 1, 0.3)", "training.decay_a=0.1"],
    "stages": [STAGES],
    "averaged points": [POINTS, "input.dimension=inf", "initial.w=zero"],
    "affine": FRAME,
}
# Rounding errors of sums over other ranks, and of file times that a stage's own start is added to.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def read(*overrides: str, comm: MPI.Intracomm = SELF) -> Config:
    """Collective. A configuration of small problems, which several stages have no final time in."""
    words = [word for word in SMALL if not (word.startswith("training.final_time") and any("stages" in o for o in overrides))]
    return comm.bcast(load(None, [*words, *overrides]) if comm.rank == 0 else None)  # type: ignore[no-any-return]


@cache
def problem_of(config: str) -> Problem:
    return build_problem(config_of(tomllib.loads(config)))


def go(comm: MPI.Intracomm, config: Config, path: Path, restart: Path | None = None, steps: int | None = None) -> None:
    """Collective. One run into a file, from the beginning or from a checkpoint, ended by a signal after so many steps."""

    def told(when: float, loss: float | None, count: int) -> None:
        if steps is not None and count >= steps:
            interrupts._State.pending = signal.SIGTERM

    config = config_of(stored(config, path))
    plain = msgspec.structs.replace(config, output=Output()).to_toml()
    problem = comm.bcast(problem_of(plain) if comm.rank == 0 else None)
    kept = None if restart is None else comm.bcast(read_checkpoint(restart) if comm.rank == 0 else None)
    try:
        solve(comm, config, problem, progress=told, restart=kept)
        assert steps is None
    except Interrupted:
        assert steps is not None
    finally:
        interrupts._State.pending = 0


def contents(path: Path) -> dict[str, np.ndarray]:
    """Every number of a result but seconds and checkpoints."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        timed = name.startswith("checkpoint") or name.endswith("wall_time")
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and not timed:
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
        assert file.attrs["complete"]
    return found


def assert_same(one: Path, other: Path, but: str = "nothing", by_cell: bool = False) -> None:
    """With `by_cell`, of densities the mass of each cell: their limiter keeps it, and divides small numbers."""
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    for name in (name for name in first if by_cell and name.endswith("/q")):
        first[name], second[name] = ((found[name] * found["slices/y_weight"]).sum(axis=-1) for found in (first, second))
    for name, values in first.items():
        if not name.startswith(but):
            np.testing.assert_allclose(second[name], values, **CLOSE, equal_nan=True, err_msg=name)
