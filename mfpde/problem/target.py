"""The target h*: a polynomial in z_1..z_p, converted exactly to orthonormal Hermite polynomials.

z^n = sum_m n! / (2^m m! (n - 2m)!) He_{n-2m}(z),   he_k = He_k / sqrt(k!),   h_alpha = E[h*(z) he_alpha(z)]
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import factorial, isqrt, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError, quoted
from mfpde.expressions.building import rational_number
from mfpde.expressions.code import evaluate
from mfpde.expressions.expression import parse
from mfpde.expressions.polynomial import parse_polynomial
from mfpde.expressions.reading import LONGEST, TooCostly, limited

LARGEST_P, LARGEST_DEGREE = 8, 20
# Of a function that is no polynomial: p, degrees up to which its coefficients are computed, by p, and digits of a truncation's.
FUNCTION_P, FUNCTION_DEGREE, DIGITS = 3, {1: 68, 2: 68, 3: 24}, 13
# Of he_alpha; the loss is its square. 50 z^20 has 5e12.
LARGEST_COEFFICIENT = 1e30


@dataclass(frozen=True)
class Target:
    """h* = sum_alpha h_alpha he_alpha(z).

    Attributes:
        polynomial: As the user wrote it.
        p: Dimension of V.
        alpha: Multi-indices with h_alpha != 0, shape (n, p).
        coefficients: h_alpha, shape (n,).
        exact: q_alpha = h_alpha / sqrt(alpha!), the coefficients of the monic He_alpha, n rational numbers.
        rational: Whether the coefficients given were rational, so that `exact` is exact.
        energy: E h*^2 of a function that is no polynomial, whose coefficients end at some degree; None for a polynomial.
        source: The code of that function, see `expressions.code.evaluate`; empty for a polynomial.
    """

    polynomial: str
    p: int
    alpha: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    exact: tuple[Fraction, ...] = ()
    rational: bool = True
    energy: float | None = None
    source: str = ""

    @property
    def degree(self) -> int:
        """Total degree of the coefficients; 0 for a constant."""
        return int(self.alpha.sum(axis=1).max(initial=0))

    @property
    def least_degree(self) -> int:
        """The least Hermite degree that can be asked of a run: that of a polynomial; any, for another function."""
        return self.degree if self.energy is None else 0

    @property
    def known_degree(self) -> int | None:
        """Total degree up to which the coefficients of a function are known; None for a polynomial, which has no others."""
        return None if self.energy is None else FUNCTION_DEGREE[self.p]

    @property
    def square(self) -> float:
        """E h*^2."""
        return float((self.coefficients**2).sum()) if self.energy is None else self.energy

    @property
    def unit(self) -> float:
        """E h*^2 / 2, in which errors and accuracies are measured; 1/2 for the target 0."""
        return 0.5 * self.square or 0.5

    def beyond(self, degree: int) -> float:
        """1/2 of the part of E h*^2 beyond a total degree, which no truncation at it can learn; 0 for polynomials."""
        if self.energy is None:
            return 0.0
        inside = self.coefficients[self.alpha.sum(axis=1) <= degree]
        return max(0.5 * (self.energy - float((inside**2).sum())), 0.0)

    def truncated(self, degree: int) -> "Target":
        """The polynomial of the coefficients up to a degree, each rounded to `DIGITS` digits: what algebra can work on."""
        kept = self.alpha.sum(axis=1) <= degree
        hermite = {
            tuple(alpha): Fraction(round(c / sqrt(prod(map(factorial, alpha))) * 10**DIGITS), 10**DIGITS)
            for alpha, c in zip(self.alpha[kept].tolist(), self.coefficients[kept].tolist(), strict=True)
        }
        return replace(_target(self.polynomial, self.p, hermite, rational=False), energy=self.energy, source=self.source)

    def __call__(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """h*(z) at z of shape (p, n), shape (n,)."""
        if self.source:
            return np.array(evaluate(self.source, {f"z{q + 1}": row for q, row in enumerate(z)}))
        norm = np.sqrt([factorial(k) for k in range(self.degree + 1)])
        he = np.polynomial.hermite_e.hermevander(z, self.degree) / norm
        terms = [
            c * np.prod(he[np.arange(self.p), :, alpha], axis=0) for alpha, c in zip(self.alpha, self.coefficients, strict=True)
        ]
        return np.sum(terms, axis=0) if terms else np.zeros(z.shape[1])


def parse_target(
    polynomial: str, subspace_dimension: int | None = None, largest_p: int = LARGEST_P, largest_degree: int = LARGEST_DEGREE
) -> Target:
    """The target of a polynomial in z1..zp.

    Args:
        polynomial: E.g. "z1 + z1*z2", or in Hermite polynomials "he1(z1) + he2(z2)"; p is the largest index in it.
        subspace_dimension: p, if larger than that.
        largest_p, largest_degree: What is allowed; the solver's unless the caller has no mesh.

    Raises:
        InputError: If it is not a polynomial in z1..zp with rational or real coefficients, or p, its degree or a
            coefficient is out of range.
    """
    key = "target.polynomial"
    used = largest_index(polynomial)
    if used > largest_p:
        raise InputError(f"{key}: z{used} makes p = {used}; allowed: variables z1 to z{largest_p}")
    with limited(key, polynomial):
        exact, rational = _monic_coefficients(polynomial, largest_p, key, largest_degree)
    p = used if subspace_dimension is None else subspace_dimension
    if not max(used, 1) <= p <= largest_p:
        allowed = f"{max(used, 1)} to {largest_p}"
        where = key if subspace_dimension is None else "target.subspace_dimension"
        raise InputError(f"{where}: p = {p} for the polynomial {quoted(polynomial)}; allowed: p = {allowed}")
    if any(abs(c) * isqrt(prod(map(factorial, alpha))) > LARGEST_COEFFICIENT for alpha, c in exact.items()):
        raise InputError(f"{key}: {quoted(polynomial)} has a coefficient beyond the allowed {LARGEST_COEFFICIENT:g}")
    return _target(str(polynomial), p, {alpha[:p]: c for alpha, c in exact.items()}, rational)


def parse_function(text: str, subspace_dimension: int | None = None) -> Target:
    """The target of any expression in z1..zp, see `mfpde.problem.gaussian`; a polynomial is converted exactly.

    Args:
        text: E.g. "sign(z1)" or "tanh(z1 + z2) - 0.5*relu(z1 - 2*z2 + 1)".
        subspace_dimension: p, if larger than the largest index in it.

    Raises:
        InputError: If it is not finite, grows too fast, or its integrals do not converge.
    """
    from mfpde.problem.gaussian import hermite_tensor, mean_square, terms_of

    key = "target.function"
    used = largest_index(text)
    p = max(used, 1) if subspace_dimension is None else subspace_dimension
    if used > LARGEST_P or not max(used, 1) <= p <= LARGEST_P:
        raise InputError(f"{key}: p = {max(p, used)} for {quoted(text)}; allowed: {max(min(used, LARGEST_P), 1)} to {LARGEST_P}")
    expression = parse(text, [f"z{q + 1}" for q in range(p)], key)
    with limited(key, text):
        terms_of(expression)
    if expression.is_polynomial:
        try:
            return parse_target(text, subspace_dimension)
        except InputError as error:
            raise InputError(str(error).replace("target.polynomial", key)) from None
    if p > FUNCTION_P:
        raise InputError(
            f"{key}: p = {p} for {quoted(text)}, which is no polynomial; allowed: p = 1 to {FUNCTION_P}, or polynomials in z1 to "
            f"z{LARGEST_P}"
        )
    degree = FUNCTION_DEGREE[p]
    try:
        tensor = hermite_tensor(expression, degree, key)
        energy = mean_square(expression, key)
    except TooCostly as error:
        raise InputError(f"{key}: {quoted(text)} {error}") from None
    except InputError as error:
        reason = str(error).removeprefix(f"{key}: ")
        raise InputError(f"{key}: {quoted(text)} has a factor, written as a function of u, that is refused: {reason}") from None
    alpha = np.argwhere(np.abs(tensor) > NOISE * sqrt(max(energy, 1e-300)))
    alpha = alpha[alpha.sum(axis=1) <= degree]
    coefficients = tensor[tuple(alpha.T)]
    return Target(str(text), p, alpha, coefficients, (), False, energy, expression.source)


# Coefficients smaller than this part of the whole are rounding errors of 0.
NOISE = 1e-14


def _monic_coefficients(
    polynomial: str, largest_p: int, key: str, largest_degree: int
) -> tuple[dict[tuple[int, ...], Fraction], bool]:
    """q_alpha for alpha of length `largest_p`, and whether all of them are exact."""
    from sympy import Rational

    sums: dict[tuple[int, ...], Any] = {}
    for number, part in parse_polynomial(polynomial, [f"z{i + 1}" for i in range(largest_p)], key, largest_degree).items():
        for alpha, c in _hermite(part, largest_p).items():
            sums[alpha] = sums.get(alpha, 0) + number * Rational(c.numerator, c.denominator)
    return {alpha: rational_number(value) for alpha, value in sums.items()}, all(value.is_Rational for value in sums.values())


def hermite_target(polynomial: str, p: int, raw: Mapping[tuple[int, ...], Fraction], rational: bool = True) -> Target:
    """The target of raw monomials, {powers: coefficient}."""
    return _target(polynomial, p, _hermite(raw, p), rational)


def _hermite(raw: Mapping[tuple[int, ...], Fraction], p: int) -> dict[tuple[int, ...], Fraction]:
    """The coefficients of He_alpha, from those of z^alpha: one variable after the other."""
    hermite = dict(raw)
    for axis in range(p):
        before, hermite = hermite, {}
        for powers, value in before.items():
            n = powers[axis]
            for m in range(n // 2 + 1):
                alpha = (*powers[:axis], n - 2 * m, *powers[axis + 1 :])
                factor = Fraction(factorial(n), 2**m * factorial(m) * factorial(n - 2 * m))
                hermite[alpha] = hermite.get(alpha, Fraction(0)) + value * factor
    return hermite


def _target(polynomial: str, p: int, hermite: Mapping[tuple[int, ...], Fraction], rational: bool) -> Target:
    exact = {alpha: c for alpha, c in sorted(hermite.items()) if c}
    scaled = [float(c) * sqrt(prod(factorial(n) for n in alpha)) for alpha, c in exact.items()]
    indices = np.array([*exact], dtype=np.int64).reshape(len(exact), p)
    return Target(polynomial, p, indices, np.array(scaled, dtype=float), tuple(exact.values()), rational)


def largest_index(polynomial: str) -> int:
    """The largest i of the variables z_i in a polynomial's text (as much as may be read of it); 0 if there are none."""
    return max((int(i) for i in re.findall(r"\bz(\d{1,9})\b", str(polynomial)[:LONGEST])), default=0)
