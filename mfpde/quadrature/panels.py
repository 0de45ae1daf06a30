"""The panels of one direction: where a Gauss rule of its law is divided, and how many nodes each part has."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sinh

import numpy as np

from mfpde.problem.laws import Law
from mfpde.quadrature.rules import Rule, gauss_rule


@dataclass(frozen=True)
class Panels:
    """The panels of one direction.

    Attributes:
        edges: Ends between them, ascending; none for a single panel.
        counts: Gauss nodes of each.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Nodes of all panels."""
        return sum(self.counts)

    def rule(self, law: Law) -> Rule:
        """The Gauss rule of a law on these panels."""
        return gauss_rule(law, self.counts, self.edges)

    def __str__(self) -> str:
        parts, sizes = len(self.counts), sorted(set(self.counts))
        each = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        return each if parts == 1 else f"{parts} x {each}"


def graded_edges(cells: int, core_width: float, grading: float) -> tuple[float, ...]:
    """c sinh(g x) / sinh(g) at cells - 1 equally spaced x in [-1, 1]: ends of cells that are finest around 0."""
    if cells <= 2:
        return (0.0,) * (cells - 1)
    x: Sequence[float] = np.linspace(-1.0, 1.0, cells - 1).tolist()
    return tuple(core_width * (sinh(grading * s) / sinh(grading) if grading > 0 else s) for s in x)


def equal_panels(law: Law, nodes: int, panels: int) -> Panels:
    """`nodes` nodes in panels of equal probability: with two of them, a symmetric law has an edge at 0."""
    if law.atoms is not None:
        return Panels((), (len(law.atoms[0]),))
    panels = min(panels, nodes)
    edges = law.quantile(np.arange(1, panels) / panels).tolist()
    return Panels(tuple(edges), tuple(nodes * (k + 1) // panels - nodes * k // panels for k in range(panels)))
