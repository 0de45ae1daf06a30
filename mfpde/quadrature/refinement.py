"""Refinement of the panels of one direction, where the moments as a function of that direction are not resolved."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mfpde.problem.laws import Law
from mfpde.quadrature.panels import Panels
from mfpde.quadrature.rules import Rule

Array = NDArray[np.float64]

# Doerfler's share of the indicator that the refined panels hold together.
SHARE = 0.6
# Nodes of a label's panel beyond which it is divided, and those of each part.
MOST = 6
# Nodes of a direction of y whose single panel is replaced by cells, and those of a cell: of few cells, and of at least so many.
MOST_SINGLE, CELL, MANY, CELL_OF_MANY = 8, 4, 8, 6


def tails(rule: Rule, values: Sequence[Array]) -> Array:
    """How badly each panel resolves functions of its direction: mass times the size of their last two coefficients.

    Args:
        rule: Rule of the direction.
        values: Functions (n, functions) at its nodes, one array for each time; the worst time counts.
    """
    worst = np.zeros(len(rule.counts))
    for profile in values:
        for k, (part, coefficients) in enumerate(zip(rule.slices, rule.coefficients(profile), strict=True)):
            size = np.linalg.norm(coefficients[-min(2, len(coefficients) - 1) :] if len(coefficients) > 1 else coefficients)
            worst[k] = max(worst[k], float(rule.weights[part].sum() * size))
    return worst


def _marked(indicator: Array) -> set[int]:
    """The fewest panels that hold `SHARE` of the indicator."""
    order = np.argsort(-indicator, kind="stable")
    held = np.cumsum(indicator[order])
    return set(order[: int(np.searchsorted(held, SHARE * held[-1])) + 1].tolist())


def everywhere(panels: Panels) -> Panels:
    """Two more nodes in all panels."""
    return Panels(panels.edges, tuple(n + 2 for n in panels.counts))


def refined(panels: Panels, law: Law, indicator: Array) -> Panels:
    """Panels of a label, finer where it is needed: first by more nodes, then by division at the conditional median."""
    edges, counts = [law.support[0], *panels.edges, law.support[1]], []
    inner: list[float] = []
    marked = _marked(indicator)
    for k, n in enumerate(panels.counts):
        if k:
            inner.append(edges[k])
        if k not in marked:
            counts.append(n)
        elif n < MOST:
            counts.append(min(n + 2, MOST))
        else:
            inner.append(_division(law, edges[k], edges[k + 1]))
            counts += [MOST, MOST]
    return Panels(tuple(inner), tuple(counts))


def refined_cells(panels: Panels, law: Law, indicator: Array) -> Panels:
    """Cells of a direction of y: a single one gets more nodes, until cells of equal size take over and are divided.

    All have the same number of nodes.  Small cells find the places where the law folds; once there are many of them, what is
    left falls faster with more nodes: an error of 1e-7 at d = 10 takes 72 of them instead of 267.
    """
    n, cells = panels.counts[0], len(panels.counts)
    if cells == 1 and n < MOST_SINGLE:
        return Panels((), (n + max(1, n // 2),))
    if cells == 1:
        return Panels((-1.0, 0.0, 1.0), (CELL,) * 4)
    if cells >= MANY and n < CELL_OF_MANY:
        return Panels(panels.edges, (CELL_OF_MANY,) * cells)
    edges = [law.support[0], *panels.edges, law.support[1]]
    inner = set(panels.edges) | {_division(law, edges[k], edges[k + 1]) for k in _marked(indicator)}
    return Panels(tuple(sorted(inner)), (n,) * (len(inner) + 1))


def _division(law: Law, low: float, high: float) -> float:
    """Where a panel is divided: in the middle if it is bounded, a quarter from the end at 0; else one deviation further on.

    The support of an unbounded law may have an end where there is no mass, as that of r_0^2 has at large d: it is as far off as
    infinity, and the whole support is divided at the median.
    """
    median, above = law.quantile(np.array([0.5, 0.84])).tolist()
    if not law.bounded and (low, high) == law.support:
        return float(median)
    if not np.isfinite(high):
        return float(low + (above - median))
    if not np.isfinite(low):
        return float(high - (above - median))
    quarter = (3 * low + high) / 4 if low == 0.0 else (low + 3 * high) / 4 if high == 0.0 else (low + high) / 2
    return quarter if law.bounded or low > law.support[0] else max(quarter, high - float(above - median))
