"""The law of a constant."""

from dataclasses import dataclass

import numpy as np

from mfpde.problem.laws import Array, Law


@dataclass(frozen=True)
class Point(Law):
    """The value itself with probability 1."""

    value: float
    usage = "point(c)"

    @property
    def support(self) -> tuple[float, float]:
        return self.value, self.value

    @property
    def atoms(self) -> tuple[Array, Array]:
        return np.array([self.value]), np.ones(1)

    def density(self, x: Array) -> Array:
        raise TypeError("a law of atoms has no density")

    def quantile(self, u: Array) -> Array:
        return np.full_like(u, self.value)
