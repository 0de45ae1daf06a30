"""Expressions, parsed once: an object that knows its code, range, derivative, kinks, coefficients and series.

What is asked of an expression is found when it is asked for, and kept.  Results that travel (an activation, a schedule, a
target) take the source of the code, numbers and points from it: they do not need SymPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError, quoted
from mfpde.expressions import breakpoints
from mfpde.expressions.building import build, elementary, rational_number, symbol
from mfpde.expressions.code import array_source, evaluate, scalar_source
from mfpde.expressions.enclosures import Range, enclose
from mfpde.expressions.pieces import pieces
from mfpde.expressions.reading import TooCostly, allowed, limited, read
from mfpde.expressions.series import power_series

Array = NDArray[np.float64]

# Derivatives that bound what lies between samples, and operations of the longest one that is worth it.
MOST_DERIVATIVES, MOST_OPERATIONS = 4, 400
# Expressions that are kept, by their texts.
MOST_KEPT = 1000


@dataclass(frozen=True)
class Expression:
    """An expression of real variables.

    Attributes:
        text: As the user wrote it.
        variables: The names that it may have, in the order of its arguments.
        symbolic: The same in SymPy, in the real symbols of those names.
    """

    text: str
    variables: tuple[str, ...]
    symbolic: Any

    def __call__(self, *values: Array) -> Array:
        """Values at arrays of the variables that broadcast; nan where it is not real or not defined."""
        return evaluate(self.source, dict(zip(self.variables, values, strict=True)))

    def __float__(self) -> float:
        """The value of a constant."""
        return float(self.symbolic)

    @cached_property
    def source(self) -> str:
        """Python source over the names of numpy and scipy.special, see `code.evaluate`."""
        return array_source(self.symbolic)

    @cached_property
    def scalar_source(self) -> str:
        """Python source over the names of `math`, see `code.evaluate_scalar`."""
        return scalar_source(self.symbolic)

    @cached_property
    def symbols(self) -> tuple[Any, ...]:
        """SymPy's symbols of the variables."""
        return tuple(map(symbol, self.variables))

    @property
    def constant(self) -> bool:
        """Whether it depends on none of its variables."""
        return not self.symbolic.free_symbols

    # Algebra.

    def of(self, symbolic: Any) -> "Expression":
        """Another expression of the same variables."""
        return Expression(str(symbolic), self.variables, symbolic)

    @cached_property
    def expanded(self) -> "Expression":
        """The same with products and powers multiplied out, and softplus as log(1 + e^x)."""
        import sympy

        return self.of(sympy.expand(elementary(self.symbolic)))

    @cached_property
    def derivative(self) -> "Expression":
        """d/du, in one variable; it is `infinite` where the expression jumps."""
        (u,) = self.symbols
        return self.of(self.symbolic.diff(u))

    @property
    def infinite(self) -> bool:
        """Whether it holds Dirac's delta, as the derivative of a jump does."""
        import sympy

        return bool(self.symbolic.has(sympy.DiracDelta))

    @property
    def is_polynomial(self) -> bool:
        """Whether it is one in its variables, without being expanded."""
        return bool(self.symbolic.is_polynomial(*self.symbols))

    @property
    def degree(self) -> int:
        """A bound of the degree of a polynomial, found without expanding it."""
        return _degree(self.symbolic)

    @cached_property
    def _coefficients(self) -> list[Any]:
        import sympy

        return list(reversed(sympy.Poly(self.symbolic, *self.symbols).all_coeffs()))

    @cached_property
    def polynomial(self) -> tuple[Fraction, ...] | None:
        """The coefficients of a polynomial in one variable, ascending, irrational ones to 40 digits; None if it is none."""
        return tuple(map(rational_number, self._coefficients)) if self.is_polynomial else None

    @property
    def rational(self) -> bool:
        """Whether it is a number or a polynomial in one variable with rational coefficients only."""
        values = self._coefficients if self.variables else [self.symbolic]
        return all(value.is_Rational for value in values)

    @property
    def number(self) -> Fraction:
        """The value of a constant: exact if it is `rational`, to 40 digits if not."""
        return rational_number(self.symbolic)

    @cached_property
    def linear_form(self) -> tuple[Fraction, ...] | None:
        """The coefficients b of b.z, one for each variable; None if it is no such form."""
        import sympy

        whole, z = sympy.expand(self.symbolic), self.symbols
        row = [sympy.diff(whole, x) for x in z]
        if not whole.is_polynomial(*z) or any(b.free_symbols for b in row) or whole.subs(dict.fromkeys(z, 0)):
            return None
        return tuple(map(rational_number, row))

    # Analysis, in one variable.

    def enclosure(self, low: Array, high: Array) -> Range:
        """The ranges on boxes [low, high]; raises NotImplementedError for functions without interval arithmetic."""
        return enclose(self.symbolic, low, high)

    @cached_property
    def _extended(self) -> Any:
        import sympy

        return sympy.lambdify(self.symbols, elementary(self.symbolic), "mpmath")

    def extended(self, x: Any) -> Any:
        """The value at a number of `mpmath`, in its working precision; raises as that does where there is none."""
        return self._extended(x)

    def taylor(self, order: int, digits: int) -> list[Any] | None:
        """f^(n)(0) / n! for n <= order, numbers of `mpmath` with so many digits; None where it is not seen to be analytic."""
        import mpmath

        with mpmath.workdps(digits):
            try:
                return power_series(self.symbolic, self.symbols[0], order)
            except (ZeroDivisionError, ValueError, NotImplementedError):
                return None

    @cached_property
    def switching_functions(self) -> "tuple[Expression, ...]":
        """The expressions at whose zeros it may jump or have a kink; raises TooCostly if there are too many."""
        return tuple(map(self.of, breakpoints.switching_functions(self.symbolic)))

    def roots(self, low: float, high: float, most: int) -> list[float]:
        """The zeros in [low, high]: exact ones of polynomials, by bisection of ranges otherwise.

        Raises:
            TooCostly: If there are more than `most`, or bisection does not come to an end.
        """
        exact = breakpoints.exact_roots(self.symbolic, *self.symbols)
        found = breakpoints.numerical_roots(self, low, high, most) if exact is None else map(float, exact)
        inside = [root for root in found if low <= root <= high]
        if len(inside) > most:
            raise TooCostly(f"has {len(inside)} jumps or kinks in [{low:g}, {high:g}]; allowed: at most {most}")
        return inside

    def kinks(self, low: float, high: float, most: int) -> list[float]:
        """The points in [low, high] at which it may jump or have a kink, ascending; raises as `roots` does."""
        return sorted({root for part in self.switching_functions for root in part.roots(low, high, most)})

    def undefined_point(self, edges: Sequence[float]) -> float | None:
        """A point where it is not finite or not real, see `breakpoints.undefined_point`."""
        return breakpoints.undefined_point(self, edges)

    def pulse_edges(self, edges: Sequence[float], width: float) -> set[float]:
        """The ends of boxes narrower than `width` on which it varies much, see `breakpoints.pulse_edges`."""
        return breakpoints.pulse_edges(self, edges, width)

    def pieces(self, edges: Sequence[float]) -> list[float]:
        """The ends of pieces on which it is a polynomial of moderate degree, see `pieces.pieces`; raises TooCostly."""
        return [float(x) for x in pieces(self, self._between_jumps, edges)]

    @cached_property
    def _between_jumps(self) -> list["Expression"]:
        """Its derivatives, where it does not jump."""
        import sympy

        found: list[Expression] = []
        last = self
        while len(found) < MOST_DERIVATIVES:
            last = self.of(last.derivative.symbolic.replace(sympy.DiracDelta, lambda *_: sympy.Integer(0)))
            if sympy.count_ops(last.symbolic) > MOST_OPERATIONS:
                break
            found.append(last)
        return found

    def least_value(self, edges: Sequence[float]) -> tuple[float, float]:
        """A point and the value there, the least if it is negative somewhere, see `breakpoints.least_value`."""
        return breakpoints.least_value(self, edges)


