"""Hermite coefficients and means of expressions in Gaussian variables z_1..z_p, with kinks and jumps split exactly.

    h_alpha = E[f(z) he_alpha(z)],    z ~ N(0, I_p)

A sum is taken term by term, a product factor by factor where the factors share no variable.  A factor of one variable, or of
one linear form b.z, needs the coefficients c_k of a function of one variable alone:

    E[g(b.z) he_alpha(z)] = sqrt(k! / alpha!) (b / |b|)^alpha c_k(|b|),    c_k(s) = E[g(s G) he_k(G)],  k = |alpha|

What is left is integrated one variable inside the other, by Gauss-Legendre points on panels that end wherever the expression
switches: at the roots of the switching functions in the innermost variable, and outside at those of their leading coefficients,
discriminants and pairwise resultants.  There a map x = sin^2 takes away roots x^(1/2).  The panels are halved until nothing
changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.expressions.building import symbol
from mfpde.expressions.code import array_source, evaluate
from mfpde.expressions.expression import Expression
from mfpde.expressions.reading import TooCostly, limited
from mfpde.problem.activation import activation_of

Array = NDArray[np.float64]

# |z| beyond which the normal density is left out, Gauss points of a panel, and the widths of panels that are tried.
REACH, POINTS, WIDTHS = 12.0, 20, {1: (1.0, 0.5), 2: (1.0, 0.5), 3: (3.0, 2.0)}
# Terms of a sum, switching functions at one level, grid on which their roots are looked for, points handled at once.
MOST_TERMS, MOST_SWITCHES, GRID, CHUNK = 60, 60, 193, 1_000_000
# Change by which an integral counts as converged, relative to the root of the mean square.
CONVERGED = 1e-7


@dataclass(frozen=True)
class Factor:
    """A factor of a term that shares no variable with the others.

    Attributes:
        expression: In its own z, or in u alone if it is a function of one linear form.
        variables: The numbers of its z.
        form: b over those variables, if it is such a function.
    """

    expression: Expression
    variables: tuple[int, ...]
    form: tuple[float, ...] | None


def _expression(symbolic: Any, *variables: str) -> Expression:
    return Expression(str(symbolic), variables, symbolic)


def _symbol() -> Any:
    return symbol("u")


def terms_of(expression: Expression) -> list[tuple[float, list[Factor]]]:
    """An expression as a sum of constants times products of factors without common variables."""
    import sympy

    whole, symbols = expression.symbolic, expression.symbols
    expanded = whole.expand(deep=False, power_exp=False, power_base=False, log=False, basic=False)
    parts = sympy.Add.make_args(expanded)
    if len(parts) > MOST_TERMS:
        parts = (whole,)
    return [_factors(part, symbols) for part in parts]


def _factors(term: Any, symbols: Sequence[Any]) -> tuple[float, list[Factor]]:
    import sympy

    constant, groups = 1.0, list[tuple[set[Any], Any]]()
    for part in sympy.Mul.make_args(term):
        if not part.free_symbols:
            constant *= float(part)
            continue
        joined, value, rest = set(part.free_symbols), part, []
        for names, other in groups:
            if names & joined:
                joined, value = joined | names, value * other
            else:
                rest.append((names, other))
        groups = [*rest, (joined, value)]
    return constant, [_factor(value, sorted(symbols.index(name) for name in names), symbols) for names, value in groups]


def _factor(value: Any, variables: list[int], symbols: Sequence[Any]) -> Factor:
    own, u = [symbols[q] for q in variables], _symbol()
    if len(own) == 1:
        return Factor(_expression(value.subs(own[0], u), "u"), tuple(variables), (1.0,))
    form = _linear_form(value, own)
    if form is not None:
        first = next(i for i, b in enumerate(form) if b)
        rest = sum(b * z for i, (b, z) in enumerate(zip(form, own, strict=True)) if i != first)
        reduced = value.subs(own[first], (u - rest) / form[first])
        reduced = reduced if reduced.free_symbols == {u} else reduced.expand()
        if reduced.free_symbols == {u}:
            return Factor(_expression(reduced, "u"), tuple(variables), tuple(map(float, form)))
    return Factor(_expression(value, *map(str, own)), tuple(variables), None)


def _linear_form(value: Any, own: list[Any]) -> list[Any] | None:
    """The coefficients of the first linear function of more than one variable inside an expression."""
    import sympy

    for part in sympy.preorder_traversal(value):
        if part.is_Add and len(part.free_symbols) > 1 and part.is_polynomial(*own):
            polynomial = sympy.Poly(part, *own)
            if polynomial.total_degree() == 1:
                return [polynomial.coeff_monomial(z) for z in own]
    return None


def hermite_tensor(expression: Expression, degree: int, key: str) -> Array:
    """h_alpha for all alpha_q <= degree, shape (degree + 1,) * p; right where |alpha| <= degree.

    Raises:
        InputError, TooCostly: If a part is not finite, or its integrals do not converge.
    """
    p = len(expression.variables)
    total = np.zeros((degree + 1,) * p)
    for constant, factors in terms_of(expression):
        value, order = np.array(constant), list[int]()
        for factor in factors:
            value = np.multiply.outer(value, _factor_tensor(factor, degree, key))
            order += factor.variables
        place = tuple(slice(None) if q in order else 0 for q in range(p))
        total[place] += value.transpose(np.argsort(order)) if order else value
    return total


def _factor_tensor(factor: Factor, degree: int, key: str) -> Array:
    if factor.form is None:
        return integral(factor.expression, degree, key)
    b = np.array(factor.form)
    s = float(np.sqrt(b @ b))
    c = _hermite(factor.expression, s, degree, key)
    if len(b) == 1:
        return c
    k = np.arange(degree + 1)
    root = np.array([sqrt(factorial(n)) for n in k])
    value, total = np.ones(()), np.zeros((), dtype=int)
    for x in b / s:
        value, total = np.multiply.outer(value, x**k / root), np.add.outer(total, k)
    inside = total <= degree
    return np.where(inside, value * (c * root)[np.where(inside, total, 0)], 0.0)


def _hermite(expression: Expression, s: float, degree: int, key: str) -> Array:
    """E[g(s G) he_k(G)] for k <= degree, of an expression g in one variable."""
    c: Array = activation_of(expression, expression.text, key).hermite(np.array([s]), degree)[0]
    return c


def mean_square(expression: Expression, key: str) -> float:
    """E f(z)^2; raises as `hermite_tensor` does."""
    terms, symbols = terms_of(expression), expression.symbols
    total = 0.0
    for i, one in enumerate(terms):
        for j, other in enumerate(terms[: i + 1]):
            total += (1 if i == j else 2) * one[0] * other[0] * _mean_product(one[1], other[1], symbols, key)
    return total


def _mean_product(one: list[Factor], other: list[Factor], symbols: Sequence[Any], key: str) -> float:
    """E of the product of two terms."""
    import sympy

    if len(one) == len(other) == 1 and one[0].form is not None and other[0].form is not None:
        return _mean_of_forms(one[0], other[0], len(symbols), key)
    value = sympy.Integer(1)
    for factor in (*one, *other):
        value *= _whole(factor, symbols)
    constant, factors = _factors(value, symbols)
    for factor in factors:
        if factor.form is not None:
            scale = float(np.linalg.norm(factor.form))
            constant *= float(_hermite(factor.expression, scale, 0, key)[0])
        else:
            constant *= float(integral(factor.expression, 0, key).item())
    return constant


def _whole(factor: Factor, symbols: Sequence[Any]) -> Any:
    """A factor as an expression in the z."""
    import sympy

    if factor.form is None:
        return factor.expression.symbolic
    inside = sum(sympy.nsimplify(b, rational=True) * symbols[q] for b, q in zip(factor.form, factor.variables, strict=True))
    return factor.expression.symbolic.subs(_symbol(), inside)


def _mean_of_forms(one: Factor, other: Factor, p: int, key: str) -> float:
    """E g(b.z) g'(b'.z), in the plane of b and b'."""

    b, c = np.zeros((2, p))
    assert one.form is not None and other.form is not None
    b[list(one.variables)], c[list(other.variables)] = one.form, other.form
    s = float(np.linalg.norm(b))
    along = float(b @ c) / s
    across = float(np.linalg.norm(c - along * b / s))
    u, x, y = _symbol(), symbol("x"), symbol("y")
    g, h = one.expression.symbolic, other.expression.symbolic
    if across < 1e-12 * np.linalg.norm(c):
        return float(_hermite(_expression(g.subs(u, s * u) * h.subs(u, along * u), "u"), 1.0, 0, key)[0])
    if abs(along) < 1e-12 * np.linalg.norm(c):
        scales = (one, s), (other, float(np.linalg.norm(c)))
        means = [_hermite(factor.expression, n, 0, key)[0] for factor, n in scales]
        return float(means[0] * means[1])
    product = g.subs(u, s * x) * h.subs(u, along * x + across * y)
    return float(integral(_expression(product, "x", "y"), 0, key).item())


