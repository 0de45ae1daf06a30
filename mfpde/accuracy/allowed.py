"""The error of E(t) that is allowed: an absolute one or a share of E(t), whichever is larger at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.problem.sections import Discretization

Array = NDArray[np.float64]

# E below which a share of E is that of this much, in units of E h*^2 / 2: rounding errors of f leave E no more.
LEAST = 1e-12


@dataclass(frozen=True)
class Allowed:
    """An allowed error of E.

    Attributes:
        absolute: At every time.
        relative: As a share of E(t); 0 for none.
        least: E below which this share is that of `least`.
    """

    absolute: float
    relative: float = 0.0
    least: float = 0.0

    @classmethod
    def asked(cls, options: Discretization, unit: float) -> "Allowed":
        """What a configuration asks for, `unit` being E h*^2 / 2."""
        return cls(float(options.accuracy) * unit, float(options.relative_accuracy), LEAST * unit)

    def __mul__(self, factor: float) -> "Allowed":
        return Allowed(factor * self.absolute, factor * self.relative, self.least)

    @property
    def smallest(self) -> float:
        """At any E."""
        return max(self.absolute, self.relative * self.least)

    def at(self, E: Array) -> Array:
        """Where the loss is E, in its shape."""
        return np.maximum(self.absolute, self.relative * np.maximum(np.abs(E), self.least))

    def text(self, unit: float) -> str:
        """In words, the absolute error in units of `unit`."""
        parts = [f"{self.absolute / unit:.1e}"] if self.absolute or not self.relative else []
        return " or ".join([*parts, *([f"{self.relative:.1e} of E(t)"] if self.relative else [])])

    def times(self, error: Array, E: Array) -> float:
        """How many times the allowed error the largest of some errors is, where the loss is E; shapes (n,)."""
        return float((np.abs(error) / self.at(E)).max())
