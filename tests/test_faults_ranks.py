"""Arrays without elements, as ranks have that hold nothing; what such ranks do in a run is tested in tests/mpi."""

import numpy as np
from mpi4py import MPI

from mfpde.moving.cells import normal_cells, point_cells
from mfpde.moving.folds import folded


def test_where_there_is_nothing_nothing_is_folded() -> None:
    cells = normal_cells(MPI.COMM_SELF, ((0.0,), (0.0,)), (3, 3))
    assert folded(cells, np.empty((2, 0, 4, 9))).shape == (0, 4, 9)
    assert folded(cells, np.empty((2, 1, 0, 9))).shape == (1, 0, 9)
    assert not folded(point_cells(1), np.zeros((1, 2, 1, 1))).any()
