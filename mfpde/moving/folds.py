"""Where the map y -> X of an element has turned over: J = det dX/dy < 0 at its nodes, by differentiation on each cell.

The sign of J means nothing where J is smaller than its error: that is measured by leaving out the highest degree in
every direction, J_{n-1}, and a node counts if J_n < 0 and |J_n| > 10 |J_n - J_{n-1}|: a lower bound that grows with n.
"""

import numpy as np
from numpy.typing import NDArray

from mfpde.moving.cells import Cells

Array = NDArray[np.float64]

# How many times larger than its error a Jacobian has to be.
CERTAIN = 10.0


def folded(cells: Cells, v: Array, certain: float = CERTAIN) -> NDArray[np.bool_]:
    """Which nodes are folded, shape (slices, cells, nodes).

    Args:
        cells: Cells of the elements.
        v: Positions, shape (p, slices, cells, nodes).
        certain: How many times larger than its error a Jacobian has to be.
    """
    p, slices, count, nodes = v.shape
    if min(cells.nodes_shape) == 1 or v.size == 0:  # a rank may hold no slices, or no cells
        return np.zeros((slices, count, nodes), dtype=bool)
    shaped = v.reshape(p, slices, count, *cells.nodes_shape)
    panel = np.unravel_index(cells.natural, cells.shape)
    whole: list[Array] = []
    lower: list[Array] = []
    for q, rule in enumerate(cells.rules):
        for found, which in ((whole, 0), (lower, 1)):
            by_cell = np.array([pair[which] for pair in rule.derivatives])[panel[q]]
            found.append(_along(by_cell, shaped, q))
    J, J_lower = (_determinant(np.array(parts)).reshape(slices, count, nodes) for parts in (whole, lower))
    return np.asarray((J < 0) & (np.abs(J) > certain * np.abs(J - J_lower)))


def _along(matrix: Array, values: Array, q: int) -> Array:
    """A matrix a cell (cells, n, n), applied along direction q of values (p, slices, cells, n_1, ..., n_p)."""
    moved = np.moveaxis(values, 3 + q, -1)
    flat = moved.reshape(*moved.shape[:3], -1, moved.shape[-1])
    return np.moveaxis(np.matmul(flat, matrix.transpose(0, 2, 1)).reshape(moved.shape), -1, 3 + q)


def _determinant(F: Array) -> Array:
    """Determinants of matrices F[q, i] = dX_i / dy_q, shape (p, p, ...), p <= 3."""
    if len(F) == 1:
        return np.asarray(F[0, 0])
    if len(F) == 2:
        return np.asarray(F[0, 0] * F[1, 1] - F[0, 1] * F[1, 0])
    minors = (F[1, (i + 1) % 3] * F[2, (i + 2) % 3] - F[1, (i + 2) % 3] * F[2, (i + 1) % 3] for i in range(3))
    return np.asarray(sum(F[0, i] * minor for i, minor in enumerate(minors)))
