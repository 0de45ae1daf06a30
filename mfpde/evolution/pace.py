"""Whether an integration comes to an end: a run of millions of steps says so at its beginning.

Where steps follow the unit of time of a flow, T(t), their number between two times is proportional to int dt / T(t).  So those
that were taken tell those that are to come.
"""

import numpy as np

from mfpde.errors import RunError
from mfpde.evolution.flow import Flow
from mfpde.evolution.integrate import Interval

# The steps after which it is looked at first, again after twice as many, and so on; those that are too many.
FIRST, MOST = 100, 1e6
# Points of the integral.
POINTS = 400


class Pace:
    """The steps of one interval. Its decisions depend on steps alone, so they are the same on all ranks."""

    def __init__(self, flow: Flow, interval: Interval) -> None:
        self.flow, self.interval = flow, interval
        self._next, self._last = FIRST, (0, interval.start)

    def step(self, count: int, time: float) -> None:
        """A step has come to `time`, the `count`-th of the interval.

        Raises:
            RunError: If those to come would be millions.
        """
        if count < self._next:
            return
        (before, since), end = self._last, self.interval.end
        self._next, self._last = 2 * count, (count, time)
        with np.errstate(all="ignore"):
            left = self._units(time, end) * (count - before) / self._units(since, time)
        if left > MOST:
            unit = self.flow.unit_of_time(self.interval.inside(time))
            raise RunError(
                f"about {left:.0e} steps would be needed from t = {time:.4g}, {count} steps after t = {self.interval.start:g}, "
                f"to t = {end:g}: neurons move within a time of {unit:.1e} there; lower the learning rates, or take an earlier "
                "training.final_time"
            )

    def _units(self, first: float, last: float) -> float:
        """The integral of 1 / T."""
        times = np.linspace(first, last, POINTS)
        rates = [1 / max(self.flow.unit_of_time(self.interval.inside(t)), 1e-300) for t in times.tolist()]
        return float(np.trapezoid(rates, times))
