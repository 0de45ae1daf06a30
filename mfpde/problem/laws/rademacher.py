"""The law of a fair sign."""

from dataclasses import dataclass

import numpy as np

from mfpde.problem.laws import Array, Law


@dataclass(frozen=True)
class Rademacher(Law):
    """-1 and 1 with probability 1/2 each."""

    usage = "rademacher"

    @property
    def support(self) -> tuple[float, float]:
        return -1.0, 1.0

    @property
    def atoms(self) -> tuple[Array, Array]:
        return np.array([-1.0, 1.0]), np.full(2, 0.5)

    def density(self, x: Array) -> Array:
        raise TypeError("a law of atoms has no density")

    def quantile(self, u: Array) -> Array:
        return np.where(u < 0.5, -1.0, 1.0)