def _degree(symbolic: Any) -> int:
    if symbolic.is_Add or symbolic.is_Mul:
        return int((max if symbolic.is_Add else sum)(map(_degree, symbolic.args)))
    return int(symbolic.exp) * _degree(symbolic.base) if symbolic.is_Pow and symbolic.free_symbols else len(symbolic.free_symbols)


_kept: dict[tuple[str, tuple[str, ...]], Expression] = {}


def parse(text: str | float, variables: Sequence[str], key: str) -> Expression:
    """The expression that a user wrote in the named real variables; decimal numbers are exact.

    One text is parsed once: whoever asks for it again gets the same object, with all that is known of it.

    Raises:
        InputError: For anything but arithmetic with the variables, `FUNCTIONS` and `CONSTANTS` within the limits of
            `reading`, or if it is not real and finite.
    """
    place = str(text), tuple(variables)
    if place not in _kept:
        tree = read(text, variables, key)
        with limited(key, text):
            symbolic = build(tree, text, variables, key)
        if _not_real(symbolic):
            raise InputError(f"{key}: {quoted(text)} is not a finite real expression; {allowed(variables)}")
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        _kept[place] = Expression(*place, symbolic)
    return _kept[place]


def _not_real(symbolic: Any) -> bool:
    import sympy

    return bool(symbolic.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I))
