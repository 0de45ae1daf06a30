"""The uniform law on an interval."""

from dataclasses import dataclass

import numpy as np

from mfpde.problem.laws import Array, Law


@dataclass(frozen=True)
class Uniform(Law):
    """Density 1 / (high - low) on [low, high]; its polynomials are Legendre's.

    Raises:
        ValueError: If low >= high.
    """

    low: float
    high: float
    usage = "uniform(b, c)"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError("has no positive width")

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def density(self, x: Array) -> Array:
        return np.ones_like(x)

    def quantile(self, u: Array) -> Array:
        return self.low + (self.high - self.low) * u

    def recurrence(self, n: int) -> tuple[Array, Array]:
        k = np.arange(1.0, n)
        return np.full(n, (self.low + self.high) / 2), (self.high - self.low) / 2 * k / np.sqrt(4 * k**2 - 1)
