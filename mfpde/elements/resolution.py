"""How finely the elements that follow the flow resolve a problem: panels in each direction, modes, time tolerance."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sinh

import numpy as np

from mfpde.elements.rules import Rule, gauss_rule
from mfpde.problem.laws import Law
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization

# Keys that state the panels of a direction: of a_0, b_0, r_0, and of each direction of y.
KEYS = {
    "a": ("a_nodes", "a_panels"),
    "b": ("b_nodes", "b_panels"),
    "r": ("r_nodes",),
    "y": ("cells", "degree", "core_width", "grading"),
}


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


@dataclass(frozen=True)
class Resolution:
    """All numbers of a discretisation.

    Attributes:
        a, r: Panels of a_0 and of r_0^2.
        y: Panels of each direction of y; empty for a point start.
        hermite_degree, radial_degree: K and the largest j of the modes.
        tolerance: Of a time step.
        b: Panels of b_0; None where there are no biases.
    """

    a: Panels
    r: Panels
    y: tuple[Panels, ...]
    hermite_degree: int
    radial_degree: int
    tolerance: float
    b: Panels | None = None

    @property
    def labels(self) -> dict[str, Panels]:
        """Panels of the labels by direction, in their order."""
        return {"a": self.a, **({} if self.b is None else {"b": self.b}), "r": self.r}

    @property
    def nodes(self) -> int:
        """Of all elements together."""
        return int(np.prod([panels.total for panels in (*self.labels.values(), *self.y)]))

    def __str__(self) -> str:
        cells = ", ".join(dict.fromkeys(str(panels) for panels in self.y))
        of_y = f", {cells} a direction of y" if self.y else ""
        labels = ", ".join(f"{panels} of {name}" for name, panels in self.labels.items())
        return f"K = {self.hermite_degree}, labels {labels}{of_y}"


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


def is_given(options: Discretization, direction: str) -> bool:
    """Whether the user states the panels of a direction, "a", "b", "r", "y1", ..."""
    return any(getattr(options, key) is not None for key in KEYS[direction[0]])


def given_resolution(problem: Problem, options: Discretization) -> Resolution:
    """The resolution that a discretisation states, or has by default: equal panels in all directions of y, one panel of r."""
    numbers = problem.numbers(options)
    y: tuple[Panels, ...] = ()
    if not problem.w.is_point:
        edges = graded_edges(numbers.cells, numbers.core_width, numbers.grading)
        y = (Panels(edges, (numbers.degree + 1,) * numbers.cells),) * problem.p
    a = equal_panels(problem.a, numbers.a_nodes, numbers.a_panels)
    r = equal_panels(problem.w.squared_radius, numbers.r_nodes, 1)
    b = None if problem.b is None else equal_panels(problem.b, numbers.b_nodes, numbers.b_panels)
    return Resolution(a, r, y, numbers.hermite_degree, numbers.radial_degree, numbers.tolerance, b)
