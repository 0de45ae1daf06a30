"""Gauss rules of the initial law's labels: the outer weight a_0 and the complement's radius r_0.

Uniform, normal and two-point laws of a have Gauss-Legendre, Gauss-Hermite and exact rules.  The radius r = |w_{V perp}|
of w ~ N(0, I_d / d) has r^2 = x / (d/2), x ~ Gamma(D/2), D = d - p: a generalised Gauss-Laguerre rule in r^2, in which
the features are smooth.
"""

import re
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError

Array = NDArray[np.float64]
LAWS = "uniform(-b, b), normal(0, s), rademacher, point(0)"


@dataclass(frozen=True)
class Rule:
    """A Gauss rule of a probability law.

    Attributes:
        nodes: Shape (n,), ascending.
        weights: Shape (n,), sum 1.
        polynomials: The law's orthonormal polynomials p_j at node i, [i, j], shape (n, n).
    """

    nodes: Array
    weights: Array
    polynomials: Array


def law_of_a(text: str, n: int) -> Rule:
    """The rule with `n` nodes of a law of a, e.g. "uniform(-1, 1)"; two-point and point laws need 2 and 1.

    Raises:
        InputError: If the law is unknown or not symmetric about 0.
    """
    name, arguments = _parse_law(text)
    if name == "uniform" and arguments[0] == -arguments[1] and arguments[1] > 0:
        k = np.arange(1.0, n)
        return _golub_welsch(np.zeros(n), arguments[1] * k / np.sqrt(4 * k**2 - 1))
    if name == "normal" and arguments[0] == 0 and arguments[1] > 0:
        return _golub_welsch(np.zeros(n), arguments[1] * np.sqrt(np.arange(1.0, n)))
    if name == "rademacher":
        return _golub_welsch(np.zeros(2), np.ones(1))
    if name == "point" and arguments[0] == 0:
        return _golub_welsch(np.zeros(1), np.ones(0))
    raise InputError(f"initial.a: {text!r} is not symmetric about 0 with positive width; allowed: {LAWS}")


def _parse_law(text: str) -> tuple[str, list[float]]:
    match = re.fullmatch(r"\s*([a-z]+)\s*(?:\((.*)\))?\s*", text)
    name = match.group(1) if match else ""
    try:
        arguments = [float(x) for x in match.group(2).split(",")] if match and match.group(2) else []
    except ValueError:
        arguments = [inf]
    wanted = {"uniform": 2, "normal": 2, "rademacher": 0, "point": 1}
    if wanted.get(name) != len(arguments) or not all(isfinite(x) for x in arguments):
        raise InputError(f"initial.a: {text!r} is no law of a; allowed: {LAWS}")
    return name, arguments


def quantile_of_a(text: str, u: Array) -> Array:
    """The quantiles of a law of a that `law_of_a` accepts, at probabilities u in (0, 1)."""
    from scipy.special import ndtri

    name, arguments = _parse_law(text)
    if name == "uniform":
        return arguments[1] * (2 * u - 1)
    if name == "normal":
        return np.asarray(arguments[1] * ndtri(u))
    return np.where(u < 0.5, -1.0, 1.0) if name == "rademacher" else np.zeros_like(u)


def quantile_of_r(d: float, p: int, u: Array) -> Array:
    """The quantiles of r = |w_{V perp}|, w ~ N(0, I_d / d), at probabilities u in (0, 1); 1 at d = inf."""
    from scipy.special import gammaincinv

    return np.ones_like(u) if d == inf else np.sqrt(gammaincinv((d - p) / 2, u) * (2 / d))


def law_of_r(d: float, p: int, n: int) -> Rule:
    """The rule with `n` nodes of r = |w_{V perp}|, w ~ N(0, I_d / d); the single node 1 at d = inf."""
    if d == inf:
        return Rule(np.ones(1), np.ones(1), np.ones((1, 1)))
    # Recurrence of the Laguerre polynomials, in the centred variable x - D/2, over its scale: exact at every d.
    half = (d - p) / 2
    k = np.arange(float(n))
    rule = _golub_welsch(2 * k, np.sqrt(k[1:] * (k[1:] + half - 1)))
    return Rule(np.sqrt((rule.nodes + half) / (d / 2)), rule.weights, rule.polynomials)


def _golub_welsch(diagonal: Array, off_diagonal: Array) -> Rule:
    """The Gauss rule of a three-term recurrence, from the eigen-decomposition of its Jacobi matrix."""
    from scipy.linalg import eigh_tridiagonal

    nodes, vectors = eigh_tridiagonal(diagonal, off_diagonal)
    first = vectors[0]
    weights = first**2 / (first**2).sum()
    return Rule(nodes, weights, (vectors / first).T.copy())
