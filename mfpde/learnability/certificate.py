"""A proof that the Taylor flow never leaves a subspace that is not invariant itself.

For two kinds of sigma the flow is, up to a positive change of time, a polynomial vector field G:

    sigma'' = mu sigma:  psi_n = sigma_n exp(mu |w|^2 / 2),  G = grad P + mu P w,  P = sum_n sigma_n Q_n;         (1)
    sigma a polynomial:  G = grad F itself, a finite sum.                                                   (2)

A start at N(0, I/d) changes only the factor in (1), and with it the time: the same G serves it.

A linear form l vanishes on the whole trajectory from 0 iff l, G l, G^2 l, ... (G f = G.grad f) all vanish at 0.  The ideals
they generate ascend, so they stop growing: if g_1..g_m, all 0 at 0, contain the forms and G g_i lies in the ideal
(g_1..g_m), then every G^k l does, and the flow stays in their common zeros.  g_1..g_m are the proof; checking it is division
by a Groebner basis, in rational arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial
from typing import Any

from mfpde.learnability.derivatives import Derivatives
from mfpde.learnability.polynomials import Polynomial, Powers, degree, derivative, gradient, homogeneous, plus, times
from mfpde.learnability.subspaces import Span, whole

# Rounds of the ascending chain before giving up; the known examples need two.
ROUNDS = 6


@dataclass(frozen=True)
class InvariantIdeal:
    """Generators g_i of an ideal with g_i(0) = 0 and G g_i in the ideal; `field` is G."""

    generators: tuple[dict[Powers, Any], ...]
    field: tuple[dict[Powers, Any], ...]


def polynomial_field(q: Polynomial, p: int, sigma: Derivatives) -> tuple[dict[Powers, Any], ...] | None:
    """G of (1) or (2), with rational coefficients; None for other activations, and for rounded ones."""
    if not sigma.exact or sigma.complement or (sigma.ratio is None and not sigma.terminates):
        return None
    parts = [homogeneous(q, n) for n in range(degree(q) + 1)]
    if sigma.ratio is not None:
        potential: dict[Powers, Any] = {}
        for n, part in enumerate(parts):
            potential = plus(potential, part, sigma.values[n])
        radial = [times(potential, _unit(p, i)) for i in range(p)]
        return tuple(plus(slope, w, sigma.ratio) for slope, w in zip(gradient(potential, p), radial, strict=True))
    square: dict[Powers, Any] = {tuple(2 * int(i == k) for k in range(p)): Fraction(1) for i in range(p)}
    potential, power = {}, {(0,) * p: Fraction(1)}
    for j in range((len(sigma.values) - 1) // 2 + 1):
        for n, part in enumerate(parts):
            if n + 2 * j < len(sigma.values) and sigma.values[n + 2 * j]:
                potential = plus(potential, times(power, part), sigma.values[n + 2 * j] / (2**j * factorial(j)))
        power = times(power, square)
    return tuple(gradient(potential, p))


def invariant_ideal(q: Polynomial, sigma: Derivatives, span: Span) -> InvariantIdeal | None:
    """The proof that the Taylor flow stays in `span`; None if it leaves, or if neither (1) nor (2) applies."""
    p = span.p
    field = polynomial_field(q, p, sigma)
    if field is None or span.threshold:
        return None
    generators = [_form(whole(row)) for row in span.complement().rows]
    fresh = generators
    for _ in range(ROUNDS):
        remainders = [_remainder(lie_derivative(field, g), generators, p) for g in fresh]
        fresh = [dict(zip(r, whole(list(r.values())), strict=True)) for r in remainders if r]
        if not fresh:
            return InvariantIdeal(tuple(generators), field)
        if any((0,) * p in r for r in fresh):
            return None
        generators = generators + fresh
    return None


def verify(ideal: InvariantIdeal) -> bool:
    """Checks a proof again: every generator is 0 at 0, and its derivative along the field lies in the ideal."""
    p = len(ideal.field)
    at_zero = all((0,) * p not in g for g in ideal.generators)
    return at_zero and not any(_remainder(lie_derivative(ideal.field, g), ideal.generators, p) for g in ideal.generators)


def lie_derivative(field: Sequence[Polynomial], f: Polynomial) -> dict[Powers, Any]:
    """G f = sum_i G_i df/dw_i."""
    out: dict[Powers, Any] = {}
    for i, part in enumerate(field):
        out = plus(out, times(part, derivative(f, i)))
    return out


def _remainder(f: Polynomial, generators: Sequence[Polynomial], p: int) -> dict[Powers, Fraction]:
    import sympy

    w = sympy.symbols(f"w1:{p + 1}")

    def expression(g: Polynomial) -> Any:
        return sympy.Poly({a: sympy.Rational(c.numerator, c.denominator) for a, c in g.items()}, *w, domain="QQ").as_expr()

    if not f:
        return {}
    basis = sympy.groebner([expression(g) for g in generators], *w, order="grevlex", domain="QQ")
    _, rest = basis.reduce(expression(f))
    terms = sympy.Poly(rest, *w, domain="QQ").terms()
    return {a: Fraction(int(c.p), int(c.q)) for a, c in terms if c}


def _unit(p: int, i: int) -> dict[Powers, Any]:
    return {tuple(int(i == k) for k in range(p)): Fraction(1)}


def _form(row: Sequence[Any]) -> dict[Powers, Any]:
    out: dict[Powers, Any] = {}
    for i, c in enumerate(row):
        out = plus(out, _unit(len(row), i), c)
    return out
