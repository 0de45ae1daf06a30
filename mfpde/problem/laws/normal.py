"""The normal law."""

from dataclasses import dataclass
from math import inf

import numpy as np

from mfpde.problem.laws import Array, Law


@dataclass(frozen=True)
class Normal(Law):
    """N(mean, deviation^2); its polynomials are Hermite's.

    Raises:
        ValueError: If the deviation is not positive.
    """

    mean: float
    deviation: float
    usage = "normal(m, s)"

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise ValueError("has no positive width")

    @property
    def support(self) -> tuple[float, float]:
        return -inf, inf

    def density(self, x: Array) -> Array:
        return np.exp(-0.5 * ((x - self.mean) / self.deviation) ** 2)

    def quantile(self, u: Array) -> Array:
        from scipy.special import ndtri

        return np.asarray(self.mean + self.deviation * ndtri(u))

    def recurrence(self, n: int) -> tuple[Array, Array]:
        return np.full(n, self.mean), self.deviation * np.sqrt(np.arange(1.0, n))
