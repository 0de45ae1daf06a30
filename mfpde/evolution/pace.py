"""Whether an integration comes to an end: a run of very many steps says so at its beginning.

Where steps follow the unit of time of a flow, T(t), their number between two times is proportional to int dt / T(t).  So those
that were taken tell those that are to come, and how long they take.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

import numpy as np

from mfpde.errors import RunError
from mfpde.evolution.flow import Flow
from mfpde.evolution.integrate import Interval
from mfpde.progress import duration

# The steps after which it is looked at first, again after twice as many, and so on; those that are too many; those that are many,
# and may not take longer than the patience of who waits.
FIRST, MOST, MANY = 100, 1e6, 5e3
# The steps after which they are of usual length, and take the usual time: the first ones are shorter.
SETTLED = 400
# Points of the integral.
POINTS = 400

_patience: ContextVar[float] = ContextVar("patience", default=inf)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within the block an integration of many steps is refused if it would take longer than that."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


class Pace:
    """Collective. The steps of one interval: their number, the same on all ranks, and the time by the first one's clock."""

    def __init__(self, flow: Flow, interval: Interval) -> None:
        self.flow, self.interval = flow, interval
        self._next, self._last, self._clock = FIRST, (0, interval.start), time.monotonic()

    def step(self, count: int, reached: float) -> None:
        """Collective. A step has come to the time `reached`, the `count`-th of the interval.

        Raises:
            RunError: On all ranks, if those to come would be millions, or many that take too long.
        """
        if count < self._next:
            return
        (before, since), end = self._last, self.interval.end
        took = self._seconds()
        self._next, self._last = 2 * count, (count, reached)
        with np.errstate(all="ignore"):
            left = self._units(reached, end) * (count - before) / self._units(since, reached)
        seconds = left * took / (count - before)
        slow = MANY < left <= MOST and count >= SETTLED and seconds > _patience.get()
        if left > MOST or slow:
            unit = self.flow.unit_of_time(self.interval.inside(reached))
            lasting, more = (f", {duration(seconds)},", "raise --budget, ") if slow else ("", "")
            raise RunError(
                f"about {left:.0e} steps{lasting} would be needed from t = {reached:.4g}, {count} steps after "
                f"t = {self.interval.start:g}, to t = {end:g}: neurons move within a time of {unit:.1e} there; lower the "
                f"learning rates, {more}or take an earlier training.final_time"
            )

    def _seconds(self) -> float:
        """Collective. Those since this was last asked."""
        before, self._clock = self._clock, time.monotonic()
        took: float = self.flow.comm.bcast(self._clock - before)
        return took

    def _units(self, first: float, last: float) -> float:
        """The integral of 1 / T."""
        times = np.linspace(first, last, POINTS)
        rates = [1 / max(self.flow.unit_of_time(self.interval.inside(t)), 1e-300) for t in times.tolist()]
        return float(np.trapezoid(rates, times))
