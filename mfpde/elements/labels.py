"""Labels (a_0, r_0) of neurons: a product Gauss rule of the initial law, one slice of the density for each."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mfpde.elements.resolution import Resolution
from mfpde.elements.rules import Rule, gauss_rule
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """The labels, numbered with r fastest.

    Attributes:
        a: Rule of a_0.
        squared_radius: Rule of r_0^2, in which the features are smooth.
    """

    a: Rule
    squared_radius: Rule

    def __len__(self) -> int:
        return len(self.a) * len(self.squared_radius)

    @cached_property
    def nodes(self) -> Array:
        """(a_0, r_0), shape (labels, 2)."""
        r = np.sqrt(self.squared_radius.nodes)
        return np.stack([x.ravel() for x in np.meshgrid(self.a.nodes, r, indexing="ij")], axis=1)

    @cached_property
    def weight(self) -> Array:
        """Shape (labels,), sum 1."""
        return np.outer(self.a.weights, self.squared_radius.weights).ravel()


def make_labels(problem: Problem, resolution: Resolution) -> Labels:
    """The labels of a resolution."""
    a, r = resolution.a, resolution.r
    return Labels(gauss_rule(problem.a, a.counts, a.edges), gauss_rule(problem.w.squared_radius, r.counts, r.edges))
