"""Learning rates xi(t): non-negative numbers or expressions in t."""

import math
import warnings
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """A learning rate; picklable, and without the parser's library once it is built.

    Attributes:
        text: As the user wrote it.
        source: Python source of the expression in t, over the names of `math`.
        constant: Its value if it does not depend on t.
    """

    text: str
    source: str
    constant: float | None

    @property
    def zero(self) -> bool:
        """Whether the rate vanishes at all times."""
        return self.constant == 0.0

    def __call__(self, t: float) -> float:
        if self.constant is not None:
            return self.constant
        return float(eval(_compiled(self.source), _NAMES, {"t": t}))

    def integral(self, times: Array) -> Array:
        """int_0^t xi at each of `times` (ascending, from 0 or later)."""
        if self.constant is not None:
            return self.constant * times
        from scipy.integrate import quad

        with warnings.catch_warnings():  # where the rate jumps, as much accuracy as there is
            warnings.simplefilter("ignore")
            parts = [quad(self, low, high, epsabs=1e-13, epsrel=1e-13)[0] for low, high in pairwise([0.0, *times])]
        return np.cumsum(parts)


@cache
def _compiled(source: str) -> Any:
    return compile(source, "<schedule>", "eval")


_NAMES = {"__builtins__": {}, "abs": abs, "max": max, "min": min, **vars(math)}


def parse_schedule(text: str | float, key: str, final_time: float) -> Schedule:
    """The learning rate given by a number or an expression in t.

    Raises:
        InputError: If it is no expression in t, or negative or not finite at a time in [0, final_time].
    """
    from mfpde.problem.expressions import parse, source

    expression = parse(text, ["t"], key)
    constant = float(expression) if not expression.free_symbols else None
    schedule = Schedule(str(text), source(expression, "math"), constant)
    for t in np.linspace(0.0, final_time, 2 if constant is not None else 1001):
        try:
            value = schedule(float(t))
        except (ArithmeticError, ValueError, TypeError):
            value = math.nan
        if not 0.0 <= value < math.inf:
            raise InputError(f"{key}: {text!r} is {value:g} at t = {t:g}; allowed: finite and non-negative on [0, final_time]")
    return schedule
