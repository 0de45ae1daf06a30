"""The Taylor flow: the first motion of a neuron, as an exact power series in t.

    d/dt w = a grad F(w),  w(a, 0) = 0,    F(w) = E_z[h*(z) sigma(w.z)] = sum_n psi_n(|w|^2) Q_n(w),          (1)
    psi_n(S) = sum_j sigma_{n+2j} S^j / (2^j j!),     grad F = sum_n psi_n grad Q_n + (sum_n psi_{n+2} Q_n) w,  (2)

with sigma_n = sigma^(n)(0) and Q of `reflective` (at w = v, u = 0 its formulas 1 and 2).  So w(a, t) = sum_k W_k (a t)^k: the
coefficient of t^k is the monomial W_k a^k.  Assumption 4.1 asks that W_1..W_s span V for some s.

For a start at N(0, I/d), d = infinity, the complement of V adds its N(0, r^2), r(0) = 1, to w.z.  The same formulas hold with
sigma_n = kappa_n(0, 1) = sqrt(n!) c_n(1), Hermite coefficients, defined for sigma with kinks and jumps too, with
S = |w|^2 + r^2 - 1, and

    d/dt r^2 = 2 a r^2 sum_n psi_{n+2} Q_n(w).                                                              (3)

Invariant subspaces.  If grad Q_n(U) lies in U for all n with psi_n != 0, then so does (2): the flow stays in U.  This is the U
of `reflective` for a network without bias, so span W lies in it, and equality for some s is the end of the search.  At w = 0
the two U agree for analytic sigma; for one that is only smooth, psi_n may vanish as a series where kappa_n(0, .) does not, and
span W lies in the smaller U of the psi_n.

Almost all sigma.  W_k is a polynomial in sigma_1, sigma_2, ...: if W_1..W_s have rank m at one choice of rational numbers, they
have rank >= m at all sigma but those on an algebraic hypersurface.

Theorem 3.  For (sigma_1, sigma_2, ...) outside a proper algebraic set the W_k of (1) span U, the least subspace with grad Q_n(U)
in U for all n.  The set depends on h* and involves finitely many sigma_n; let it hold those with sigma_n = 0 for some
1 <= n <= deg h*.  So for almost all sigma Assumption 4.1 holds if and only if h* is reflective for no S.  For the start at
N(0, I/d), equation (3), this is not proven: there ranks are only computed.
Proof.  Let q = grad Q_1 != 0 (else U = {0}).  In (2), w' = sum_n psi_n V_n(w) with V_n = grad Q_n + Q_{n-2}(w) w and psi_{n+2} =
2 dpsi_n/dS; as sigma runs over the polynomials, psi_1 and psi_2 run over all pairs of polynomials in S.
(a) Let k be the largest dimension of a span, n* the largest n with Q_n(w(t)) not identically 0 in t for some polynomial sigma
(n* >= 1, since Q_1 = |q|^2 sigma_1 a t + ..).  Both are non-vanishing of polynomials in finitely many sigma_n, so one polynomial
sigma has both; let X be its span.  For small t > 0, S' > 0, Q_{n*} != 0, and w on [0, t] spans X.  Continue psi_1, psi_2 beyond
S(t) as any smooth functions, and the trajectory as long as S' > 0 and Q_{n*} != 0.  It stays in X, and Q_n = 0 on it for n > n*:
else approximate psi_1, psi_2 by polynomials with enough derivatives on [0, S_max]; by Gronwall w is close, independence and
Q_n != 0 are open conditions, and there would be a span of dimension k + 1, or Q_n != 0.  Call a polynomial trivial if it
vanishes on all trajectories so continued, from all small t > 0: such are the forms l that vanish on X, and Q_n for n > n*.
(b) Let m be the largest index with V_m not 0 on these trajectories.  If f is trivial, 0 = f' = sum_{n <= m} psi_n V_n f, where
psi_m may be changed by c within a short interval of S, all psi_n below and w by as little as one likes: c small, so S' > 0
persists; while it does, V_n = 0 for n > m, so the velocity is bounded.  Thus V_m f is trivial.  For m > n* use f = Q_m:
|grad Q_m|^2 + m Q_{m-2} Q_m, hence grad Q_m, is trivial.  If m > n* + 2 that is V_m = 0; if m < n* + 2, then V_{n*+2} = 0 and
its product with w gives Q_{n*} = 0.  So m = n* + 2, and V_m = Q_{n*}(w) w is radial there.
(c) If f is trivial, so is V_n f for every n.  To change psi_{m-2j} by c, j >= 1, c of the sign of Q_{n*}: raise psi_m by a smooth
increasing profile, from 0 to A ~ c / d^j on an interval of length d of S.  Its i-fold integral, the change of psi_{m-2i}, is
at most d^i times the profile, so S' > 0 throughout, dw/dS stays bounded and w moves by O(d); at its end sum_n psi_n V_n f = 0
has V_{m-2i} f = 0 for i < j (induction), and at i = j the change c alone survives d -> 0: V_{m-2j} f = 0.  For the other parity
raise psi_{m-1} by c / d^j and at the same time psi_m by 1 / d^{j+1} (in the sign of Q_{n*}), which again dominates;
V_{m-2i} f = 0 is already known.
(d) So l and all V_{n_1} .. V_{n_i} l vanish at w(t) and, t -> 0, at 0: l vanishes on the orbit M of 0 under the V_n, by Nagano's
theorem an analytic manifold whose tangent spaces are spanned by the V_n and their brackets.  V_n is homogeneous of degree n - 1,
so M is invariant under w -> lambda w, lambda > 0.  Near 0, M is the graph of a smooth phi over its tangent space T, phi'(0) = 0,
and phi(lambda x) = lambda phi(x), lambda <= 1: phi = 0 and M = T there.  V_n(w) and w in T give grad Q_n(w) in T: grad Q_n(T)
lies in T for all n, T contains U, and l vanishes on U: X contains U.                                                     []
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import factorial
from typing import Any

from mfpde.learnability.derivatives import DIGITS, Derivatives
from mfpde.learnability.polynomials import Polynomial, Powers, degree, derivative, homogeneous
from mfpde.learnability.subspaces import Span

# Of the rank decisions with rounded sigma_n, which carry 60 digits.
THRESHOLD = 1e-25


@dataclass(frozen=True)
class TaylorFlow:
    """The span of the first Taylor coefficients.

    Attributes:
        label: Label of sigma and the start.
        coefficients: W_1..W_s, or as far as was computed.
        dimensions: Dimension of the span of W_1..W_k, k = 1, 2, ...
        span: Span of all of them.
        invariant: A subspace that the flow cannot leave (U).
        exact: Whether the arithmetic was.
        smallest_kept, largest_dropped: Margin of the rank decisions, if not.
    """

    label: str
    coefficients: tuple[tuple[Any, ...], ...]
    dimensions: tuple[int, ...]
    span: Span
    invariant: Span
    exact: bool
    smallest_kept: float
    largest_dropped: float

    @property
    def order(self) -> int | None:
        """The smallest s at which the span fills the invariant subspace; None if it has not."""
        full = self.invariant.dimension
        if self.span.dimension < full:
            return None
        return next((k for k, m in enumerate(self.dimensions, 1) if m == full), 0)


def taylor_flow(q: Polynomial, invariant: Span, sigma: Derivatives, order: int) -> TaylorFlow:
    """Taylor coefficients until they span `invariant`, at most to `order`.

    Args:
        q: Heat transform of h*.
        invariant: U, see `reflective`, for the degrees that sigma sees; the flow stays in it.
        sigma: At least order + deg h* + 3 numbers.
        order: Largest power of t.
    """
    import mpmath

    p = invariant.p
    threshold = invariant.threshold if sigma.exact else max(THRESHOLD, invariant.threshold)
    span = Span(p, threshold)
    coefficients: list[tuple[Any, ...]] = []
    dimensions: list[int] = []
    with mpmath.workdps(DIGITS):
        for vector in islice(taylor_coefficients(q, p, sigma), order if invariant.dimension else 0):
            coefficients.append(vector)
            span.add(vector)
            dimensions.append(span.dimension)
            if span.dimension == invariant.dimension:
                break
    exact = sigma.exact and threshold == 0
    found = tuple(coefficients), tuple(dimensions), span, invariant, exact
    return TaylorFlow(sigma.label, *found, span.smallest_kept, span.largest_dropped)


def taylor_coefficients(q: Polynomial, p: int, sigma: Derivatives) -> Iterator[tuple[Any, ...]]:
    """W_1, W_2, ...: fractions, or numbers of `DIGITS` digits where sigma_n is rounded.

    W_k is right while there are sigma_n up to n = k + deg h* + 1.
    """
    if sigma.exact:
        program = _Program(q, p, sigma)
        while True:
            yield tuple(program.next_coefficient())
    import mpmath

    with mpmath.workdps(DIGITS):  # left at every yield: the caller's digits are its own
        program = _Program({a: mpmath.mpf(c.numerator) / c.denominator for a, c in q.items()}, p, sigma)
    while True:
        with mpmath.workdps(DIGITS):
            vector = tuple(map(mpmath.mpmathify, program.next_coefficient()))
        yield vector


class _Series:
    """A power series in t whose coefficients become known one by one."""

    def __init__(self) -> None:
        self.c: list[Any] = []

    def extend(self, k: int) -> None:
        """Appends the coefficient of t^k; those of its parts must be there."""


class _Product(_Series):
    def __init__(self, left: _Series, right: _Series) -> None:
        super().__init__()
        self.left, self.right = left, right

    def extend(self, k: int) -> None:
        a, b = self.left.c, self.right.c
        self.c.append(sum((a[i] * b[k - i] for i in range(k + 1) if a[i] and b[k - i]), start=Fraction(0)))


class _Sum(_Series):
    def __init__(self, terms: Sequence[tuple[Any, _Series]]) -> None:
        super().__init__()
        self.terms = terms

    def extend(self, k: int) -> None:
        self.c.append(sum((factor * part.c[k] for factor, part in self.terms if part.c[k]), start=Fraction(0)))


class _One(_Series):
    def extend(self, k: int) -> None:
        self.c.append(Fraction(int(k == 0)))


class _Program:
    """Formulas (2) and (3) as a list of series, each a sum or product of earlier ones.

    Coefficient k of the right-hand side needs W_1..W_k only, so it costs O(k) per product: no series is computed twice.
    """

    def __init__(self, q: Polynomial, p: int, sigma: Derivatives) -> None:
        self._sigma = sigma.values
        self._order: list[_Series] = []
        self._one = self._new(_One())
        self._w = [_Series() for _ in range(p)]
        self._r = _Series()  # r^2 - 1
        self._known: dict[Powers, _Series] = {(0,) * p: self._one}
        squares = [self._new(_Product(w, w)) for w in self._w]
        one = Fraction(1)
        radius = [self._r] if sigma.complement else []
        self._excess = self._new(_Sum([(one, x) for x in (*squares, *radius)]))
        self._radial = [self._one, self._excess]  # powers of S
        parts = [(n, homogeneous(q, n)) for n in range(degree(q) + 1)]
        parts = [(n, part) for n, part in parts if part]
        curvature = [(one, self._new(_Product(self._psi(n + 2), self._polynomial(part)))) for n, part in parts]
        total = self._new(_Sum(curvature))
        self._rates = []
        for i in range(p):
            slopes = [(n, derivative(part, i)) for n, part in parts]
            terms = [(one, self._new(_Product(self._psi(n), self._polynomial(slope)))) for n, slope in slopes if slope]
            self._rates.append(self._new(_Sum([*terms, (one, self._new(_Product(total, self._w[i])))])))
        self._states = self._w
        if sigma.complement:
            self._states = [*self._w, self._r]
            self._rates.append(self._new(_Sum([(2 * one, total), (2 * one, self._new(_Product(self._r, total)))])))
        for state in self._states:
            state.c.append(Fraction(0))
        self._k = 0

    def next_coefficient(self) -> list[Any]:
        """W_1, then W_2, ..."""
        k = self._k
        for series in self._order:
            series.extend(k)
        for state, rate in zip(self._states, self._rates, strict=True):
            state.c.append(rate.c[k] / (k + 1))
        self._k += 1
        return [w.c[k + 1] for w in self._w]

    def _new(self, series: _Series) -> _Series:
        self._order.append(series)
        return series

    def _psi(self, n: int) -> _Series:
        terms: list[tuple[Any, _Series]] = []
        for j in range((len(self._sigma) - 1 - n) // 2 + 1):
            if self._sigma[n + 2 * j]:
                while len(self._radial) <= j:
                    self._radial.append(self._new(_Product(self._radial[-1], self._excess)))
                terms.append((self._sigma[n + 2 * j] / (2**j * factorial(j)), self._radial[j]))
        return self._new(_Sum(terms))

    def _polynomial(self, f: Polynomial) -> _Series:
        return self._new(_Sum([(c, self._monomial(a)) for a, c in f.items()]))

    def _monomial(self, powers: Powers) -> _Series:
        if powers not in self._known:
            i = next(i for i, n in enumerate(powers) if n)
            lower = self._monomial((*powers[:i], powers[i] - 1, *powers[i + 1 :]))
            self._known[powers] = self._new(_Product(self._w[i], lower))
        return self._known[powers]
