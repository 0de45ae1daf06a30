"""Mass on bins: every point's goes to the bins around it, in proportion to the overlap of a box of their size with them.

This cloud-in-cell rule keeps mass and sign exactly.  It is done on bins that are `parts` times finer in each direction and
added up, so that what is averaged over a bin is the density smoothed by a box of 1 / parts of a bin: an error of
h^2 / (24 parts^2) times its second derivatives.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.compile import load_compiled

Array = NDArray[np.float64]

DECLARATIONS = """
void deposit(
    int64_t points, const double *place, int64_t directions, const int64_t *cells, const int64_t *parts, const double *weight,
    const int64_t *size, double *mass);
"""


class Grid:
    """Mass that has been deposited on regular or given bins.

    Args:
        edges: Edges of the bins, one array an axis, ascending.
        parts: See the module.
    """

    def __init__(self, edges: Sequence[Array], parts: int) -> None:
        self.edges, self.parts = tuple(edges), parts
        self.shape = tuple((len(e) - 1) * parts for e in self.edges)
        # A ring around holds what falls outside.
        self._mass = np.zeros(int(np.prod([n + 2 for n in self.shape])))
        source = Path(__file__).with_name("grid.c")
        self._compiled = load_compiled(MPI.COMM_SELF, source, DECLARATIONS, {"AXES": len(self.shape)})

    def deposit(self, x: Array, weight: Array, spread: tuple[int, ...] = ()) -> None:
        """Adds masses at points.

        Args:
            x: Of the points, shape (axes, ...).
            weight: Of the last axes of x, for each of those before them alike: a lattice of images of sub-cells.
            spread: In how many parts in each direction of the lattice (at most 16) each mass is laid out to its neighbours; 1 by
                default.
        """
        if max(spread, default=1) == 1:
            weight, spread = weight.ravel(), (1,)
        place = np.empty_like(x, order="C")
        for e, row, out in zip(self.edges, x, place, strict=True):
            np.subtract(_positions(e, row) * self.parts, 0.5, out=out)
        pointer = self._compiled.ffi.from_buffer
        self._compiled.lib.deposit(
            place[0].size, pointer("double[]", place), weight.ndim, pointer("int64_t[]", np.array(weight.shape)),
            pointer("int64_t[]", np.array(spread)),
            pointer("double[]", np.ascontiguousarray(weight)), pointer("int64_t[]", np.array(self.shape)),
            pointer("double[]", self._mass),
        )  # fmt: skip

    @property
    def raw(self) -> Array:
        """All mass, with the ring: not a copy."""
        return self._mass

    @property
    def mass(self) -> Array:
        """In each bin."""
        return self._added(self._mass.reshape([n + 2 for n in self.shape]))

    @property
    def smoothing(self) -> float:
        """What the box of 1 / parts of a bin changes, in L1: twice what one more smoothing of the same variance does, since
        that one finds less to smooth."""
        ring = self._mass.reshape([n + 2 for n in self.shape])
        change = sum(np.diff(ring, 2, axis=axis, prepend=0, append=0) for axis in range(ring.ndim))
        return float(np.abs(self._added(np.asarray(change))).sum()) / 12

    def _added(self, ring: Array) -> Array:
        """From finer bins with the ring to the bins."""
        inner = ring[tuple(slice(1, -1) for _ in self.shape)]
        for axis, e in enumerate(self.edges):
            shape = inner.shape
            inner = inner.reshape(*shape[:axis], len(e) - 1, self.parts, *shape[axis + 1 :]).sum(axis=axis + 1)
        return np.asarray(inner)


def _positions(edges: Array, x: Array) -> Array:
    """x in units of bins from the first edge on; beyond the ends far enough outside."""
    width = np.diff(edges)
    if np.ptp(width) <= 1e-9 * width[0]:
        return np.asarray((x - edges[0]) * (len(width) / (edges[-1] - edges[0])))
    inside = np.interp(x, edges, np.arange(len(edges), dtype=float))
    return np.where(x < edges[0], -2.0, np.where(x > edges[-1], len(edges) + 1.0, inside))
