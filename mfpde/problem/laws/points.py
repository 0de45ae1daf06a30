"""A mixture of points."""

from dataclasses import dataclass
from math import isfinite
from typing import Self

import numpy as np

from mfpde.problem.laws import Array, Law

# Of the sum of the probabilities: what is written with a few digits.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Points(Law):
    """Finitely many values, each with its probability: (value, probability), ascending.

    Raises:
        ValueError: If a probability is not positive, a value comes twice, or the sum is not 1.
    """

    masses: tuple[tuple[float, float], ...]
    usage = "points(-1: 0.5, 2: 0.5)"

    def __post_init__(self) -> None:
        if not all(isfinite(x) and isfinite(q) and q > 0 for x, q in self.masses):
            raise ValueError("has a probability that is not positive")
        if len({x for x, _ in self.masses}) < len(self.masses):
            raise ValueError("has the same point twice")
        if not abs(sum(q for _, q in self.masses) - 1) <= ROUNDING:
            raise ValueError(f"has probabilities that sum to {sum(q for _, q in self.masses):.7g}, not 1")

    @classmethod
    def read(cls, arguments: str) -> Self:
        pairs = [part.split(":") for part in arguments.split(",")]
        return cls(tuple(sorted((float(x), float(q)) for x, q in pairs)))

    @property
    def atoms(self) -> tuple[Array, Array]:
        x, q = np.array(self.masses).T
        return x.copy(), q / q.sum()

    @property
    def support(self) -> tuple[float, float]:
        return self.masses[0][0], self.masses[-1][0]

    def density(self, x: Array) -> Array:
        raise TypeError("a law of atoms has no density")

    def quantile(self, u: Array) -> Array:
        x, q = self.atoms
        return x[np.minimum(np.searchsorted(np.cumsum(q), u), len(x) - 1)]
