"""Files and outputs of several ranks: in natural order, told alike, ended alike, and gone on from on any number of ranks."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from outputs import GIVEN, QUICK, TOLD, Rows, assert_table_of
from restarts import PROBLEMS, assert_same, go, read
from support import alone, two_passes

import mfpde
from mfpde.compile import load_compiled
from mfpde.errors import InputError, RunError
from mfpde.evolution.flow import StageFlow, Step
from mfpde.output.hdf5 import ResultFile
from mfpde.output.protocol import Output

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF


def test_fields_are_written_in_natural_order_by_all_ranks() -> None:
    folder = WORLD.bcast(tempfile.mkdtemp() if WORLD.rank == 0 else None)
    path = Path(folder) / "out.h5"
    shape = (5, 7, 3)
    index = np.arange(WORLD.rank, 105, WORLD.size)
    with ResultFile(WORLD, path) as file:
        file.field("/slices/x", shape, index, index.astype(float))
        file.record({"/history/time": 0.0})
    if WORLD.rank == 0:
        with h5py.File(path) as result:
            assert np.array_equal(result["slices/x"][:], np.arange(105.0).reshape(shape))
            assert result.attrs["complete"]
    WORLD.Barrier()


@pytest.mark.parametrize("passes", TOLD)
def test_all_ranks_hear_the_same(passes: str, tmp_path: Path) -> None:
    folder = Path(WORLD.bcast(str(tmp_path)))
    mine = Rows()
    with two_passes() if passes == "two" else nullcontext():
        result = mfpde.run(comm=WORLD, progress=False, save=folder / "out.h5", also=["csv"], outputs=[mine], **QUICK)
    assert mine.events == TOLD[passes] and mine.times == result.time.tolist()
    assert len(alone(lambda: assert_table_of(str(folder / "out")))) == 5


class Fails(Output):
    """Cannot go on at t = 0.5, on the last rank alone."""

    def record(self, flow: StageFlow, step: Step, vector: np.ndarray) -> None:
        if step.time >= 0.5 and flow.comm.rank == flow.comm.size - 1:
            raise ValueError("the plotter has no ink")


def test_what_an_output_raises_on_one_rank_is_raised_on_all() -> None:
    with pytest.raises(ValueError if WORLD.rank == WORLD.size - 1 else RunError, match="no ink"):
        mfpde.run(comm=WORLD, progress=False, outputs=[Fails()], **GIVEN)


def test_what_fails_on_the_first_rank_is_raised_on_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "/nonexistent/cc")
    source = tmp_path / "answer.c"
    source.write_text("int answer(void) { return 1; }\n")
    with pytest.raises(InputError, match="not found"):
        load_compiled(WORLD, source, "int answer(void);", {})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collective. One folder for all ranks."""
    return WORLD.bcast(tmp_path_factory.mktemp("restart") if WORLD.rank == 0 else None)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["one stage", "stages", "averaged points", "affine"])
def test_a_run_on_one_rank_goes_on_on_all_of_them_and_back(name: str, shared: Path) -> None:
    """The state does not know how many ranks hold it.  In the affine frame many records keep steps and round-off small."""
    short = [] if "stages" in str(PROBLEMS[name]) else ["training.final_time=1.5"]
    few = [] if name == "affine" else ["output.times=5", "output.snapshots=1"]
    config = read(*PROBLEMS[name], *short, *few, comm=WORLD)
    whole, part = shared / f"{name}_whole.h5", shared / f"{name}_part.h5"
    go(WORLD, config, whole)
    alone(lambda: go(SELF, config, part, steps=4))
    go(WORLD, config, part, restart=part, steps=7)
    alone(lambda: go(SELF, config, part, restart=part))
    alone(lambda: assert_same(whole, part, "field", by_cell=True))  # at points of steps, whose length knows rounding


# Fewer labels and cells than ranks: one, and on 8 ranks four.
POINT = {"a": "point(1)", "polynomial": "z1", "accuracy": False}
PLANE = {"polynomial": "z1 + z1*z2", "accuracy": False, "a_nodes": 1, "a_panels": 1, "r_nodes": 1, "cells": 2, "degree": 2}


@pytest.mark.parametrize("given", [POINT, PLANE], ids=["point start", "p = 2"])
def test_ranks_that_hold_nothing_change_no_number(given: dict[str, Any], shared: Path) -> None:
    """They take part in the run and in its file."""

    def losses(comm: MPI.Intracomm, name: str) -> np.ndarray:
        path = shared / name
        found = mfpde.run(comm=comm, progress=False, save=path, final_time=0.3, times=3, **given).loss
        with h5py.File(path) as file:
            assert np.array_equal(file["history/loss"][:], found)
        return found

    together = losses(WORLD, "together.h5")
    assert np.abs(together - alone(lambda: losses(SELF, "alone.h5"))).max() <= 1e-12
