"""The reflective property and the basis-free staircase, exactly.

Let Q(w) = E_z h*(z + w) = sum_n Q_n(w) with Q_n homogeneous of degree n, and kappa_n(u, s) as in `visibility`.  Then

    E_z[h*(z) sigma(u + w.z)]    = sum_n kappa_n(u, |w|) Q_n(w),                                               (1)
    E_z[h*(z) sigma'(u + w.z) z] = sum_n (kappa_n grad Q_n(w) + kappa_{n+2} Q_n(w) w),                         (2)

the second being the gradient of the first (d kappa_n / d|w| = |w| kappa_{n+2}).  Write N for the visible degrees n >= 1.

Theorem 1.  Let S be a subspace of V and U its complement in V.  h* is reflective with respect to S and sigma (Definition
3.3) iff grad Q_n(v) is orthogonal to S for all v in U and n in N = {n : sigma^(n) != 0}.
Proof.  For v = s e in U with |e| = 1, the S-part of (2) is sum_n kappa_n(u, s) s^{n-1} grad_S Q_n(e), and kappa_n = 0 for n
outside N.  Were it 0 for all u and s but not term by term, let n be the first degree in N with grad_S Q_n(e) != 0, divide by
s^{n-1} and let s -> 0: kappa_n(., s) -> sigma^(n) as distributions, so sigma^(n) = 0, and n is not in N.  If U = {0}, only
v = 0 counts, and (2) is sigma'(u) grad Q_1.                                                                          []
Nothing is asked of sigma but growth below exp(u^2/16), which gives kappa_n for small s (s^2 < 8), and that suffices: ReLU and
steps are included, for steps with Definition 3.3 read as distributions in u.  In the words of the definition: g ranges
over all polynomials of z_U, or over those of degree < deg sigma, since E[h* g(z_U) z] for g = :(b_1.z)..(b_k.z): is, up to
U, the derivative of grad Q_{k+1} along b_1..b_k.

Theorem 1'.  With u replaced by r G, G ~ N(0, 1) independent, and "for all u" by "for all r" (what a network without bias
sees: its shift is w_{V perp}.x), the same holds with N = {n : kappa_n(0, .) != 0}.
Proof.  With s^2 = |v|^2 + r^2 the S-part is sum_n kappa_n(0, s) |v|^{n-1} grad_S Q_n(e), at fixed s a polynomial in
|v| <= s: it vanishes iff every term does.  Small s suffice again, since kappa_n(0, s) is analytic in s > 0.          []

Theorem 2.  Start from U = {0} and add the span of grad Q_n(v), v in U, n in N, until nothing is added.  Then S = V minus U
is the largest subspace with respect to which h* is reflective.
Proof.  At the end grad Q_n(U) lies in U: Theorem 1.  If h* is reflective with respect to S', then U' = V minus S' contains
U at the start, and if it contains U it contains grad Q_n(U), a part of grad Q_n(U').                                 []

Leaps.  In U + S, let Q_n(u + x) = sum_j Q_{n,j}(u, x) by degree j in x in S.  The leap of the next step is the smallest j >= 1
with a Q_{n,j} != 0, and it adds the smallest subspace W of S with Q_{n,j}(u, .) a form on W for all u and n: the span of the
coefficient vectors of grad_x Q_{n,j}.  j = 1 is the step of Theorem 2.  The isotropic leap is the largest leap needed until
U = V: it is > l iff some S != 0 has Q_{n,j} = 0 for all j = 1..l, and such an S survives all steps of leap <= l (as in the
proof of Theorem 2).  Times, by scaling and not proven: (2) also holds (sum_n kappa_{n+2} Q_n) x, linear in x for every j, but
it rescales all of w, w_{V perp} too.  So y = x / |w_{V perp}| starts at order d^(-1/2) and moves by y' ~ |y|^{j-1}: neurons
leave U after a time of order 1 for j = 1, log d for j = 2, d^{(j-2)/2} for j >= 3.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, prod
from typing import Any

from mfpde.learnability.polynomials import Polynomial, Powers, gradient, raw_monomials, squared_norm, substitute
from mfpde.learnability.subspaces import Span, dot, minus, orthogonal_basis, projector

# Rounded targets carry 40 digits.
THRESHOLD = 1e-25


@dataclass(frozen=True)
class Step:
    """One step of the staircase.

    Attributes:
        leap: j.
        degree: The least n that adds a direction.
        directions: Orthogonal basis of what is added to U, in the coordinates of h*.
    """

    leap: int
    degree: int
    directions: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Reflection:
    """The largest S with respect to which h* is reflective, and what follows from it.

    Attributes:
        visible: The degrees n >= 0 that count.
        v: V, the span of the gradient of h*.
        learned: U.
        reflective: S.
        projected: h*_{S perp} = E_{z_S} h*, in raw monomials.
        bound: 1/2 E|h* - h*_{S perp}|^2, Theorem 3.4.
        visible_bound: The same with the unseen degrees removed from h*_{S perp}, which no network without bias can represent.
        steps: The staircase, steps of leap > 1 included; those of leap 1 before the first other one build U.
        hidden: The directions of V that no step adds.
        smallest_kept, largest_dropped: Margin of the rank decisions (inf and 0 where they are exact).
    """

    visible: tuple[int, ...]
    v: Span
    learned: Span
    reflective: Span
    projected: dict[Powers, Any]
    bound: Any
    visible_bound: Any
    steps: tuple[Step, ...]
    hidden: Span
    smallest_kept: float
    largest_dropped: float

    @property
    def isotropic_leap(self) -> int | None:
        """The largest leap until U = V; None if some direction is never added, 0 for a constant h*."""
        return None if self.hidden.dimension else max((step.leap for step in self.steps), default=0)


def span_of_gradient(q: Polynomial, p: int, threshold: float = 0.0) -> Span:
    """V, the range of E[grad h* grad h*^T]: the span of the coefficient vectors of grad Q."""
    vectors: dict[Powers, list[Any]] = {}
    for i, part in enumerate(gradient(q, p)):
        for powers, c in part.items():
            vectors.setdefault(powers, [Fraction(0)] * p)[i] = c
    return Span(p, threshold, vectors.values())


def reflection(q: Polynomial, p: int, visible: Sequence[int], threshold: float = 0.0) -> Reflection:
    """The largest reflective subspace and the staircase (Theorem 2).

    Args:
        q: The heat transform Q of h*, in p variables.
        p: Number of variables, at least dim V.
        visible: Degrees n that count, from `visibility`.
        threshold: 0 if the coefficients are exact, else that of the rank decisions.
    """
    v = span_of_gradient(q, p, threshold)
    seen = {powers: c for powers, c in q.items() if sum(powers) in visible}
    current = Span(p, threshold)
    learned = None
    steps: list[Step] = []
    kept, dropped = v.smallest_kept, v.largest_dropped
    while True:
        rest = minus(v, current)
        found = _next_leap(seen, current, rest)
        if found is None or found.leap > 1:
            learned = learned or Span(p, threshold, current.rows)
        if found is None:
            break
        before = Span(p, threshold, current.rows)
        first = found.degree
        for vector in found.vectors:
            current.add(vector)
        kept, dropped = min(kept, current.smallest_kept), max(dropped, current.largest_dropped, found.dropped)
        added = tuple(map(tuple, orthogonal_basis(minus(current, before))))
        steps.append(Step(found.leap, first, added))
    assert learned is not None
    columns = projector(learned)
    onto_u, seen_on_u = substitute(q, columns), substitute({a: c for a, c in q.items() if sum(a) in visible}, columns)
    total = squared_norm(q)
    return Reflection(
        visible=tuple(visible),
        v=v,
        learned=learned,
        reflective=minus(v, learned),
        projected=raw_monomials(onto_u),
        bound=(total - squared_norm(onto_u)) / 2,
        visible_bound=(total - squared_norm(seen_on_u)) / 2,
        steps=tuple(steps),
        hidden=minus(v, current),
        smallest_kept=kept,
        largest_dropped=dropped,
    )


@dataclass(frozen=True)
class Violation:
    """A Wick power g = :prod_i (b_i.z)^{n_i}: on U with E[h* g z_S] != 0.

    Attributes:
        powers: n_i.
        basis: b_i.
        vector: E[h* g z_S].
    """

    powers: tuple[int, ...]
    basis: tuple[tuple[Any, ...], ...]
    vector: tuple[Any, ...]


def first_violation(q: Polynomial, v: Span, reflective: Span, visible: Sequence[int]) -> Violation | None:
    """Why h* is not reflective with respect to a subspace of V; None if it is (Theorem 1)."""
    seen = {powers: c for powers, c in q.items() if sum(powers) in visible}
    learned = minus(v, reflective)
    found = _next_leap(seen, learned, reflective)
    if found is None or found.leap > 1:
        return None
    factor = prod(map(factorial, found.witness))
    return Violation(found.witness, tuple(map(tuple, orthogonal_basis(learned))), tuple(factor * x for x in found.vectors[0]))


@dataclass(frozen=True)
class _Leap:
    leap: int
    degree: int
    vectors: list[list[Any]]
    witness: Powers
    dropped: float


def _next_leap(seen: Polynomial, learned: Span, rest: Span) -> _Leap | None:
    """The smallest leap from U = `learned` into S = `rest` and the directions it adds, by ascending degree n."""
    basis, others = orthogonal_basis(learned), orthogonal_basis(rest)
    if not others:
        return None
    m = len(basis)
    expanded = substitute(seen, [*basis, *others])
    scale = max(map(abs, expanded.values()), default=0)
    limit = learned.threshold * scale
    crossing = {a: c for a, c in expanded.items() if any(a[m:])}
    kept = {a: c for a, c in crossing.items() if abs(c) > limit}
    dropped = max((float(abs(c) / scale) for a, c in crossing.items() if a not in kept), default=0.0)
    if not kept:
        return None
    leap = min(sum(a[m:]) for a in kept)
    groups: dict[Powers, list[Any]] = {}
    for a, i, c in _gradient_terms({a: c for a, c in kept.items() if sum(a[m:]) == leap}, m):
        groups.setdefault(a, [Fraction(0)] * len(others))[i] = c
    ordered = sorted(groups, key=lambda a: (sum(a), tuple(-n for n in a)))
    sizes = [dot(b, b) for b in others]
    vectors = [
        [
            sum((x / size * b[k] for x, size, b in zip(groups[a], sizes, others, strict=True)), start=Fraction(0))
            for k in range(learned.p)
        ]
        for a in ordered
    ]
    return _Leap(leap, sum(ordered[0]) + 1, vectors, ordered[0][:m], dropped)


def _gradient_terms(f: Polynomial, m: int) -> Iterator[tuple[Powers, int, Any]]:
    """The terms (powers, component, coefficient) of the gradient by the variables after the first m."""
    for a, c in f.items():
        for i in range(m, len(a)):
            if a[i]:
                yield (*a[:i], a[i] - 1, *a[i + 1 :]), i - m, a[i] * c


def escape_law(leap: int | None) -> str:
    """How the time until all directions are learned grows with d, for an isotropic leap."""
    if leap is None:
        return "never: the activation does not see the degrees that would move them"
    if leap <= 1:
        return "O(1)"
    return "O(log d)" if leap == 2 else f"O(d^{Fraction(leap - 2, 2)})"
