"""Weight decay: a' = -xi_a lambda_a a, w' = -xi_w lambda_w w, which shortens v and r alike.

It is the gradient flow of the regularised loss E + 1/2 lambda_a int a^2 d rho + 1/2 lambda_w int |w|^2 d rho, which decreases
while E need not.  Without interaction weights decay by exp(-lambda int xi dt), exactly.

A plateau is left at another rate: a neuron at distance x from where it must leave has x' = (kappa(r) - lambda_w) x (xi_w = 1) and
r = r_0 exp(-lambda_w t), so that from x = d^{-1/2} it takes a time T with

    int_0^T kappa(r(t)) dt - lambda_w T = 1/2 log d + O(1),      dT / dlog d -> 1 / (2 (kappa(0) - lambda_w)),

and for kappa(0) < lambda_w it is not left at all.  Whether it is left later than without decay depends on kappa: what r loses,
kappa may gain.
"""

from dataclasses import dataclass

from mfpde.problem.schedule import Schedule
from mfpde.problem.terms import Array


@dataclass(frozen=True)
class WeightDecay:
    """A `GradientTerm`.

    Attributes:
        decay_a, decay_w: lambda_a and lambda_w.
        xi_a, xi_w: Learning rates.
    """

    decay_a: float
    decay_w: float
    xi_a: Schedule
    xi_w: Schedule

    @property
    def trains(self) -> tuple[bool, bool]:
        return self.decay_a > 0 and not self.xi_a.zero, self.decay_w > 0 and not self.xi_w.zero

    def add(self, time: float, neurons: tuple[Array, Array, Array], rates: tuple[Array | None, Array, Array | None]) -> None:
        of_a, of_w = self.xi_a(time) * self.decay_a, self.xi_w(time) * self.decay_w
        for x, rate, speed in zip(neurons, rates, (of_a, of_w, of_w), strict=True):
            if rate is not None and speed:
                rate -= speed * x

    def potential(self, neurons: tuple[Array, Array, Array]) -> Array:
        a, v, r = neurons
        return 0.5 * (self.decay_a * a**2 + self.decay_w * ((v**2).sum(axis=-2) + r**2))
