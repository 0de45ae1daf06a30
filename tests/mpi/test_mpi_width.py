"""What networks of N neurons do: the same on any number of ranks."""

import numpy as np
from mpi4py import MPI
from support import SELF, alone, read

from mfpde.width.calculate import width_of

WORLD = MPI.COMM_WORLD


def test_the_expansion_is_the_same_on_any_number_of_ranks() -> None:
    """Sources are divided, also over more ranks than there are: sums in another order, to 1e-12."""
    for overrides in (["input.dimension=20"], ["input.dimension=inf", "initial.a=rademacher"]):
        _, problem = read("target.polynomial=z1", "training.final_time=1", *overrides, comm=WORLD)
        together, serial = width_of(WORLD, problem, 0.5), alone(lambda problem=problem: width_of(SELF, problem, 0.5))
        for name in ("loss", "correction", "deviation", "sectors", "correction_error"):
            assert np.abs(getattr(together, name) - getattr(serial, name)).max() < 1e-12, name
        assert together.correction.max() > 1e-2
