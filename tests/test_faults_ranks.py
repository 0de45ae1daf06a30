"""More ranks than labels and cells: those that hold nothing take part, and the numbers are those of one rank."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from support import command

from mfpde.moving.cells import normal_cells, point_cells
from mfpde.moving.folds import folded

POINT = ["initial.a=point(1)", "target.polynomial=z1", "discretization.accuracy=1e-2"]
GIVEN = ["discretization.accuracy=false", "discretization.a_nodes=1", "discretization.a_panels=1", "discretization.r_nodes=1"]
PLANE = [*GIVEN, "target.polynomial=z1+z1*z2", "discretization.cells=2", "discretization.degree=2"]


def test_where_there_is_nothing_nothing_is_folded() -> None:
    from mpi4py import MPI

    cells = normal_cells(MPI.COMM_SELF, ((0.0,), (0.0,)), (3, 3))
    assert folded(cells, np.empty((2, 0, 4, 9))).shape == (0, 4, 9)
    assert folded(cells, np.empty((2, 1, 0, 9))).shape == (1, 0, 9)
    assert not folded(point_cells(1), np.zeros((1, 2, 1, 1))).any()


@pytest.mark.parametrize("ranks,words", [(3, POINT), (5, PLANE)], ids=["point start", "p = 2"])
def test_ranks_that_hold_nothing_change_no_number(ranks: int, words: list[str], tmp_path: Path) -> None:
    options = [*words, "training.final_time=1", "output.times=3", "output.plot=false"]
    given = [word for option in options for word in ("--set", option)]
    for count in (1, ranks):
        done = command("solve", *given, "--output", f"{count}.h5", ranks=count, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "1.h5") as one, h5py.File(tmp_path / f"{ranks}.h5") as many:
        assert np.abs(one["history/loss"][:] - many["history/loss"][:]).max() <= 1e-12
