"""Between the necessary and the sufficient condition: targets that are not reflective and whose Taylor flow is slow or stuck.

The flow's span lies in U (`taylor_flow`), and U = V iff h* is not reflective for any S.  Is it all of U?

1. Not always.  Let sigma'' = mu sigma, mu != 0, sigma(0) sigma'(0) != 0, for instance sin u + cos u, which satisfies
   Assumptions 3.1 and 4.2.  The flow is that of G = grad P + mu P w, P = sum_n sigma_n Q_n (`certificate`).  With
   w = (x, y, z), k = 1/(4 c^2), mu k != 6, and

       P = x + b x^3 + (y - c x^2)(2 c x + mu b k x y) + z (y - c x^2),      b = (2 - mu k) / (k (6 - mu k)),        (1)

   the parabola z = 0, y = c x^2 is a trajectory: G_z = y - c x^2 = 0 on it, and G_y = 2 c x G_x there is the identity
   c x (2 A' + mu x A) = (1 + 4 c^2 x^2)(2 c x + mu b k c x^3) for A = x + b x^3.  It starts at 0, so the flow stays in the plane
   z = 0 for ever, while Q_2 holds z y and the chain x, x y, y z leaves no S.  `parabola_target` gives h*, with rational
   coefficients, for every such rational c != 0: a family of certified gaps.
2. For almost all sigma it is: Theorem 3 of `taylor_flow`.  `search` looks for a counterexample.
3. Filling late.  For h* = z1 + z1 z2 + z3 R(z1, z2), the rate of w_3 at w_3 = 0 is linear in the m coefficients of R, so
   some R != 0 makes its first m - 1 Taylor coefficients vanish: s >= m, about deg(h*)^2 / 2 (`late_target`).  That s stays
   finite is measured, not proven: s = 3, 7, 11, 17 for degrees 2 to 5 (m = 2, 5, 9, 14) and sin u + cos u.
4. Symmetry is no gap: if a group G of orthogonal maps fixes h*, so it does Q, and grad Q_n(v) is fixed by G for v fixed by G.
   Then U lies in the fixed space, and h* is reflective with respect to its complement.
5. Filling late for almost all sigma.  Two terms of W_4 may carry the same monomial of the sigma_n and cancel whatever these
   are: in `LATE_FOR_ALL`, z4 is reached by grad Q_3(e_1, grad Q_2(e_1)) and by grad Q_2(grad Q_3(e_1, e_1)), both with
   sigma_1^2 sigma_2 sigma_3, and s = 6 instead of 4.

`uncancelled_order` is the order at which the flow would fill U if no two terms of a Taylor coefficient cancelled: the weight
1 + sum of weights of grad Q_n(v_1, .., v_{n-1}), weight 1 for Q_1.  What s exceeds it by is due to cancellation.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, permutations, product
from math import factorial
from typing import Any

from mfpde.learnability.certificate import invariant_ideal
from mfpde.learnability.derivatives import Derivatives, generic_derivatives
from mfpde.learnability.polynomials import Powers, degree, gradient, plus, substitute, times
from mfpde.learnability.reflective import reflection, span_of_gradient
from mfpde.learnability.subspaces import Span, dot
from mfpde.learnability.taylor_flow import taylor_coefficients, taylor_flow

Heat = dict[Powers, Any]
ORDER = 24
X, Y, Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)
# The heat transform of z1 + z1 z2 + He_2(z1) z3 + 2 z1 z2 z4 - 3 z3 z4.
LATE_FOR_ALL: Heat = {
    (1, 0, 0, 0): Fraction(1),
    (1, 1, 0, 0): Fraction(1),
    (2, 0, 1, 0): Fraction(1),
    (1, 1, 0, 1): Fraction(2),
    (0, 0, 1, 1): Fraction(-3),
}


def periodic(values: Sequence[int], label: str, ratio: int, count: int = 64) -> Derivatives:
    """sigma'' = mu sigma with sigma(0), sigma'(0) = values and mu = ratio."""
    derivatives = tuple(Fraction(values[n % 2] * ratio ** (n // 2)) for n in range(count))
    return Derivatives(label, derivatives, True, ratio=Fraction(ratio))


SIN_COS = periodic((1, 1), "sin(u) + cos(u)", -1)
EXP = periodic((1, 1), "exp(u)", 1)
CUBIC = Derivatives("u + u^2/2 + u^3/6", (Fraction(0), *[Fraction(1)] * 3, *[Fraction(0)] * 60), True, terminates=True)
SIGMAS = (generic_derivatives(64), SIN_COS, EXP, CUBIC)


def parabola_target(c: Fraction, sigma: Derivatives = SIN_COS) -> Heat:
    """The heat transform of a target whose Taylor flow for `sigma` stays on the parabola w_2 = c w_1^2, w_3 = 0: (1).

    Raises:
        ValueError: If sigma'' is no multiple of sigma, or c = 0, or b has no value.
    """
    if sigma.ratio is None or not c:
        raise ValueError("needs sigma'' = mu sigma and c != 0")
    mu, k = sigma.ratio, 1 / (4 * c * c)
    if mu * k == 6:
        raise ValueError("mu / (4 c^2) = 6")
    b = (2 - mu * k) / (k * (6 - mu * k))
    level: Heat = {Y: Fraction(1), (2, 0, 0): -c}
    potential: Heat = {X: Fraction(1), (3, 0, 0): b}
    potential = plus(potential, times(level, {X: 2 * c, (1, 1, 0): mu * b * k}))
    potential = plus(potential, times(level, {Z: Fraction(1)}))
    return {a: e / sigma.values[sum(a)] for a, e in potential.items()}


def late_target(top: int, sigma: Derivatives = SIN_COS) -> Heat:
    """z1 + z1 z2 + z3 R(z1, z2), deg R <= `top`, whose Taylor flow leaves w_3 = 0 as late as the coefficients of R allow."""
    monomials = [(i, j) for i in range(top + 1) for j in range(top + 1 - i) if i + j]
    n = len(monomials)
    base: Heat = {(1, 0): Fraction(1), (1, 1): Fraction(1)}
    vectors = list(islice(taylor_coefficients(base, 2, sigma), n + 1))
    # The rate of w_3 per monomial: psi_{k+1}(|w|^2) w^m to order t^n.
    x, y = ([Fraction(0), *(v[i] for v in vectors)] for i in range(2))
    square = [a + b for a, b in zip(_cut(x, x), _cut(y, y), strict=True)]
    rows = []
    for i, j in monomials:
        psi, power = [Fraction(0)] * len(x), [Fraction(1), *[Fraction(0)] * (len(x) - 1)]
        for level in range(len(x)):
            factor = sigma.values[i + j + 1 + 2 * level] / (2**level * factorial(level))
            psi = [a + factor * b for a, b in zip(psi, power, strict=True)]
            power = _cut(power, square)
        for factor_series, times_ in ((x, i), (y, j)):
            for _ in range(times_):
                psi = _cut(psi, factor_series)
        rows.append(psi)
    equations = Span(n, 0.0)
    for order in range(len(x)):
        if equations.dimension == n - 1:
            break
        equations.add([row[order] for row in rows])
    solution = equations.complement().rows[0]
    found: Heat = {X: Fraction(1), (1, 1, 0): Fraction(1)}
    return plus(found, {(*m, 1): c for m, c in zip(monomials, solution, strict=True)})


def _cut(a: list[Any], b: list[Any]) -> list[Any]:
    """The product of two power series, truncated."""
    return [sum((a[i] * b[k - i] for i in range(k + 1)), start=Fraction(0)) for k in range(len(a))]


def uncancelled_order(q: Heat, p: int) -> int:
    """The order at which the Taylor flow would fill U if nothing cancelled."""
    basis: list[list[Any]] = []
    weights: list[int] = []
    while True:
        span = Span(p, 0.0, basis)
        columns = basis or [[Fraction(0)] * p]
        parts = [substitute(part, columns) for part in gradient(q, p)]
        found: dict[Powers, list[Any]] = {}
        for i, part in enumerate(parts):
            for powers, c in part.items():
                found.setdefault(powers, [Fraction(0)] * p)[i] = c
        new = [(1 + int(dot(a, weights or [0])), v) for a, v in found.items() if any(span.residual(v))]
        if not new:
            return max(weights, default=0)
        least = min(weight for weight, _ in new)
        for weight, vector in new:
            if weight == least and span.add(vector):
                basis.append(vector)
                weights.append(weight)


@dataclass(frozen=True)
class Finding:
    """One candidate.

    Attributes:
        dimension_v, dimension_u: Dimensions of V, and of U for a sigma that sees all degrees.
        spans: Per sigma of `SIGMAS`: dimension of the Taylor flow's span, its order s (0: not filled up to `ORDER`), dimension
            of U for this sigma, its `uncancelled_order`, and 1 if an invariant ideal proves that the flow stays in the span.
    """

    dimension_v: int
    dimension_u: int
    spans: tuple[tuple[int, int, int, int, int], ...]

    @property
    def row(self) -> list[int]:
        """As whole numbers, for a table."""
        return [self.dimension_v, self.dimension_u, *(n for span in self.spans for n in span)]


PER_SIGMA = ("span", "order", "invariant", "uncancelled", "proof")
COLUMNS = 2 + len(PER_SIGMA) * len(SIGMAS)


def examine(q: Heat, p: int) -> Finding:
    """Compares the reflective subspace and the Taylor flows of a target, given by its heat transform."""
    every = reflection(q, p, range(degree(q) + 1)).learned
    v = span_of_gradient(q, p)
    spans = []
    for sigma in SIGMAS:
        seen = {a: c for a, c in q.items() if any(sigma.values[sum(a) :: 2])}
        learned = every if len(seen) == len(q) else reflection(seen, p, range(degree(q) + 1)).learned
        flow = taylor_flow(q, learned, sigma, ORDER)
        ideal = invariant_ideal(q, sigma, flow.span) if flow.order is None else None
        numbers = flow.span.dimension, flow.order or 0, learned.dimension, uncancelled_order(seen, p), int(ideal is not None)
        spans.append(numbers)
    return Finding(v.dimension, every.dimension, tuple(spans))


def sparse(index: int, seed: int) -> Heat:
    """Three to six Hermite terms of degree <= 4 in three variables, with coefficients +-1, +-2, +-3."""
    draw = random.Random(f"sparse {seed} {index}")
    every = [a for a in product(range(5), repeat=3) if 1 <= sum(a) <= 4]
    terms = draw.sample(every, draw.randint(3, 6))
    return {a: Fraction(draw.choice((-3, -2, -1, 1, 2, 3))) for a in [X, *terms]}


def symmetric(index: int, seed: int) -> Heat:
    """A sparse target summed over a group of permutations (of two variables, cyclic, or all); every other one with one more
    term that breaks the symmetry."""
    draw = random.Random(f"symmetric {seed} {index}")
    group = draw.choice(([(0, 1, 2), (0, 2, 1)], [(0, 1, 2), (1, 2, 0), (2, 0, 1)], list(permutations(range(3)))))
    out: Heat = {}
    for order in group:
        out = plus(out, {tuple(a[i] for i in order): c for a, c in sparse(index, seed).items()})
    broken = draw.choice([a for a in product(range(3), repeat=3) if 1 <= sum(a) <= 3])
    return plus(out, {broken: Fraction(1)}) if index % 2 else out


def rotated(index: int, seed: int) -> Heat:
    """A sparse target in a random orthogonal basis with rational entries."""
    draw = random.Random(f"rotated {seed} {index}")
    columns = [[Fraction(int(i == j)) for i in range(3)] for j in range(3)]
    for _ in range(3):
        normal = [Fraction(draw.randint(-2, 2)) for _ in range(2)] + [Fraction(3)]
        columns = [[x - 2 * dot(c, normal) / dot(normal, normal) * n for x, n in zip(c, normal, strict=True)] for c in columns]
    return substitute(sparse(index, seed), columns)


def cancelling(index: int, seed: int) -> Heat:
    """z1 + a z1 z2 + b He_3(z1) + c z1 He_2(z2) + z3 (z2 + e He_2(z1)), over a grid of coefficients; `seed` shifts it."""
    grid = list(product((1, 2), range(-10, 11), (-2, -1, 0, 1, 2), (-4, -3, -2, -1, 1, 2, 3, 4)))
    a, b, c, e = grid[(index + seed) % len(grid)]
    coefficients = {X: Fraction(1), (1, 1, 0): Fraction(a), (3, 0, 0): Fraction(b, 6), (1, 2, 0): Fraction(c, 2)}
    return plus({m: x for m, x in coefficients.items() if x}, {(0, 1, 1): Fraction(1), (2, 0, 1): Fraction(e, 2)})


FAMILIES: dict[str, Callable[[int, int], Heat]] = {
    "sparse": sparse,
    "symmetric": symmetric,
    "rotated": rotated,
    "cancelling": cancelling,
}
