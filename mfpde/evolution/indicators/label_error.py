"""Size of the label rules' first neglected term, extrapolated from their last kept ones (a, b and r alike).

A Gauss rule of n nodes errs like the coefficient 2 n of an expansion in its law's orthonormal polynomials, and the
coefficients fall geometrically: |m_{n-1}|^2 / |m|, with m_j that of the moments as a function of the label.
"""

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.evolution.indicators import LabelsView, View
from mfpde.quadrature.rules import Rule

LIMIT = 1e-3
ADVICE = "the labels are too few for the moments: raise discretization.a_nodes, r_nodes or b_nodes"


def compute(view: View) -> float | None:
    """Collective. The largest of the labels' errors."""
    if view.labels is None:
        return None
    rules = view.labels.labels.rules
    # The law of a or b may be symmetric, so that every second term vanishes by parity: look at two.
    return max(neglected(rules[name], values, 1 if name == "r" else 2) for name, values in by_label(view, view.labels).items())


def by_label(view: View, slices: LabelsView) -> dict[str, NDArray[np.float64]]:
    """Collective. The moments as functions of a_0, b_0 and r_0, shapes (nodes of the label, modes)."""
    labels, here = slices.labels, slices.here
    spread = np.zeros((len(labels), view.moments.by_slice.shape[1]))
    spread[here.start : here.stop] = view.moments.by_slice
    view.comm.Allreduce(MPI.IN_PLACE, spread)
    rules, every = labels.rules, "".join(labels.rules)
    by_label = spread.reshape(*(len(rule) for rule in rules.values()), -1)
    found = {}
    for name in rules:
        others = [other for other in rules if other != name]
        weights = (rules[other].weights for other in others)
        found[name] = np.einsum(f"{','.join(others)},{every}m->{name}m", *weights, by_label)
    return found


def neglected(rule: Rule, values: NDArray[np.float64], last: int) -> float:
    """The first neglected term of a composite rule, summed over its panels with their masses.

    Args:
        rule: Rule of the label.
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