def integral(expression: Expression, degree: int, key: str) -> Array:
    """E[f he_alpha] for all alpha_q <= degree, by nested quadrature with halved panels until it stands still.

    Raises:
        TooCostly: If it does not, or f is not finite.
    """
    with limited(key, expression.text):
        levels = _levels(expression)
    found, size = list[Array](), 1.0
    for width in WIDTHS[len(expression.variables)]:
        nested = _Nested(expression, levels, degree, width)
        found.append(nested.inside(0, np.zeros((0, 1)))[0])
        size = max(size, float(np.abs(found[-1]).max()))
        if not np.isfinite(found[-1]).all():
            raise TooCostly("is not finite and real everywhere; allowed: expressions with a finite mean square")
        if len(found) > 1 and float(np.abs(found[-1] - found[-2]).max()) <= CONVERGED * size:
            return found[-1]
    raise TooCostly(f"has integrals that do not converge to {CONVERGED:g}; allowed: less wild functions of several variables")


class _Nested:
    """One quadrature of an expression, with panels of a given width that end at the roots of `levels`."""

    def __init__(self, expression: Expression, levels: list[list[Any]], degree: int, width: float) -> None:
        self.expression, self.degree = expression, degree
        count = round(2 * REACH / width)
        self.edges = np.linspace(-REACH, REACH, count + 1)
        self.roots = [
            [_Roots(_expression(part, *expression.variables[: k + 1])) for part in level] for k, level in enumerate(levels)
        ]

    def inside(self, level: int, points: Array) -> Array:
        """The integral over the variables from `level` on at points of those before, (level, N) to (N, degree + 1, ..)."""
        per_point = (len(self.edges) - 1 + 2 * len(self.roots[level])) * POINTS
        chunk = max(1, CHUNK // per_point)
        parts = [self._inside(level, points[:, i : i + chunk]) for i in range(0, points.shape[1], chunk)]
        return np.concatenate(parts)

    def _inside(self, level: int, points: Array) -> Array:
        x, weight = self._rule(level, points)
        n, q = x.shape
        above = np.concatenate((np.repeat(points, q, axis=1), x.reshape(1, -1)))
        last = level + 1 == len(self.expression.variables)
        value = self.expression(*above).reshape(n, q) if last else self.inside(level + 1, above)
        value = value.reshape(n, q, -1)
        out = np.empty((n, self.degree + 1, value.shape[2]))
        before, now = np.zeros_like(x), weight
        for k in range(self.degree + 1):
            out[:, k] = (now[:, None, :] @ value)[:, 0]
            before, now = now, (x * now - sqrt(k) * before) / sqrt(k + 1)
        return out.reshape(n, *(self.degree + 1,) * (len(self.expression.variables) - level))

    def _rule(self, level: int, points: Array) -> tuple[Array, Array]:
        """Points of the variable and their weights, shapes (N, Q)."""
        n = points.shape[1]
        split = [np.broadcast_to(self.edges, (n, len(self.edges))), *(roots(points) for roots in self.roots[level])]
        edges = np.sort(np.concatenate(split, axis=1), axis=1)
        s, w = np.polynomial.legendre.leggauss(POINTS)
        s, w = (s + 1) / 2, w / 2
        if level + 1 < len(self.expression.variables):
            s, w = np.sin(np.pi / 2 * s) ** 2, np.pi / 2 * np.sin(np.pi * s) * w
        width = np.diff(edges, axis=1)[:, :, None]
        x = (edges[:, :-1, None] + width * s).reshape(n, -1)
        return x, (width * w).reshape(n, -1) * np.exp(-0.5 * x**2) / sqrt(2 * np.pi)


class _Roots:
    """The roots of a switching function in the last of some variables, as functions of the others; padded with the end."""

    def __init__(self, expression: Expression) -> None:
        self.expression, last = expression, expression.symbols[-1]
        self.linear: list[str] | None = None
        if expression.symbolic.is_polynomial(last):
            import sympy

            polynomial = sympy.Poly(expression.symbolic, last)
            if polynomial.degree() == 1:
                self.linear = [array_source(polynomial.nth(k)) for k in (0, 1)]

    def __call__(self, points: Array) -> Array:
        n = points.shape[1]
        values = [row[:, None] for row in points]
        if self.linear is None:
            return self._searched(values, n)
        names = dict(zip(self.expression.variables, [*values, np.zeros((n, 1))], strict=True))
        constant, slope = (evaluate(source, names) for source in self.linear)
        with np.errstate(all="ignore"):
            root = -constant / slope
        return np.clip(np.where(np.isfinite(root), root, REACH), -REACH, REACH)

    def _searched(self, values: list[Array], n: int) -> Array:
        def value(x: Array) -> Array:
            return self.expression(*values, x)

        grid = np.linspace(-REACH, REACH, GRID) + 1e-3 / 7
        sign = np.sign(value(np.broadcast_to(grid, (n, GRID))))
        change = sign[:, 1:] != sign[:, :-1]
        most = int(change.sum(axis=1).max(initial=0))
        order = np.argsort(~change, axis=1, kind="stable")[:, :most]
        found = np.take_along_axis(change, order, axis=1)
        low, high = grid[order], grid[order + 1]
        start = np.take_along_axis(sign, order, axis=1)
        for _ in range(52):
            middle = (low + high) / 2
            left = np.sign(value(middle)) == start
            low, high = np.where(left, middle, low), np.where(left, high, middle)
        return np.where(found, np.clip(high, -REACH, REACH), REACH)


def _levels(expression: Expression) -> list[list[Any]]:
    """For each variable the functions of it and those before at whose roots integrals over the others are not smooth."""
    pending, levels, symbols = [part.symbolic for part in expression.switching_functions], list[list[Any]](), expression.symbols
    for k in range(len(symbols) - 1, -1, -1):
        own = [part for part in pending if part.has(symbols[k])]
        pending = [part for part in pending if not part.has(symbols[k])]
        pending += [part for part in _projected(own, symbols[k]) if part.free_symbols]
        if max(len(own), len(pending)) > MOST_SWITCHES:
            raise TooCostly(f"switches in more than {MOST_SWITCHES} ways; allowed: fewer")
        levels.append(list(dict.fromkeys(own)))
    return levels[::-1]


def _projected(parts: list[Any], symbol: Any) -> list[Any]:
    """Where the roots in one variable of polynomials of degree 1 and 2 come, go or meet."""
    import sympy

    polynomials = [sympy.Poly(part, symbol) for part in parts if part.is_polynomial(symbol)]
    small = [p for p in polynomials if p.degree() <= 2]
    found = [p.LC() for p in small] + [p.discriminant() for p in small if p.degree() == 2]
    found += [sympy.expand(p.resultant(q)) for p, q in combinations(small, 2)]
    return list(dict.fromkeys(sympy.sympify(part) for part in found))
