"""Composite Gauss rules: on each panel the Gauss rule of a law restricted to it.

The n nodes on a panel lie inside it, also where the panel is unbounded, their weights are positive and sum to the panel's
mass, and the rule is exact for the law times polynomials of degree 2 n - 1 on every panel (Golub and Welsch, 1969; the
recurrence of a restricted law by the discretised Stieltjes procedure, Gautschi, 2004).  One panel over the whole law is
its own Gauss rule: Gauss-Legendre for a uniform law, Gauss-Hermite for a normal one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mfpde.problem.laws import Law

Array = NDArray[np.float64]

# Stieltjes' discretisation: panels of equal probability and points in each.
PARTS, POINTS = 12, 64
_LEGENDRE = np.polynomial.legendre.leggauss(POINTS)
# An unbounded law is cut off for the discretisation where it is REACH times as far from its median as the quantiles of these
# probabilities: exp(-x) x^40 is 1e-12 of 40! there.
TAIL, REACH = (1e-30, 1 - 1e-16), 3


@dataclass(frozen=True)
class Rule:
    """Nodes and weights of a law, with the panels that they belong to.

    Attributes:
        nodes: Shape (n,), ascending.
        weights: Shape (n,), positive, sum 1.
        edges: Ends of the panels, shape (panels + 1,); the first and last are those of the law's support.
        counts: Nodes of each panel.
        smooth: Whether values between the nodes mean something: not for the atoms of a discrete law.
    """

    nodes: Array
    weights: Array
    edges: Array
    counts: tuple[int, ...]
    smooth: bool = True

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def slices(self) -> list[slice]:
        """Places of the nodes of each panel."""
        ends = np.cumsum((0, *self.counts))
        return [slice(int(first), int(last)) for first, last in pairwise(ends)]

    @cached_property
    def polynomials(self) -> tuple[Array, ...]:
        """Per panel, p_j at node i, [i, j]: orthonormal polynomials of the law restricted to the panel."""
        found = []
        for part in self.slices:
            x, w = self.nodes[part], self.weights[part] / self.weights[part].sum()
            centre, width = w @ x, np.ptp(x) / 2 or 1.0
            root = np.sqrt(w)[:, None]
            q, r = np.linalg.qr(root * np.polynomial.chebyshev.chebvander((x - centre) / width, len(x) - 1))
            found.append(q * np.sign(np.diag(r)) / root)
        return tuple(found)

    def coefficients(self, values: Array) -> list[Array]:
        """Per panel, the coefficients of `values` (n, ...) in its orthonormal polynomials, shapes (nodes of the panel, ...)."""
        flat = values.reshape(len(values), -1)
        return [
            np.matmul(projection, flat[part]).reshape(-1, *values.shape[1:])
            for part, projection in zip(self.slices, self._projections, strict=True)
        ]

    @cached_property
    def _projections(self) -> tuple[Array, ...]:
        """Per panel, the matrix from values to coefficients."""
        shares = (self.weights[part] / self.weights[part].sum() for part in self.slices)
        return tuple((p * share[:, None]).T for p, share in zip(self.polynomials, shares, strict=True))

    @cached_property
    def derivatives(self) -> tuple[tuple[Array, Array], ...]:
        """Per panel, from values at its nodes to the derivative there, and to that of the part without the highest degree."""
        found = []
        for part, polynomials in zip(self.slices, self.polynomials, strict=True):
            x, share = self.nodes[part], self.weights[part] / self.weights[part].sum()
            gaps = x[:, None] - x + np.eye(len(x))
            barycentric = 1 / (gaps / (np.ptp(x) / 4)).prod(axis=1)
            D = barycentric / barycentric[:, None] / gaps
            np.fill_diagonal(D, 0.0)
            np.fill_diagonal(D, -D.sum(axis=1))
            top = polynomials[:, -1]
            found.append((D, D - np.outer(D @ top, top * share)))
        return tuple(found)

    def interpolation(self, x: Array) -> Array:
        """The matrix (len(x), n) that carries values at the nodes to x, by the polynomial of the panel that holds x."""
        out = np.zeros((len(x), len(self)))
        panel = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.counts) - 1)
        for number, part in enumerate(self.slices):
            here = np.flatnonzero(panel == number)
            out[here, part] = _barycentric(self.nodes[part], x[here])
        return out


def _barycentric(nodes: Array, x: Array) -> Array:
    """Lagrange basis polynomials of `nodes` at x, shape (len(x), len(nodes))."""
    scale = np.ptp(nodes) / 4 or 1.0
    weights = 1 / ((nodes[:, None] - nodes) / scale + np.eye(len(nodes))).prod(axis=1)
    gaps = x[:, None] - nodes
    hit = gaps == 0
    terms = weights / np.where(hit, 1.0, gaps)
    terms = np.where(hit.any(axis=1, keepdims=True), hit, terms)
    return np.asarray(terms / terms.sum(axis=1, keepdims=True))


def gauss_rule(law: Law, counts: Sequence[int], edges: Sequence[float] = ()) -> Rule:
    """The composite Gauss rule of a law.

    Args:
        law: A law of atoms is its own rule, whatever the counts.
        counts: Nodes of each panel.
        edges: Ends between the panels, ascending inside the support; none for a single panel.
    """
    if law.atoms is not None:
        nodes, weights = law.atoms
        return Rule(nodes, weights, np.array(law.support), (len(nodes),), smooth=False)
    ends = [law.support[0], *edges, law.support[1]]
    known = None if len(edges) else law.recurrence(counts[0])
    if known is not None:
        parts = [_golub_welsch(*known)]
    else:
        parts = [_restricted(law, low, high, n) for (low, high), n in zip(pairwise(ends), counts, strict=True)]
    mass = np.concatenate([weights for _, weights in parts])
    return Rule(np.concatenate([nodes for nodes, _ in parts]), mass / mass.sum(), np.array(ends), tuple(counts))


@lru_cache(maxsize=1024)
def _restricted(law: Law, low: float, high: float, n: int) -> tuple[Array, Array]:
    """Nodes and unnormalised weights of the law on [low, high]."""
    x, w = _discretised(law, low, high)
    mass = w.sum()
    centre = w @ x / mass
    width = np.sqrt(w @ (x - centre) ** 2 / mass) or 1.0
    t, share = (x - centre) / width, w / mass
    alpha, beta = np.zeros(n), np.zeros(n)
    before, now = np.zeros_like(t), np.ones_like(t)  # orthonormal
    for k in range(n):
        alpha[k] = share @ (t * now**2)
        after = (t - alpha[k]) * now - (beta[k - 1] if k else 0.0) * before
        beta[k] = np.sqrt(share @ after**2)
        before, now = now, after / beta[k]
    nodes, weights = _golub_welsch(alpha, beta[:-1])
    return centre + width * nodes, mass * weights


def _discretised(law: Law, low: float, high: float) -> tuple[Array, Array]:
    """Many points and weights of the law on [low, high]: Gauss-Legendre on parts that follow its quantiles."""
    ends = law.quantile(np.array([TAIL[0], 0.5, TAIL[1]]))
    reach = REACH * max(ends[1] - ends[0], ends[2] - ends[1])
    low, high = max(low, law.support[0], ends[1] - reach), min(high, law.support[1], ends[1] + reach)
    s, w = _LEGENDRE
    edges = np.linspace(0.0, 1.0, PARTS + 1)
    half = np.diff(edges)[:, None] / 2
    s, w = (edges[:-1, None] + half * (s + 1)).ravel(), (half * w).ravel()
    # Towards an end of the support the density may be a root x^(1/2), or even x^(-1/2): a quadratic map takes that away.
    left, right = low == law.support[0], high == law.support[1]
    if left and right:
        s, w = np.sin(np.pi / 2 * s) ** 2, np.pi / 2 * np.sin(np.pi * s) * w
    elif left:
        s, w = s**2, 2 * s * w
    elif right:
        s, w = s * (2 - s), 2 * (1 - s) * w
    points = low + (high - low) * s
    return points, (high - low) * w * law.density(points)


def _golub_welsch(diagonal: Array, off_diagonal: Array) -> tuple[Array, Array]:
    """Nodes and weights, sum 1, from the eigen-decomposition of the Jacobi matrix of a three-term recurrence."""
    from scipy.linalg import eigh_tridiagonal

    shift = diagonal[len(diagonal) // 2]
    nodes, vectors = eigh_tridiagonal(diagonal - shift, off_diagonal)
    weights = vectors[0] ** 2 / (vectors[0] ** 2).sum()
    return nodes + shift, weights


def outer(factors: Iterable[Array], start: float = 1.0) -> Array:
    """start times the outer product of vectors, one axis each, such as the weights of a product rule."""
    return np.asarray(reduce(np.multiply.outer, factors, np.array(start)))


def in_directions(values: Array, rules: Sequence[Rule], p: int) -> Array:
    """Values at the nodes of a product rule, with an axis for each of its directions.

    Args:
        values: Shape (labels, cells, nodes of a cell, ...), the cells in their natural order.
        rules: Rules of the labels, and of the directions of y.
        p: How many these are.
    """
    count = len(rules) - p
    labels, y, more = rules[:count], rules[count:], values.shape[3:]
    shape = [len(rule) for rule in labels] + [len(rule.counts) for rule in y] + [rule.counts[0] for rule in y]
    in_y = (axis for q in range(p) for axis in (count + q, count + p + q))
    order = [*range(count), *in_y, *range(count + 2 * p, count + 2 * p + len(more))]
    return values.reshape(*shape, *more).transpose(order).reshape(*(len(rule) for rule in rules), *more)
