"""Enclosures of expressions of one variable: ranges on many boxes at once, and what bisection finds with them.

`enclose` bounds a SymPy expression on boxes [low, high] of its variable by interval arithmetic.  It also says on which of
them the expression may leave its domain (a division by 0, the logarithm or the root of a negative number).  Bounds are
widened by some rounding errors of double precision: they serve to find poles, signs and roots, not to prove theorems.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

ROUNDING = 4 * np.finfo(np.float64).eps
# Boxes of one level of a bisection; 20 arrays of them take 50 MB.
MOST_BOXES = 300_000


class TooManyBoxes(Exception):
    """A bisection that has not come to an end with `MOST_BOXES`."""


@dataclass(frozen=True)
class Range:
    """Bounds on boxes, arrays of one shape.

    Attributes:
        low, high: The least and the largest value that the expression may have, where it is defined.
        doubtful: Whether the box may have points at which it is not defined.
        void: Whether it is defined nowhere in the box.
    """

    low: Array
    high: Array
    doubtful: Bools
    void: Bools

    def contains(self, value: float) -> Bools:
        """Whether a value may be taken in each box."""
        return (self.low <= value) & (self.high >= value)


def enclose(expression: Any, low: Array, high: Array) -> Range:
    """The ranges of an expression of one variable on the boxes [low, high].

    Raises:
        NotImplementedError: If it has a function that is not known here.
    """
    import sympy

    (symbol,) = expression.free_symbols or (None,)
    known: dict[Any, Range] = {}
    with np.errstate(all="ignore"):
        for part in sympy.postorder_traversal(expression):
            if part not in known and not isinstance(part, sympy.functions.elementary.piecewise.ExprCondPair):
                known[part] = _variable(low, high) if part == symbol else _apply(part, known, low)
    return known[expression]


def _variable(low: Array, high: Array) -> Range:
    never = np.zeros(low.shape, dtype=bool)
    return Range(low, high, never, never)


def _apply(part: Any, known: dict[Any, Range], like: Array) -> Range:
    import sympy

    if part in (sympy.true, sympy.false) or part.is_number:
        return _number(part, like)
    if isinstance(part, sympy.Piecewise):
        return _piecewise([(known[value], known[condition]) for value, condition in part.args])
    arguments = [known[a] for a in part.args]
    doubtful = reduce(np.logical_or, (a.doubtful for a in arguments))
    void = reduce(np.logical_or, (a.void for a in arguments))
    if isinstance(part, sympy.core.relational.Relational):
        # A truth value: 1 where the condition holds for sure, 0 where it fails for sure, [0, 1] otherwise.
        less, more = (arguments[0], arguments[1]) if part.rel_op in ("<", "<=") else (arguments[1], arguments[0])
        sure, fails = less.high < more.low, less.low > more.high
        return Range(np.where(sure, 1.0, 0.0), np.where(fails, 0.0, 1.0), doubtful, void)
    if part.is_Add or part.is_Mul or isinstance(part, sympy.Max | sympy.Min):
        combine = _add if part.is_Add else _multiply if part.is_Mul else _maximum if isinstance(part, sympy.Max) else _minimum
        low, high = arguments[0].low, arguments[0].high
        for other in arguments[1:]:
            low, high = combine(low, high, other.low, other.high)
        return Range(low, high, doubtful, void)
    low, high, cut, outside = _function(part, arguments)
    low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    return Range(low - ROUNDING * _finite(low), high + ROUNDING * _finite(high), doubtful | cut, void | outside)


def _number(part: Any, like: Array) -> Range:
    import sympy

    if part in (sympy.true, sympy.false):
        value, slack = float(part == sympy.true), 0.0
    else:
        value = float(part)
        slack = 0.0 if part.is_Rational and sympy.Rational(value) == part else ROUNDING * abs(value)
    never = np.zeros(like.shape, dtype=bool)
    return Range(np.full(like.shape, value - slack), np.full(like.shape, value + slack), never, never)


def _add(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    low, high = a + c, b + d
    low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    return low - ROUNDING * _finite(low), high + ROUNDING * _finite(high)


def _multiply(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    products = np.stack((a * c, a * d, b * c, b * d))
    products = np.where(np.isnan(products), 0.0, products)  # 0 times what has overflowed
    low, high = products.min(axis=0), products.max(axis=0)
    return low - ROUNDING * _finite(low), high + ROUNDING * _finite(high)


def _maximum(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    return np.maximum(a, c), np.maximum(b, d)


def _minimum(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    return np.minimum(a, c), np.minimum(b, d)


def _finite(x: Array) -> Array:
    return np.where(np.isfinite(x), np.abs(x), 0.0)


def _piecewise(pairs: Sequence[tuple[Range, Range]]) -> Range:
    """The hull over the branches that may be taken."""
    shape = pairs[0][0].low.shape
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    doubtful, void, open_ = np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool), np.ones(shape, dtype=bool)
    for value, condition in pairs:
        taken = open_ & (condition.high > 0)
        low = np.where(taken, np.minimum(low, value.low), low)
        high = np.where(taken, np.maximum(high, value.high), high)
        doubtful |= taken & (value.doubtful | condition.doubtful)
        void &= ~taken | value.void
        open_ &= ~(condition.low > 0)
    return Range(low, high, doubtful, void)


def _function(part: Any, arguments: list[Range]) -> tuple[Array, Array, Bools, Bools]:
    """Bounds of a function, and where its argument may be, or is, outside of its domain."""
    import sympy
    from scipy import special

    x = arguments[0]
    low, high = x.low, x.high
    inside = np.zeros(low.shape, dtype=bool)
    increasing: dict[Any, Callable[[Array], Array]] = {
        sympy.exp: np.exp,
        sympy.sinh: np.sinh,
        sympy.tanh: np.tanh,
        sympy.atan: np.arctan,
        sympy.asinh: np.arcsinh,
        sympy.erf: special.erf,
        sympy.sign: np.sign,
        sympy.Heaviside: lambda y: np.heaviside(y, 0.5),
    }
    if part.func in increasing or part.func.__name__ == "softplus":
        f: Any = increasing.get(part.func, lambda y: np.logaddexp(0.0, y))
        return f(low), f(high), inside, inside
    if isinstance(part, sympy.Abs):
        return _least(x), _largest(low, high), inside, inside
    if isinstance(part, sympy.cosh):
        return np.cosh(_least(x)), np.cosh(_largest(low, high)), inside, inside
    if isinstance(part, sympy.log):
        return np.log(np.maximum(low, 0.0)), np.log(high), low <= 0, high <= 0
    if isinstance(part, sympy.asin | sympy.acos):
        ends = np.clip(low, -1, 1), np.clip(high, -1, 1)
        one = 1 + 4 * ROUNDING  # arguments like tanh(u) reach 1
        cut, outside = (low < -one) | (high > one), (low > one) | (high < -one)
        if isinstance(part, sympy.asin):
            return np.arcsin(ends[0]), np.arcsin(ends[1]), cut, outside
        return np.arccos(ends[1]), np.arccos(ends[0]), cut, outside
    if isinstance(part, sympy.sin | sympy.cos):
        return *_cosine(low, high, 0.5 if isinstance(part, sympy.sin) else 0.0), inside, inside
    if isinstance(part, sympy.tan | sympy.cot):
        shift = 0.5 if isinstance(part, sympy.tan) else 0.0
        pole = np.ceil(low / np.pi - shift) <= np.floor(high / np.pi - shift)
        values = (np.tan(low), np.tan(high)) if isinstance(part, sympy.tan) else (1 / np.tan(high), 1 / np.tan(low))
        return np.where(pole, -np.inf, values[0]), np.where(pole, np.inf, values[1]), pole, inside
    if isinstance(part, sympy.Pow):
        return _power(part, arguments)
    raise NotImplementedError(part.func)


def _least(x: Range) -> Array:
    """The least absolute value."""
    return np.where(x.contains(0.0), 0.0, np.minimum(np.abs(x.low), np.abs(x.high)))


def _largest(low: Array, high: Array) -> Array:
    return np.maximum(np.abs(low), np.abs(high))


def _cosine(low: Array, high: Array, shift: float) -> tuple[Array, Array]:
    """Bounds of cos(x - shift pi); its maxima are at x = (shift + 2k) pi, its minima at (shift + 1 + 2k) pi."""
    ends = np.cos(low - shift * np.pi), np.cos(high - shift * np.pi)
    slack = 1e-12 * (1 + _finite(low))
    a, b = (low - slack) / np.pi - shift, (high + slack) / np.pi - shift
    top, bottom = np.ceil(a / 2) * 2 <= b, np.ceil((a - 1) / 2) * 2 + 1 <= b
    wide = ~(np.isfinite(low) & np.isfinite(high))
    return (
        np.where(bottom | wide, -1.0, np.minimum(*ends) - slack * 1e-3),
        np.where(top | wide, 1.0, np.maximum(*ends) + slack * 1e-3),
    )


def _power(part: Any, arguments: list[Range]) -> tuple[Array, Array, Bools, Bools]:
    base, exponent = arguments
    low, high = base.low, base.high
    zero = np.zeros(low.shape, dtype=bool)
    n = part.exp
    if n.is_Integer:
        size = abs(int(n))
        ends = (low, high) if size % 2 else (_least(base), _largest(low, high))
        bounds = ends[0] ** size, ends[1] ** size
        if n > 0:
            return *bounds, zero, zero
        pole = base.contains(0.0)
        return np.where(pole, -np.inf, 1 / bounds[1]), np.where(pole, np.inf, 1 / bounds[0]), pole, (low == 0) & (high == 0)
    if n.is_number:
        power = float(n)
        ends = np.maximum(low, 0.0) ** power, np.maximum(high, 0.0) ** power
        if power > 0:
            return *ends, low < 0, high < 0
        return ends[1], ends[0], low <= 0, high <= 0
    logarithm = np.log(np.maximum(low, 0.0)), np.log(np.maximum(high, 0.0))
    product = _multiply(*logarithm, exponent.low, exponent.high)
    return np.exp(product[0]), np.exp(product[1]), low <= 0, high <= 0


def bisect(
    enclosure: Callable[[Array, Array], Range], low: Array, high: Array, open_: Callable[[Range], Bools], narrowest: float
) -> tuple[Array, Array]:
    """The boxes at the end of a bisection that halves those for which `open_` holds.

    Args:
        enclosure: The ranges on boxes [low, high] of what is looked at, as `enclose` gives them.
        low, high: The boxes to begin with.
        open_: Which boxes may hold what is looked for, from their ranges.
        narrowest: The width, relative to max(1, |u|), of boxes that are not halved again.

    Returns:
        The ends of the boxes of that width that are still open, ascending.

    Raises:
        TooManyBoxes: If there are more than `MOST_BOXES` of them on the way.
        NotImplementedError: As `enclose`.
    """
    done: list[tuple[Array, Array]] = []
    while len(low):
        keep = open_(enclosure(low, high))
        low, high = low[keep], high[keep]
        narrow = high - low <= narrowest * np.maximum(1.0, np.abs(low))
        done.append((low[narrow], high[narrow]))
        low, high = low[~narrow], high[~narrow]
        middle = (low + high) / 2
        low, high = np.concatenate((low, middle)), np.concatenate((middle, high))
        if len(low) + sum(len(ends) for ends, _ in done) > MOST_BOXES:
            raise TooManyBoxes
    ends = np.concatenate([a for a, _ in done] or [np.empty(0)]), np.concatenate([b for _, b in done] or [np.empty(0)])
    order = np.argsort(ends[0])
    return ends[0][order], ends[1][order]


def boxes(edges: Sequence[float], count: int = 64) -> tuple[Array, Array]:
    """Each interval between neighbouring edges, cut into `count` boxes: their lower and upper ends."""
    fine = np.unique(np.concatenate([np.linspace(a, b, count + 1) for a, b in pairwise(edges)]))
    return fine[:-1], fine[1:]


def merged(low: Array, high: Array) -> list[tuple[float, float]]:
    """The unions of boxes that touch, ascending boxes given."""
    if not len(low):
        return []
    cuts = np.flatnonzero(low[1:] > high[:-1] + 1e-12 * np.abs(high[:-1])) + 1
    starts, ends = np.concatenate(([0], cuts)), np.concatenate((cuts, [len(low)])) - 1
    return list(zip(low[starts].tolist(), high[ends].tolist(), strict=True))
