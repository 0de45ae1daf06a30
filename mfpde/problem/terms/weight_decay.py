"""Weight decay: a' = -xi_a lambda_a a, w' = -xi_w lambda_w w, which shortens v and r alike, and b' = -xi_b lambda_b b.

It is the gradient flow of the regularised loss E + 1/2 int (lambda_a a^2 + lambda_w |w|^2 + lambda_b b^2) d rho, which decreases
while E need not.  Without interaction weights decay by exp(-lambda int xi dt), exactly.

A plateau is left at another rate: a neuron at distance x from where it must leave has x' = (kappa(r) - lambda_w) x (xi_w = 1) and
r = r_0 exp(-lambda_w t), so that from x = d^{-1/2} it takes a time T with

    int_0^T kappa(r(t)) dt - lambda_w T = 1/2 log d + O(1),      dT / dlog d -> 1 / (2 (kappa(0) - lambda_w)),

and for kappa(0) < lambda_w it is not left at all.  Whether it is left later than without decay depends on kappa: what r loses,
kappa may gain.
"""

from dataclasses import dataclass

from mfpde.problem.schedule import Schedule
from mfpde.problem.terms import Array, Neurons, Rates


@dataclass(frozen=True)
class WeightDecay:
    """A `GradientTerm`.

    Attributes:
        decay_a, decay_w, decay_b: lambda_a, lambda_w and lambda_b.
        xi_a, xi_w, xi_b: Learning rates.
    """

    decay_a: float
    decay_w: float
    decay_b: float
    xi_a: Schedule
    xi_w: Schedule
    xi_b: Schedule

    @property
    def _pairs(self) -> tuple[tuple[float, Schedule], ...]:
        return (self.decay_a, self.xi_a), (self.decay_w, self.xi_w), (self.decay_b, self.xi_b)

    @property
    def trains(self) -> tuple[bool, bool, bool]:
        a, w, b = (decay > 0 and not xi.zero for decay, xi in self._pairs)
        return a, w, b

    def add(self, time: float, neurons: Neurons, rates: Rates) -> None:
        of_a, of_w, of_b = (xi(time) * decay for decay, xi in self._pairs)
        for x, rate, speed in zip(neurons, rates, (of_a, of_w, of_w, of_b), strict=True):
            if x is not None and rate is not None and speed:
                rate -= speed * x

    def potential(self, neurons: Neurons) -> Array:
        a, v, r, b = neurons
        of_b = 0.0 if b is None else self.decay_b * b**2
        return 0.5 * (self.decay_a * a**2 + self.decay_w * ((v**2).sum(axis=-2) + r**2) + of_b)
