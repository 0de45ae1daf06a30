"""How finely a product of rules resolves a problem: panels in each direction, the truncation of the features, time tolerance."""

from dataclasses import dataclass, replace

import numpy as np

from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.labels import Labels
from mfpde.quadrature.panels import Panels, equal_panels, graded_edges

# Keys that state the panels of a label; and those of the directions of y, which share them.
KEYS = {"a": ("a_nodes", "a_panels"), "b": ("b_nodes", "b_panels"), "r": ("r_nodes",)}
KEYS_OF_Y = ("cells", "degree", "core_width", "grading")


@dataclass(frozen=True)
class Resolution:
    """All numbers of a discretisation.

    Attributes:
        labels: Panels of a_0, with biases of b_0, and of r_0^2, by direction.
        y: Panels of each direction of y, likewise; empty for a point start.
        hermite_degree, radial_degree: K and the largest j of the modes.
        tolerance: Tolerance of a time step.
    """

    labels: dict[str, Panels]
    y: dict[str, Panels]
    hermite_degree: int
    radial_degree: int
    tolerance: float

    @property
    def panels(self) -> dict[str, Panels]:
        """Panels of all directions, by name, in their order."""
        return self.labels | self.y

    def with_panels(self, panels: dict[str, Panels]) -> "Resolution":
        """The resolution with other panels in some directions."""
        labels = {name: panels.get(name, own) for name, own in self.labels.items()}
        return replace(self, labels=labels, y={name: panels.get(name, own) for name, own in self.y.items()})

    @property
    def nodes(self) -> int:
        """Nodes of the product of all directions."""
        return int(np.prod([panels.total for panels in self.panels.values()]))

    def __str__(self) -> str:
        cells = ", ".join(dict.fromkeys(map(str, self.y.values())))
        of_y = f", {cells} a direction of y" if self.y else ""
        labels = ", ".join(f"{panels} of {name}" for name, panels in self.labels.items())
        return f"K = {self.hermite_degree}, labels {labels}{of_y}"


def make_labels(problem: Problem, resolution: Resolution) -> Labels:
    """The labels of a resolution."""
    rules = {name: panels.rule(problem.directions[name]) for name, panels in resolution.labels.items()}
    return Labels(rules["a"], rules["r"], rules.get("b"))


def is_given(options: Discretization, direction: str) -> bool:
    """Whether the user states the panels of a direction of `Problem.directions`."""
    return any(getattr(options, key) is not None for key in KEYS.get(direction, KEYS_OF_Y))


def given_resolution(problem: Problem, options: Discretization) -> Resolution:
    """The resolution that a discretisation states, or has by default: equal panels in all directions of y, one panel of r."""
    numbers = problem.numbers(options)
    counts = {"a": (numbers.a_nodes, numbers.a_panels), "b": (numbers.b_nodes, numbers.b_panels), "r": (numbers.r_nodes, 1)}
    labels = {name: equal_panels(law, *counts[name]) for name, law in problem.label_laws.items()}
    edges = graded_edges(numbers.cells, numbers.core_width, numbers.grading)
    cells = Panels(edges, (numbers.degree + 1,) * numbers.cells)
    y = {} if problem.w.is_point else dict.fromkeys(problem.y_laws, cells)
    return Resolution(labels, y, numbers.hermite_degree, numbers.radial_degree, numbers.tolerance)
