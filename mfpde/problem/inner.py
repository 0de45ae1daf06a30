"""The law of the inner weights w_0 = (v_0, w_perp): where v_0 = w_V starts, and the radius r_0 = |w_{V perp}|.

gaussian   w_0 ~ N(0, I_d / d):  v_0 = y / sqrt(d), y ~ N(0, I_p),  r_0^2 ~ chi^2_{d-p} / d;  v_0 = 0, r_0 = 1 at d = inf
sphere     w_0 = g / |g|, g of the Gaussian law: uniform on |w| = 1, labelled by y and |g_perp| as that is
zero       w_0 = 0                                                                    (Algorithm 1 of arXiv 2402.08948)
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

import numpy as np

from mfpde.neurons import on_sphere
from mfpde.problem.laws import Array, Law
from mfpde.problem.laws.point import Point


@dataclass(frozen=True)
class SquaredRadius(Law):
    """r^2 = x / (d/2), x ~ Gamma(D/2), D = d - p: the law of |w_{V perp}|^2, in which the features are smooth.

    Attributes:
        d: Dimension of the input, finite.
        p: Dimension of V, less than d.
    """

    d: float
    p: int
    usage = ""

    @property
    def shape(self) -> float:
        """D / 2."""
        return (self.d - self.p) / 2

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, inf

    def density(self, x: Array) -> Array:
        # Around its largest value, or the mean: exact also where D is large.
        k = self.shape - 1
        if k <= 0:
            return (x * self.d / 2) ** k * np.exp(-x * self.d / 2)
        change = x * (self.d / 2) / k - 1
        return np.exp(k * (np.log1p(change) - change))

    def quantile(self, u: Array) -> Array:
        from scipy.special import gammaincinv

        return np.asarray(gammaincinv(self.shape, u) * (2 / self.d))

    def recurrence(self, n: int) -> tuple[Array, Array]:
        k = np.arange(float(n))
        return (2 * k + self.shape) * (2 / self.d), np.sqrt(k[1:] * (k[1:] + self.shape - 1)) * (2 / self.d)


@dataclass(frozen=True)
class InnerLaw:
    """The law of w_0.

    Attributes:
        name: "gaussian", "sphere" or "zero", as in the configuration.
        d: Dimension of the input, or inf.
        p: Dimension of V.
    """

    name: Literal["gaussian", "sphere", "zero"]
    d: float
    p: int

    @property
    def is_point(self) -> bool:
        """Whether v_0 = 0 for all neurons, rather than a density."""
        return self.name == "zero" or self.d == inf

    @property
    def scale(self) -> float:
        """Standard deviation of a component of v_0."""
        return 0.0 if self.is_point else 1 / sqrt(self.d)

    @property
    def squared_radius(self) -> Law:
        """The law of r_0^2, or of |g_perp|^2."""
        if self.name == "zero":
            return Point(0.0)
        return Point(1.0) if self.d == inf else SquaredRadius(self.d, self.p)

    def placed(self, v: Array, r: Array) -> tuple[Array, Array]:
        """Where neurons start whose Gaussian labels are v (p, n) and r (n,)."""
        if self.name != "sphere":
            return v, r
        return on_sphere(v, r)
