"""A function of one variable in pieces, on each of which it is a polynomial of moderate degree to the rounding of its integral.

Bisection goes on where samples show that the piece is no such polynomial, and where interval arithmetic does not exclude that
something lies between the samples: of a bump of any width, the range of the function, or of a derivative, tells.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import factorial

import numpy as np
from numpy.typing import NDArray

from mfpde.expressions.breakpoints import Function
from mfpde.expressions.enclosures import Range
from mfpde.expressions.legendre import LAST_TWO, TO_LEGENDRE, W, X
from mfpde.expressions.reading import TooCostly

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Points of a piece at which a larger piece is compared with it.
COMPARED = slice(2, None, 5)
# What a piece may miss: of the integral of |f|, and of that or of 1, whichever is less, by what lies between its points.
MISSED, UNSEEN = 1e-12, 1e-8
# Pieces looked at, the narrowest one as a part of the whole, and the widest one of a function without interval arithmetic.
MOST_PIECES, NARROWEST, WIDEST = 200_000, 1e-13, 1 / 1024


def pieces(f: Function, derivatives: Sequence[Function], edges: Sequence[float]) -> Array:
    """The ends of the pieces, ascending.

    Args:
        f: The function, finite.
        derivatives: Of orders 1, 2, ..: as many as are known; without deltas where f jumps.
        edges: The ends of the interval, and points between at which f switches; ascending. They are ends of pieces.

    Raises:
        TooCostly: If there are too many.
    """
    small = _small_pieces(f, derivatives, edges)
    low, high = np.array(edges[:-1]), np.array(edges[1:])
    ends = [np.asarray(edges)]
    while len(low):
        middle = (low + high) / 2
        split = ~small.hold(f, low, high)
        low, middle, high = low[split], middle[split], high[split]
        ends.append(middle)
        low, high = np.concatenate((low, middle)), np.concatenate((middle, high))
    return np.unique(np.concatenate(ends))


class _Small:
    """Pieces that are certain, with values at their points and the integral of |f|: by them larger ones are judged."""

    def __init__(self, low: Array, high: Array, value: Array, integral: float) -> None:
        order = np.argsort(low)
        self.low, self.high, self.value, self.integral = low[order], high[order], value[order], integral

    def hold(self, f: Function, low: Array, high: Array) -> Bools:
        """Whether f is a polynomial on each of the unions [low, high] of small pieces."""
        first, last = np.searchsorted(self.low, low), np.searchsorted(self.low, high)
        good = last - first <= 1
        value = _values(f, low, high)
        smooth = _smooth(low, high, value, self.integral)
        chosen = np.flatnonzero(smooth & ~good)
        if not len(chosen):
            return np.asarray(good)
        count = last[chosen] - first[chosen]
        owner = np.repeat(np.arange(len(chosen)), count)
        begins = np.repeat(first[chosen] - np.concatenate(([0], np.cumsum(count)[:-1])), count)
        part = begins + np.arange(len(owner))
        places = _places(self.low[part], self.high[part])[:, COMPARED]
        centre, half = (low + high)[chosen][owner] / 2, (high - low)[chosen][owner] / 2
        x = (places - centre[:, None]) / half[:, None]
        guess = np.polynomial.legendre.legval(x.T, (value[chosen] @ TO_LEGENDRE)[owner].T, tensor=False).T
        allowed = 10 * _missed(low[chosen], high[chosen], value[chosen], self.integral)[owner] / (2 * half)
        wrong = (np.abs(guess - self.value[part][:, COMPARED]).max(axis=1) > allowed).astype(int)
        good[chosen] = np.bincount(owner, wrong, minlength=len(chosen)) == 0
        return np.asarray(good)


def _small_pieces(f: Function, derivatives: Sequence[Function], edges: Sequence[float]) -> _Small:
    """Bisects until every piece is seen to be smooth, and nothing can lie between its points."""
    low, high, whole = np.array(edges[:-1]), np.array(edges[1:]), edges[-1] - edges[0]
    done: list[tuple[Array, Array, Array]] = []
    seen, total = 0.0, 0
    while len(low):
        total += len(low)
        if total > MOST_PIECES:
            raise TooCostly(f"oscillates too fast, or has too many narrow pulses; allowed: what {MOST_PIECES} parts resolve")
        value = _values(f, low, high)
        integral = seen + float((high - low) / 2 @ (np.abs(value) @ W))
        unseen = (high - low) * _unseen(f, derivatives, low, high, value, whole)
        good = _smooth(low, high, value, integral) & (unseen <= UNSEEN * min(integral, 1.0))
        good |= high - low <= NARROWEST * whole
        done.append((low[good], high[good], value[good]))
        seen += float((high - low)[good] / 2 @ (np.abs(value[good]) @ W))
        low, high = low[~good], high[~good]
        middle = (low + high) / 2
        low, high = np.concatenate((low, middle)), np.concatenate((middle, high))
    found = [np.concatenate(parts) for parts in zip(*done, strict=True)]
    return _Small(found[0], found[1], found[2], seen)


def _unseen(f: Function, derivatives: Sequence[Function], low: Array, high: Array, value: Array, whole: float) -> Array:
    """How far f may be, somewhere in each piece, from all that its values there say.

    It leaves the range of these values by what its enclosure says, and with a derivative of order m whose range has the width D
    it is a polynomial of degree m up to D (h/2)^m / m!, h half the length: the remainder of interpolation at Chebyshev points.
    """
    try:
        bounds = f.enclosure(low, high)
    except NotImplementedError:
        return np.where(high - low > WIDEST * whole, np.inf, 0.0)
    least = np.maximum(bounds.high - value.max(axis=1), value.min(axis=1) - bounds.low)
    for m, derivative in enumerate(derivatives, start=1):
        try:
            width = _width(derivative.enclosure(low, high))
        except NotImplementedError:
            break
        least = np.fmin(least, 2 * width * ((high - low) / 4) ** m / factorial(m))
    return np.asarray(least)


def _width(found: Range) -> Array:
    with np.errstate(invalid="ignore"):
        return np.where(found.doubtful | found.void, np.inf, found.high - found.low)


def _places(low: Array, high: Array) -> Array:
    """The Gauss points of each piece."""
    half = (high - low) / 2
    return np.asarray((low + half)[:, None] + half[:, None] * X)


def _values(f: Function, low: Array, high: Array) -> Array:
    return np.asarray(f(_places(low, high)))


def _smooth(low: Array, high: Array, value: Array, integral: float) -> Bools:
    """Whether the last two Legendre coefficients of each piece vanish."""
    tail = np.abs(value @ LAST_TWO).sum(axis=1)
    return np.asarray(tail * (high - low) <= _missed(low, high, value, integral))


def _missed(low: Array, high: Array, value: Array, integral: float) -> Array:
    """What may be missed on each piece: a share of the integral, and the rounding of values and of their places."""
    eps = np.finfo(float).eps
    slope = np.abs(np.diff(value, axis=1) / np.diff(X)).max(axis=1) / ((high - low) / 2)
    rounding = 8 * eps * (np.abs(value).max(axis=1) + slope * np.maximum(np.abs(low), np.abs(high)))
    return np.asarray(MISSED * integral + rounding * (high - low))


def longest_step(ends: Sequence[float], index: int, time: float) -> float:
    """The longest step from `time`, in the piece that begins at ends[index], that is no longer than any piece it enters."""
    longest = ends[index + 1] - ends[index]
    for low, high in pairwise(ends[index + 1 :]):
        if low - time >= longest:
            break
        longest = min(longest, max(low - time, high - low))
    return longest
