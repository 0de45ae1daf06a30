"""Learning rates xi(t): non-negative numbers, expressions in t, or tables of (t, value).

A rate may jump or have kinks at finitely many times, its `breaks`: time integration ends a step there and begins another,
with the limit from the left before, from the right after (`Schedule.on`).  Between them it is resolved before it is integrated:
on each of its pieces it is a polynomial of moderate degree, so no step that is at most as long as a piece leaps over a pulse.
"""

import math
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError, quoted
from mfpde.expressions.code import evaluate_scalar
from mfpde.expressions.enclosures import TooManyBoxes
from mfpde.expressions.expression import Expression, parse
from mfpde.expressions.legendre import X
from mfpde.expressions.pieces import longest_step
from mfpde.expressions.reading import TooCostly, limited

Array = NDArray[np.float64]
Text = float | str | Sequence[Sequence[float]]

MOST_BREAKS = 10_000
# Parts of the duration: breaks that are nearer to each other count as one, and limits are taken this far from them.
NEAR, BESIDE = 1e-12, 1e-14


@dataclass(frozen=True)
class Schedule:
    """A learning rate; picklable, and without the parser's library once it is built.

    Attributes:
        text: As the user wrote it.
        source: The code in t, over the names of `math`, see `expressions.code.evaluate_scalar`.
        constant: Its value if it does not depend on t.
        final_time: T.
        edges: Times in [0, T] at which it may jump or have a kink, ascending.
        pieces: Ends of its pieces, ascending from 0 to T, the edges among them; none where it is constant between the edges.
    """

    text: str
    source: str
    constant: float | None
    final_time: float = math.inf
    edges: tuple[float, ...] = ()
    pieces: tuple[float, ...] = ()

    @property
    def zero(self) -> bool:
        """Whether the rate vanishes at all times."""
        return self.constant == 0.0

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times in (0, T), ascending, between which the rate is smooth: a time step may end there, and must not cross them."""
        near = NEAR * self.final_time
        return tuple(t for t in self.edges if near < t < self.final_time - near)

    def __call__(self, t: float) -> float:
        """xi(t); at a jump the value that is written there, e.g. heaviside(0) = 1/2."""
        if self.constant is not None:
            return self.constant
        return evaluate_scalar(self.source, "t", t)

    def on(self, start: float, end: float) -> Callable[[float], float]:
        """xi on [start, end], an interval without breaks inside, with the limits from inside at its ends.

        The ends may be breaks, of this rate or, up to round-off, of another one.
        """
        near, beside = NEAR * self.final_time, BESIDE * self.final_time
        at_start, at_end = (
            self.edges[bisect_left(self.edges, t - near) : bisect_right(self.edges, t + near)] for t in (start, end)
        )
        if not (at_start or at_end):
            return self
        low = max(at_start) + beside if at_start else start
        high = min(at_end) - beside if at_end else end
        if low > high:
            low = high = (start + end) / 2
        return lambda t: self(min(max(t, low), high))

    def longest_step(self, t: float) -> float:
        """The longest time step from t that cannot leap over a pulse: no longer than any of the pieces that it enters."""
        if len(self.pieces) <= 2:
            return math.inf
        return longest_step(self.pieces, min(bisect_right(self.pieces, t), len(self.pieces) - 1) - 1, t)

    def integral(self, times: Array) -> Array:
        """int_0^t xi at each of `times` (ascending, from 0 or later)."""
        if self.constant is not None:
            return self.constant * times
        from scipy.integrate import quad

        parts, ends = [], self.pieces or self.edges
        with warnings.catch_warnings():  # where rounding errors of a rate prevail, as much accuracy as there is
            warnings.simplefilter("ignore")
            for low, high in pairwise([0.0, *times]):
                inner = ends[bisect_right(ends, low) : bisect_left(ends, high)]
                parts.append(
                    sum(quad(self.on(a, b), a, b, epsabs=1e-13, epsrel=1e-13)[0] for a, b in pairwise([low, *inner, high]))
                )
        return np.cumsum(parts)


def joint_breaks(schedules: Iterable[Schedule], further: Iterable[float] = ()) -> tuple[float, ...]:
    """The breaks of several rates of one stage, and further ones, ascending; those that differ by round-off are one."""
    schedules = list(schedules)
    joint: list[float] = []
    for t in sorted([*(t for schedule in schedules for t in schedule.breaks), *further]):
        if not joint or t - joint[-1] > NEAR * max(schedule.final_time for schedule in schedules):
            joint.append(t)
    return tuple(joint)


def parse_schedule(text: Text, key: str, final_time: float) -> Schedule:
    """The learning rate given by a number, an expression in t, or a table.

    Args:
        text: E.g. 1.0, "exp(-t)", "where(t < 5, 1, 0.1)", or [[0, 1.0], [5, 0.1]]: 1 from t = 0 on, 0.1 from t = 5 on.
        key: Where, for messages.
        final_time: T.

    Raises:
        InputError: If it is none of them, or negative or not finite at a time in [0, T], or has too many breaks.
    """
    if not isinstance(text, str | int | float):
        return _table(text, key, final_time)
    expression = parse(text, ["t"], key)
    if expression.constant:
        constant = Schedule(str(text), expression.scalar_source, float(expression), final_time)
        _check_value(constant, 0.0, key)
        return constant
    schedule = Schedule(str(text), expression.scalar_source, None, final_time)
    for t in np.linspace(0.0, final_time, 1001):
        _check_value(schedule, float(t), key)
    try:
        with limited(key, text):
            schedule = replace(schedule, edges=_edges(expression, final_time))
            wrong = _wrong_value(expression, schedule)
            if wrong is None:
                schedule = replace(schedule, pieces=_pieces(expression, schedule))
                wrong = _negative(expression, schedule)
    except TooCostly as error:
        raise InputError(f"{key}: {quoted(text)} {error}") from None
    if wrong is not None:
        raise InputError(f"{key}: {quoted(text)} is {wrong[1]:g} at t = {wrong[0]:.9g}; {_ALLOWED}")
    return schedule


_ALLOWED = "allowed: finite and non-negative on [0, final_time]"
# Rounding errors of a rate that touches 0, e.g. 1 + cos(t), relative to max(1, xi).
SLACK = 1e-12


def _check_value(schedule: Schedule, t: float, key: str) -> None:
    """Refuses a rate that is negative, not finite or not real at t."""
    value = _value(schedule, t)
    if not 0.0 <= value < math.inf:
        raise InputError(f"{key}: {quoted(schedule.text)} is {value:g} at t = {t:.9g}; {_ALLOWED}")


def _value(rate: Callable[[float], float], t: float) -> float:
    try:
        return rate(t)
    except OverflowError:
        return math.inf
    except (ArithmeticError, ValueError, TypeError, NameError):
        return math.nan


def _edges(expression: Expression, final_time: float) -> tuple[float, ...]:
    """`Schedule.edges`."""
    edges: list[float] = []
    for x in expression.kinks(0.0, final_time, MOST_BREAKS):
        gap = (x - edges[-1]) / final_time if edges else 1.0
        if BESIDE < gap <= NEAR:
            raise TooCostly(f"jumps at t = {edges[-1]:.17g} and {x:.17g}; allowed: jumps {NEAR:g} of the duration apart")
        if gap > NEAR:
            edges.append(x)
    return tuple(edges)


def _pieces(expression: Expression, schedule: Schedule) -> tuple[float, ...]:
    """`Schedule.pieces`."""
    ends = expression.pieces([0.0, *schedule.breaks, schedule.final_time])
    if len(ends) > MOST_BREAKS:
        raise TooCostly(f"has {len(ends)} parts of narrow pulses or of an oscillation; allowed: at most {MOST_BREAKS}")
    return tuple(ends)


def _wrong_value(expression: Expression, schedule: Schedule) -> tuple[float, float] | None:
    """A time in [0, T] and the value there, negative or not finite or (nan) not real; None if there is none."""
    edges = sorted({0.0, *schedule.edges, schedule.final_time})
    for a, b in pairwise(edges):
        rate = schedule.on(a, b)
        for time in ((a + b) / 2, a, b):
            value = _value(rate, time)
            if not -SLACK <= value < math.inf:
                return time, value
    try:
        pole = expression.undefined_point(edges)
        if pole is not None:
            return pole, math.nan
    except (TooManyBoxes, NotImplementedError):
        pass  # the samples must do
    time, value = expression.least_value(edges)
    return (time, value) if value < -SLACK * max(1.0, *(schedule(x) for x in edges)) else None


def _negative(expression: Expression, schedule: Schedule) -> tuple[float, float] | None:
    """A time among the points of the pieces and the value there, the least if it is negative; None if none is."""
    ends = np.array(schedule.pieces)
    times = (ends[:-1, None] + np.diff(ends)[:, None] * (1 + X) / 2).ravel()
    values = expression(times)
    k = int(values.argmin())
    return (float(times[k]), float(values[k])) if values[k] < -SLACK * max(1.0, float(values.max())) else None


def _table(rows: Sequence[Sequence[float]], key: str, final_time: float) -> Schedule:
    allowed = "allowed: [[0, value], [t, value], ...], ascending t, each value >= 0 and finite, and for all times from its t on"
    pairs = [(float(t), float(value)) for t, value in rows]
    times = [t for t, _ in pairs]
    right = all(a < b for a, b in pairwise(times)) and all(0 <= value < math.inf and t < math.inf for t, value in pairs)
    if not pairs or times[0] != 0 or not right:
        raise InputError(f"{key}: {quoted(rows)} is no table of a rate; {allowed}")
    if len(pairs) > MOST_BREAKS:
        raise InputError(f"{key}: a table of {len(pairs)} rows; allowed: at most {MOST_BREAKS}")
    values = [value for _, value in pairs]
    text = "[" + ", ".join(f"[{t!r}, {value!r}]" for t, value in pairs) + "]"
    inside = [(t, value) for t, value in pairs if t < final_time]
    if len({value for _, value in inside}) == 1:
        return Schedule(text, repr(values[0]), values[0], final_time)
    return Schedule(
        text,
        f"{tuple(values)}[bisect_right({tuple(times)}, t) - 1]",
        None,
        final_time,
        tuple(t for t in times[1:] if t <= final_time),
    )
