"""The mean field m(t) that a run has kept, at any time: with it, any neuron can be followed after the run.

Every time step keeps m at eight Chebyshev-Lobatto points, so m(t) is known to the integrator's own order (7) by the
barycentric formula of its step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.features.protocol import Basis, common_modes, named

Array = NDArray[np.float64]

# Of Chebyshev-Lobatto points: alternating, the ends half.
_WEIGHTS = np.array([0.5, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -0.5])
POINTS = len(_WEIGHTS)
# Where in a step the mean field is kept.
LOBATTO = (1 - np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))) / 2


@dataclass(frozen=True)
class MeanField:
    """m(t), step by step.

    Attributes:
        times: Times of the points, shape (steps, 8).
        moments: There, shape (steps, 8, modes).
    """

    times: Array
    moments: Array

    @property
    def end(self) -> float:
        """Up to where m is known."""
        return float(self.times[-1, -1]) if len(self.times) else 0.0

    def knots(self, start: float, end: float) -> Array:
        """Ends of the steps within [start, end], these two included, ascending."""
        slack = 1e-12 * max(abs(end), 1e-300)
        inner = self.times[:, -1]
        inner = inner[(inner > start + slack) & (inner < end - slack)]
        return np.array([start, *inner, end])

    def __call__(self, time: float, near: float) -> Array:
        """m at `time`, by the step that holds `near`, shape (modes,)."""
        step = min(int(np.searchsorted(self.times[:, -1], near)), len(self.times) - 1)
        gap = time - self.times[step]
        hit = np.flatnonzero(gap == 0)
        if len(hit):
            return np.asarray(self.moments[step, hit[0]])
        share = _WEIGHTS / gap
        return np.asarray(share @ self.moments[step] / share.sum())


@dataclass(frozen=True)
class FieldShift:
    """What m(t) of a run lacks, to first order, as far as studies of its error know.

    Attributes:
        times: Times at which it is known, ascending, shape (n,); twice where a stage ends and another begins.
        moments: What is to be added there; m itself in functions that the run does not have, shape (n, modes).
        modes: The functions: at least those of the run.
        settled: Whether the studies came to an end; if not, finer runs would go on.
    """

    times: Array
    moments: Array
    modes: Basis
    settled: bool = True

    def added(self, field: MeanField, modes: Basis) -> MeanField:
        """The mean field over `self.modes` of a run whose own one is `field`, over `modes`."""
        own, places = common_modes(named(modes), named(self.modes))
        right = np.clip(np.searchsorted(self.times, field.times, side="right"), 1, len(self.times) - 1)
        low, high = self.times[right - 1], self.times[right]
        share = (np.where(high > low, field.times - low, 0.0) / np.where(high > low, high - low, 1.0))[..., None]
        moments = (1 - share) * self.moments[right - 1] + share * self.moments[right]
        moments[..., places] += field.moments[..., own]
        return MeanField(field.times, moments)
