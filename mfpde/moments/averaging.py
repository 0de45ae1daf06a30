"""The law of the average u = (1/n) sum_i w_i of n independent copies of a neuron: its moments, or its points.

With w = v + r e, e uniform on the unit sphere of V-perp = R^D and independent of (v, r), the sum of two independent
such vectors has, for X, Y their parts in V-perp and c the cosine between them,

    E[(v+v')^beta |X+Y|^{2k}] = sum_{gamma <= beta} C(beta, gamma) sum_{i+j+2m = k} k! / (i! j! (2m)!) 4^m E[c^{2m}]
                                E[v^gamma |X|^{2(i+m)}] E[v'^{beta-gamma} |Y|^{2(j+m)}],
    E[c^{2m}] = prod_{i<m} (2i+1) / (D+2i)    (0 for m > 0 at D = inf),

and its direction in V-perp is uniform again: copies are added one at a time.  The n-fold convolution costs no more
than this algebra, whatever the law.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement, product
from math import comb, factorial, inf, prod
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from mpmath import MPContext
from numpy.typing import NDArray

from mfpde.compile import aligned, load_compiled
from mfpde.features.hermite.modes import hermite_modes
from mfpde.neurons import Nodes
from mfpde.parallel import share

Array = NDArray[np.float64]
# beta and k of E[u_V^beta |u_perp|^{2k}].
Index = tuple[tuple[int, ...], int]

# Arithmetic with 60 digits, for moments that are known to about 32.
EXTENDED = MPContext()
EXTENDED.dps = 60

DECLARATIONS = """
typedef struct { int64_t nodes; const double *weight, *v, *r; } law_t;
void law_moments(const law_t *, int64_t count, const int32_t *parent, const int32_t *factor, double *high, double *low,
    double *work);
"""


@dataclass(frozen=True)
class LawMoments:
    """E[u_V^beta |u_perp|^{2k}] of a law that is invariant under rotations of V-perp.

    Attributes:
        p: Dimension of V.
        complement: D, that of V-perp, or inf.
        degree: Largest |beta| + 2k.
        values: The moments, in extended precision.
    """

    p: int
    complement: float
    degree: int
    values: Mapping[Index, Any]

    def average(self, copies: int) -> "LawMoments":
        """The moments of the average of `copies` independent copies."""
        total = self
        for _ in range(copies - 1):
            total = total._plus(self)
        scaled = {(beta, k): value / copies ** (sum(beta) + 2 * k) for (beta, k), value in total.values.items()}
        return LawMoments(self.p, self.complement, self.degree, scaled)

    def _plus(self, other: "LawMoments") -> "LawMoments":
        cosine = [_cosine_moment(self.complement, m) for m in range(self.degree // 4 + 1)]
        radial = {k: _radial_terms(k, cosine) for k in range(self.degree // 2 + 1)}
        values = {}
        for beta, k in self.values:
            total = EXTENDED.mpf(0)
            for gamma in product(*(range(b + 1) for b in beta)):
                rest = tuple(b - g for b, g in zip(beta, gamma, strict=True))
                ways = prod(comb(b, g) for b, g in zip(beta, gamma, strict=True))
                terms = (factor * self.values[gamma, i] * other.values[rest, j] for i, j, factor in radial[k])
                total += ways * sum(terms, EXTENDED.mpf(0))
            values[beta, k] = total
        return LawMoments(self.p, self.complement, self.degree, values)


def _cosine_moment(complement: float, m: int) -> Fraction:
    """E[c^{2m}] between two independent directions of R^D."""
    if complement == inf:
        return Fraction(int(m == 0))
    return prod((Fraction(2 * i + 1, int(complement) + 2 * i) for i in range(m)), start=Fraction(1))


def _radial_terms(k: int, cosine: list[Fraction]) -> list[tuple[int, int, Any]]:
    """Powers of |X|^2 and |Y|^2 in E_c |X + Y|^{2k}, and their factors."""
    terms = []
    for m, c in enumerate(cosine[: k // 2 + 1]):
        for j in range(k - 2 * m + 1 if c else 0):
            ways = Fraction(factorial(k) * 4**m, factorial(k - j - 2 * m) * factorial(j) * factorial(2 * m))
            terms.append((k - j - m, j + m, extended(ways * c)))
    return terms


def extended(value: Fraction) -> Any:
    """An exact number in extended precision."""
    return EXTENDED.mpf(value.numerator) / value.denominator


def law_moments(comm: MPI.Intracomm, nodes: Nodes, complement: float, degree: int) -> LawMoments | None:
    """Collective. The moments of the law of one neuron's w up to `degree`, on rank 0; None elsewhere.

    Args:
        comm: All ranks.
        nodes: This rank's part of the law.
        complement: Dimension D of V-perp, or inf.
        degree: Largest |beta| + 2k.
    """
    p = len(nodes.v)
    index = hermite_modes(p, degree, degree // 2, p + 2.0)  # for its monomials v^alpha r^{2j} alone
    compiled = load_compiled(comm, Path(__file__).with_name("averaging.c"), DECLARATIONS, {"P": p})
    law, pointer = compiled.ffi.new("law_t *"), compiled.ffi.from_buffer
    law.nodes = len(nodes.r)
    arrays = [np.ascontiguousarray(x) for x in (nodes.weight, nodes.v, nodes.r)]
    law.weight, law.v, law.r = (pointer("double[]", array) for array in arrays)
    parts = np.empty((2, len(index)))
    steps = [pointer("int32_t[]", x) for x in (index.parent, index.factor)]
    rooms = [pointer("double[]", x) for x in (*parts, aligned(4 * len(index)))]
    compiled.lib.law_moments(law, len(index), *steps, *rooms)
    # A few hundred numbers a rank: summed in extended precision, where the result is needed.
    gathered = comm.gather(parts)
    if gathered is None:
        return None
    totals = [sum((EXTENDED.mpf(float(x)) for part in gathered for x in part[:, i]), EXTENDED.mpf(0)) for i in range(len(index))]
    keys = [(tuple(alpha), j) for alpha, j in zip(index.alpha.tolist(), index.radial.tolist(), strict=True)]
    return LawMoments(p, complement, degree, dict(zip(keys, totals, strict=True)))


def average_points(comm: MPI.Intracomm, nodes: Nodes, copies: int) -> Nodes:
    """Collective. This rank's part of the law of the average of copies of a point start: one neuron for each multiset of
    labels, at a = 0.

    Its weight is n! / prod_i n_i! times the product of the labels' weights; |u_perp|^2 = (1/n^2) sum_i r_i^2, since
    directions of V-perp are orthogonal at d = inf, and r = 0 otherwise.
    """
    rows = np.concatenate(comm.allgather(np.column_stack((nodes.v.T, nodes.r, nodes.weight))))
    v, r, weight = rows[:, :-2], rows[:, -2], rows[:, -1]
    tuples = np.array(list(combinations_with_replacement(range(len(v)), copies)))
    tuples = tuples[slice(*share(comm, len(tuples)))]
    ways = np.full(len(tuples), factorial(copies))
    run = np.ones(len(tuples), dtype=int)  # how often the label of this column has occurred up to here
    for i in range(1, copies):
        run = np.where(tuples[:, i] == tuples[:, i - 1], run + 1, 1)
        ways //= run
    radius = np.sqrt((r[tuples] ** 2).sum(axis=1)) / copies
    place = np.ascontiguousarray(v[tuples].mean(axis=1).T)
    return Nodes(np.zeros(len(tuples)), place, radius, ways * weight[tuples].prod(axis=1))
