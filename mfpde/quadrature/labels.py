"""Labels (a_0, r_0), or (a_0, b_0, r_0), of neurons: a product Gauss rule of the initial law, one slice of density for each."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from mfpde.quadrature.rules import Rule, outer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """The labels, numbered with r fastest.

    Attributes:
        a: Rule of a_0.
        squared_radius: Rule of r_0^2, in which the features are smooth.
        b: Rule of b_0; None where there are no biases.
    """

    a: Rule
    squared_radius: Rule
    b: Rule | None = None

    def __len__(self) -> int:
        return prod(len(rule) for rule in self.rules.values())

    @property
    def rules(self) -> dict[str, Rule]:
        """By direction, in the order of the labels."""
        return {"a": self.a, **({} if self.b is None else {"b": self.b}), "r": self.squared_radius}

    @cached_property
    def nodes(self) -> Array:
        """(a_0, r_0), or (a_0, r_0, b_0), shape (labels, 2 or 3)."""
        places = [np.sqrt(rule.nodes) if name == "r" else rule.nodes for name, rule in self.rules.items()]
        a, *b, r = (x.ravel() for x in np.meshgrid(*places, indexing="ij"))
        return np.stack([a, r, *b], axis=1)

    @cached_property
    def weight(self) -> Array:
        """Shape (labels,), sum 1."""
        return outer(rule.weights for rule in self.rules.values()).ravel()
