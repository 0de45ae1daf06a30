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
from math import isfinite
from typing import ClassVar, Self

import numpy as np

from mfpde.neurons import LearningRates, Neurons, Rates, Trained
from mfpde.problem.terms import Array, GradientTerm


@dataclass(frozen=True)
class WeightDecay(GradientTerm):
    """Weight decay of strength lambda_a, lambda_w and lambda_b, which a configuration may give as one number for all of them.

    Raises:
        ValueError: If one of them is negative.
    """

    decay_a: float
    decay_w: float
    decay_b: float
    usage: ClassVar[str] = "weight_decay(l) or weight_decay(l_a, l_w, l_b)"

    def __post_init__(self) -> None:
        if not all(isfinite(x) and x >= 0 for x in (self.decay_a, self.decay_w, self.decay_b)):
            raise ValueError("has a strength that is negative")

    @classmethod
    def read(cls, arguments: str) -> Self:
        numbers = [float(x) for x in arguments.split(",")]
        if len(numbers) not in (1, 3):
            raise ValueError
        return cls(*numbers) if len(numbers) == 3 else cls(*numbers * 3)

    def trains(self, rated: Trained) -> Trained:
        return Trained(rated.a and self.decay_a > 0, rated.w and self.decay_w > 0, rated.b and self.decay_b > 0)

    def add(self, time: float, xi: LearningRates, neurons: Neurons, rates: Rates) -> None:
        of_a, of_w, of_b = xi.a * self.decay_a, xi.w * self.decay_w, xi.b * self.decay_b
        parts = (neurons.a, rates.a, of_a), (neurons.v, rates.v, of_w), (neurons.r, rates.r, of_w), (neurons.b, rates.b, of_b)
        for x, rate, speed in parts:
            if x is not None and rate is not None and speed:
                rate -= speed * x

    def divergence(self, time: float, xi: LearningRates, neurons: Neurons) -> Array:
        radial_and_v = neurons.v.shape[1] + 1
        value = xi.a * self.decay_a + radial_and_v * xi.w * self.decay_w + (0.0 if neurons.b is None else xi.b * self.decay_b)
        return np.full_like(neurons.a, -value)

    def potential(self, neurons: Neurons) -> Array:
        of_b = 0.0 if neurons.b is None else self.decay_b * neurons.b**2
        square = (neurons.v**2).sum(axis=-2) + neurons.r**2
        return np.asarray(0.5 * (self.decay_a * neurons.a**2 + self.decay_w * square + of_b))
