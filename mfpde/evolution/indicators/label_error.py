"""Size of the label rules' first neglected term, extrapolated from their last kept ones (a and r alike).

A Gauss rule of n nodes errs like the coefficient 2 n of an expansion in its law's orthonormal polynomials, and the
coefficients fall geometrically: |m_{n-1}|^2 / |m|, with m_j that of the moments as a function of the label.
"""

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.elements.rules import Rule
from mfpde.evolution.indicators import View

NEEDS = ("labels", "grid")
LIMIT = 1e-3
ADVICE = "the labels are too few for the moments: raise discretization.a_nodes or r_nodes"


def compute(view: View) -> float:
    """Collective. The larger of the two labels' errors."""
    labels = view.flow.labels
    over_a, over_r = by_label(view)
    # The law of a may be symmetric, so that every second term vanishes by parity: look at two.
    return max(neglected(labels.a, over_a, 2), neglected(labels.squared_radius, over_r, 1))


def by_label(view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Collective. The moments as functions of a_0 and of r_0, shapes (labels of a, modes) and (labels of r, modes)."""
    labels, here = view.flow.labels, view.flow.grid.slices
    spread = np.zeros((len(labels), view.moments.by_slice.shape[1]))
    spread[here.start : here.stop] = view.moments.by_slice
    view.flow.comm.Allreduce(MPI.IN_PLACE, spread)
    by_label = spread.reshape(len(labels.a), len(labels.squared_radius), -1)
    over_a = np.einsum("r,arm->am", labels.squared_radius.weights, by_label)
    return over_a, np.einsum("a,arm->rm", labels.a.weights, by_label)


def neglected(rule: Rule, values: NDArray[np.float64], last: int) -> float:
    """The first neglected term of a composite rule, summed over its panels with their masses.

    Args:
        rule: Of the label.
        values: Functions of the label at its nodes, shape (n, functions).
        last: How many of the last coefficients may vanish by parity.
    """
    error = 0.0
    for part, coefficients in zip(rule.slices, rule.coefficients(values), strict=True):
        size = np.linalg.norm(coefficients, axis=1)
        total = float(np.linalg.norm(size))
        # Atoms are exact; a rule of two nodes has no tail to look at.
        if rule.smooth and len(size) > 2 and total > 0:
            error += float(rule.weights[part].sum() * size[-last:].max() ** 2) / total
    return error
