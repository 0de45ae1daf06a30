"""The numbers sigma_n that the Taylor flow needs: derivatives at 0, Hermite coefficients, or a generic choice."""

import random
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import factorial
from typing import Any

from mfpde.expressions.building import elementary, rational_number
from mfpde.expressions.expression import Expression
from mfpde.expressions.reading import limited
from mfpde.problem.activation import KEY, Activation, activation_expression

GENERIC = "almost all smooth sigma, w = 0"
# Working digits of derivatives that are not rational.
DIGITS = 60
REACH = 20


@dataclass(frozen=True)
class Derivatives:
    """sigma_0, sigma_1, ... of an activation, at one of two starts.

    Attributes:
        label: Label of sigma and the start.
        values: Fractions, or multi-precision numbers of `DIGITS` digits.
        exact: Whether they are fractions.
        complement: Whether they are kappa_n(0, 1) = sqrt(n!) c_n(1), for w = N(0, I/d) and d = infinity.
        ratio: mu if sigma'' = mu sigma, so that sigma_{n+2} = mu sigma_n; None otherwise.
        terminates: Whether sigma is a polynomial: all later sigma_n are 0.
    """

    label: str
    values: tuple[Any, ...]
    exact: bool
    complement: bool = False
    ratio: Fraction | None = None
    terminates: bool = False


def generic_derivatives(count: int, seed: int = 0) -> Derivatives:
    """Random rational numbers: a generic sigma."""
    draw = random.Random(seed)
    return Derivatives(GENERIC, tuple(Fraction(draw.randint(1, 199), 2) for _ in range(count)), True)


def derivatives_at_zero(activation: Activation, count: int) -> Derivatives | None:
    """sigma^(n)(0) for n < count; None if sigma is not smooth at 0.

    Exact for polynomials, and for sigma'' = mu sigma with rational sigma(0), sigma'(0) and mu; rounded otherwise.
    """
    import mpmath

    label = f"{activation.text}, w = 0"
    if 0.0 in activation.kinks:
        return None
    expression = activation_expression(activation.text)
    with limited(KEY, activation.text):
        plain, polynomial = expression.expanded, expression.expanded.polynomial
    if polynomial is not None:
        c = [*polynomial, *[Fraction(0)] * count][:count]
        return Derivatives(label, tuple(x * factorial(n) for n, x in enumerate(c)), plain.rational, terminates=True)
    with limited(KEY, activation.text):
        recurrence = _second_order(expression)
    if recurrence is not None:
        first, second, mu = recurrence
        values = [first, second]
        while len(values) < count:
            values.append(mu * values[-2])
        return Derivatives(label, tuple(values[:count]), True, ratio=mu)
    series = expression.taylor(count - 1, DIGITS)
    if series is None:
        return None
    with mpmath.workdps(DIGITS):
        return Derivatives(label, tuple(c * mpmath.factorial(n) for n, c in enumerate(series)), False)


def hermite_derivatives(activation: Activation, count: int) -> Derivatives:
    """kappa_n(0, 1) = E[sigma(G) He_n(G)] for n < count: for any sigma, rounded."""
    import mpmath

    f = activation_expression(activation.text).extended
    with mpmath.workdps(DIGITS):
        panels = sorted({*range(-REACH, REACH + 1), *(mpmath.mpf(k) for k in activation.kinks if abs(k) < REACH)})
        rule = _gauss_legendre(mpmath.mp.prec)
        total = [mpmath.mpf(0)] * count
        for low, high in pairwise(panels):
            half, middle = mpmath.mpf(high - low) / 2, mpmath.mpf(high + low) / 2
            for x, w in rule:
                g = middle + half * x
                before, now = mpmath.mpf(0), f(g) * mpmath.npdf(g) * w * half
                for n in range(count):
                    total[n] += now
                    before, now = now, g * now - n * before
        return Derivatives(f"{activation.text}, w = N(0, I/d), d = inf", tuple(total), False, complement=True)


@cache
def _gauss_legendre(bits: int) -> list[tuple[Any, Any]]:
    """Nodes and weights on [-1, 1], about 100 of them: ample for a panel of width 1."""
    import mpmath

    return list(mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(5, bits))


def _second_order(sigma: Expression) -> tuple[Fraction, Fraction, Fraction] | None:
    """sigma(0), sigma'(0) and mu, if sigma'' = mu sigma and all three are rational."""
    import sympy

    expression, (u,) = elementary(sigma.symbolic), sigma.symbols
    if not expression.has(sympy.exp, sympy.sin, sympy.cos, sympy.sinh) or expression.has(sympy.tanh, sympy.erf, sympy.Max):
        return None
    slope = sympy.diff(expression, u)
    mu = sympy.simplify(sympy.diff(slope, u) / expression)
    values = (expression.subs(u, 0), slope.subs(u, 0), mu)
    if not all(value.is_Rational for value in values):
        return None
    return rational_number(values[0]), rational_number(values[1]), rational_number(values[2])
