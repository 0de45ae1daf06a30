"""Breakpoints of a function of one variable: where it is not smooth, not defined, negative, or has narrow pulses."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde.expressions.enclosures import Range, TooManyBoxes, bisect, boxes, merged
from mfpde.expressions.legendre import LAST_TWO, X
from mfpde.expressions.reading import TooCostly

Array = NDArray[np.float64]

# Switching functions of one expression.
MOST_SWITCHES = 300
# Widths of the boxes around roots, the finest that is affordable (multiple roots need the last ones), and around poles.
WIDTHS, POLE = (1e-10, 1e-6, 1e-4), 1e-8
# Boxes in which a function that may be undefined there is evaluated.
MOST_DOUBTS = 64
# Boxes of a search for pulses, and the narrowest one.
MOST_PANELS, NARROWEST_PULSE = 50_000, 1e-12


class Function(Protocol):
    """What is asked of a function of one variable."""

    def __call__(self, x: Array, /) -> Array:
        """The values; nan where it is not real or not defined."""
        ...

    def enclosure(self, low: Array, high: Array) -> Range:
        """The ranges on boxes; raises NotImplementedError if they are not known."""
        ...

    def extended(self, x: Any) -> Any:
        """The value in the arithmetic of `mpmath`; raises as that does where there is none."""
        ...


def switching_functions(expression: Any) -> list[Any]:
    """The SymPy expressions at whose zeros abs, sign, heaviside, max, min or a condition of where() switches.

    Raises:
        TooCostly: If there are more than `MOST_SWITCHES`.
    """
    import sympy

    found: list[Any] = []
    for part in sympy.preorder_traversal(expression):
        if isinstance(part, sympy.Abs | sympy.sign | sympy.Heaviside):
            found.append(part.args[0])
        elif isinstance(part, sympy.Max | sympy.Min):
            found += [a - b for i, a in enumerate(part.args) for b in part.args[:i]]
        elif isinstance(part, sympy.core.relational.Relational):
            found.append(part.lhs - part.rhs)
    distinct = list(dict.fromkeys(part for part in found if part.free_symbols))
    if len(distinct) > MOST_SWITCHES:
        raise TooCostly(f"switches in {len(distinct)} ways; allowed: at most {MOST_SWITCHES}")
    return distinct


def exact_roots(expression: Any, variable: Any) -> list[Any] | None:
    """The real zeros of a SymPy polynomial, linear or with rational coefficients; None if it is another expression."""
    import sympy

    if not expression.is_polynomial(variable):
        return None
    try:
        polynomial = sympy.Poly(expression, variable)
        if polynomial.degree() == 1:
            return [-polynomial.nth(0) / polynomial.nth(1)]
        if all(c.is_Rational for c in polynomial.all_coeffs()):
            return sorted(set(polynomial.real_roots())) if polynomial.degree() > 0 else []
    except (sympy.PolynomialError, NotImplementedError):
        pass
    return None


def numerical_roots(f: Function, low: float, high: float, most: int) -> list[float]:
    """The zeros of a function in [low, high], by bisection of its ranges.

    Raises:
        TooCostly: If there are more than `most`, or bisection does not come to an end.
    """
    from scipy.optimize import brentq

    def value(x: float) -> float:
        return float(f(np.array(x)))

    def open_(found: Range) -> NDArray[np.bool_]:
        return np.asarray(found.contains(0.0) & ~((found.low == 0) & (found.high == 0)) & ~found.void)

    ends = None
    for width in WIDTHS:
        try:
            ends = merged(*bisect(f.enclosure, *boxes([low, high]), open_, width))
            break
        except TooManyBoxes:
            continue
        except NotImplementedError:
            grid = np.linspace(low, high, 80001)
            sign = np.sign(f(grid))
            ends = [(float(grid[i]), float(grid[i + 1])) for i in np.flatnonzero(sign[1:] != sign[:-1])]
            break
    if ends is None or len(ends) > most:
        raise TooCostly(f"has too many jumps or kinks in [{low:g}, {high:g}]; allowed: at most {most}")
    roots = []
    for start, end in ends:
        sign = np.sign(f(np.linspace(start, end, 101)))
        if (sign[1:] * sign[:-1] < 0).sum() > 1:  # roots that the boxes could not tell apart
            raise TooCostly(f"has too many jumps or kinks in [{low:g}, {high:g}]; allowed: at most {most}")
        wide = max(start - WIDTHS[0], low), min(end + WIDTHS[0], high)
        if value(wide[0]) * value(wide[1]) < 0:
            roots.append(float(brentq(value, *wide, xtol=1e-15)))
        else:
            roots.append(min((start, (start + end) / 2, end), key=lambda x: abs(value(x))))
    return roots


def undefined_point(f: Function, edges: Sequence[float]) -> float | None:
    """A point where a function is not finite or not real, one of the nearest to 0; None if there is none.

    Of two that are equally near it is the positive one.

    Args:
        f: The function.
        edges: The ends of the interval where, and points between at which it switches; ascending.

    Raises:
        TooManyBoxes: If bisection does not come to an end.
        NotImplementedError: If it has a function without interval arithmetic.
    """
    start, end = bisect(f.enclosure, *boxes(edges), lambda found: found.doubtful | found.void, POLE)
    centre = (start + end) / 2
    size = np.nan_to_num(np.abs(f(centre)), nan=np.inf)
    worst = np.argsort(-size, kind="stable")[:MOST_DOUBTS]
    found, farthest = None, np.inf
    for i in worst[np.argsort(np.abs(centre)[worst], kind="stable")]:
        here = float(centre[i])
        if abs(here) > farthest:
            break
        if (found is None or here > 0) and not _defined(f.extended, float(start[i]), float(end[i])):
            if here > 0:
                return here
            found, farthest = here, abs(here) + 4 * POLE * max(1.0, abs(here))
    return found


def _defined(f: Callable[[Any], Any], low: float, high: float) -> bool:
    """Whether a function has real values on a tiny interval, and hardly varies there."""
    import mpmath

    with mpmath.workdps(40):
        values = []
        for i in range(9):
            x = mpmath.mpf(low) + (mpmath.mpf(high) - mpmath.mpf(low)) * (mpmath.mpf(i) + mpmath.mpf("0.4142")) / 9
            try:
                value = mpmath.mpc(f(x))
            except (ZeroDivisionError, ValueError, OverflowError):
                return False
            if not mpmath.isfinite(value) or abs(value.imag) > 1e-15 * (1 + abs(value.real)):
                return False
            values.append(value.real)
        return bool(max(values) - min(values) <= 1e-3 * (1 + max(abs(v) for v in values)))


def pulse_edges(f: Function, edges: Sequence[float], width: float) -> set[float]:
    """The ends of boxes narrower than `width` on which a function varies much, found by bisection of its range.

    What such a pulse contributes to an integral is seen if it is more than 1e-6, or more than 1e-6 of the whole.

    Args:
        f: The function, finite.
        edges: The ends of the interval, and points between at which it switches; ascending.
        width: What is narrow.
    """
    found: set[float] = set()
    low, high = boxes(edges, 8)
    length, total, scale = edges[-1] - edges[0], 0, 0.0
    while len(low) and total <= MOST_PANELS:
        total += len(low)
        half = (high - low) / 2
        value = f((low + half)[:, None] + half[:, None] * X)
        scale = max(scale, float(np.abs(value).max()))
        rough = np.abs(value @ LAST_TWO).max(axis=1) > 1e-3 * scale
        try:
            bounds = f.enclosure(low, high)
            unseen = np.maximum(bounds.high - value.max(axis=1), value.min(axis=1) - bounds.low) * (high - low)
        except NotImplementedError:
            unseen = np.zeros_like(low)
        narrow = rough & (high - low < width)
        found.update(low[narrow].tolist(), (low + half)[narrow].tolist(), high[narrow].tolist())
        split = (rough | (unseen > 1e-6 * max(1.0, scale * length))) & (high - low > NARROWEST_PULSE * length)
        low, high = np.concatenate((low[split], (low + half)[split])), np.concatenate(((low + half)[split], high[split]))
    return found


def least_value(f: Function, edges: Sequence[float]) -> tuple[float, float]:
    """The least value that bisection finds between the edges, if the function is negative somewhere.

    Returns:
        The point and the value there; (first edge, 0) if it is nowhere negative.
    """
    try:
        low, high = bisect(f.enclosure, *boxes(edges, 8), lambda found: found.low < 0, NARROWEST_PULSE)
    except (TooManyBoxes, NotImplementedError):
        low, high = boxes(edges, max(8, 200_000 // len(edges)))
    centre = (low + high) / 2
    value = f(centre) if len(centre) else np.zeros(0)
    if not (value < 0).any():
        return edges[0], 0.0
    return float(centre[np.nanargmin(value)]), float(np.nanmin(value))
