"""Sparse polynomials {powers: coefficient} over any exact or multi-precision field, and what Gaussian averages do to them.

A target h* = sum_alpha q_alpha He_alpha is kept as its heat transform, the polynomial with the same coefficients

    Q(w) = E_z h*(z + w) = sum_alpha q_alpha w^alpha,        E[h*^2] = sum_alpha alpha! q_alpha^2,

which rotates like h* itself: no basis enters.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from math import factorial, prod
from typing import Any

from mfpde.problem.target import Target

Powers = tuple[int, ...]
Polynomial = Mapping[Powers, Any]
Vector = Sequence[Any]


def heat_transform(target: Target) -> dict[Powers, Fraction]:
    """Q of a target."""
    return dict(zip(map(tuple, target.alpha.tolist()), target.exact, strict=True))


def plus(f: Polynomial, g: Polynomial, factor: Any = 1) -> dict[Powers, Any]:
    """f + factor g, without zero terms."""
    out = dict(f)
    for powers, c in g.items():
        out[powers] = out.get(powers, 0) + factor * c
    return {powers: c for powers, c in out.items() if c}


def times(f: Polynomial, g: Polynomial) -> dict[Powers, Any]:
    """f g."""
    out: dict[Powers, Any] = {}
    for a, c in f.items():
        for b, e in g.items():
            powers = tuple(map(int.__add__, a, b))
            out[powers] = out.get(powers, 0) + c * e
    return {powers: c for powers, c in out.items() if c}


def derivative(f: Polynomial, i: int) -> dict[Powers, Any]:
    """The derivative by variable i."""
    return {(*a[:i], a[i] - 1, *a[i + 1 :]): a[i] * c for a, c in f.items() if a[i]}


def gradient(f: Polynomial, p: int) -> list[dict[Powers, Any]]:
    """All p derivatives."""
    return [derivative(f, i) for i in range(p)]


def degree(f: Polynomial) -> int:
    """Total degree; 0 for a constant and for 0."""
    return max(map(sum, f), default=0)


def homogeneous(f: Polynomial, n: int) -> dict[Powers, Any]:
    """The terms of total degree n."""
    return {powers: c for powers, c in f.items() if sum(powers) == n}


def substitute(f: Polynomial, columns: Sequence[Vector]) -> dict[Powers, Any]:
    """f(sum_j y_j columns[j]) as a polynomial in y; there must be at least one column."""
    m = len(columns)
    p = len(columns[0])
    rows = [{tuple(int(i == j) for i in range(m)): columns[j][k] for j in range(m) if columns[j][k]} for k in range(p)]
    one: dict[Powers, Any] = {(0,) * m: 1}
    known: dict[Powers, dict[Powers, Any]] = {(0,) * p: one}

    def monomial(powers: Powers) -> dict[Powers, Any]:
        if powers not in known:
            k = next(k for k, n in enumerate(powers) if n)
            known[powers] = times(monomial((*powers[:k], powers[k] - 1, *powers[k + 1 :])), rows[k])
        return known[powers]

    out: dict[Powers, Any] = {}
    for powers, c in f.items():
        for a, e in monomial(powers).items():
            out[a] = out.get(a, 0) + c * e
    return {powers: c for powers, c in out.items() if c}


def raw_monomials(q: Polynomial) -> dict[Powers, Any]:
    """The polynomial h of a heat transform: He_n(z) = sum_m (-1)^m n! / (2^m m! (n - 2m)!) z^{n-2m} in each variable."""
    out: dict[Powers, Any] = {}
    for powers, c in q.items():
        for lowered in product(*(range(n // 2 + 1) for n in powers)):
            pairs = list(zip(powers, lowered, strict=True))
            factor = prod(Fraction((-1) ** m * factorial(n), 2**m * factorial(m) * factorial(n - 2 * m)) for n, m in pairs)
            a = tuple(n - 2 * m for n, m in pairs)
            out[a] = out.get(a, 0) + c * factor
    return {powers: c for powers, c in out.items() if c}


def squared_norm(q: Polynomial) -> Any:
    """E[h^2] of a heat transform."""
    return sum((prod(factorial(n) for n in powers) * c * c for powers, c in q.items()), start=Fraction(0))


def text(f: Polynomial, name: str = "z", digits: int = 12) -> str:
    """As a user would write it, e.g. "z1 + 2*z1*z2^2 - 1/3"; coefficients with long fractions as decimals."""
    parts = []
    for powers, c in sorted(f.items(), key=lambda item: (sum(item[0]), tuple(-n for n in item[0]))):
        factors = [f"{name}{i + 1}" + (f"^{n}" if n > 1 else "") for i, n in enumerate(powers) if n]
        size = number(abs(c), digits)
        if size != "1" or not factors:
            factors.insert(0, size)
        parts.append(("-" if c < 0 else "+") + " " + "*".join(factors))
    joined = " ".join(parts) or "+ 0"
    return joined[2:] if joined.startswith("+ ") else "-" + joined[2:]


def number(c: Any, digits: int = 12) -> str:
    """A number as a short fraction, or rounded."""
    if isinstance(c, int | Fraction):
        exact = Fraction(c)
        if exact.denominator < 10**6 and abs(exact.numerator) < 10**9:
            return str(exact)
    return f"{float(c):.{digits}g}"
