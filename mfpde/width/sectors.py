"""Modes of the harmonics of degree l in the directions of V perp, and their derivatives: the sectors of a perturbation.

A perturbation of an axisymmetric law along a direction e is a sum over l of P_l(n.e), n the direction of w_perp, with P_l the
Gegenbauer polynomial of D = d - p dimensions, P_l(1) = 1.  The modes of sector l are, with S = |v|^2 + r^2,

    g_(alpha,j)(v, r, b) = C v^alpha r^(2j+l) G_k(S, b),   k = |alpha| + 2j + l <= K,
    C^2 = k! N_l / (alpha! 2^j j! prod_{i<j} (D + 2l + 2i) prod_{i<l} (D + 2i));   D = inf: k! / (alpha! l!), j = 0 alone

    dG_k/dS = 1/2 sqrt((k+1)(k+2)) G_{k+2},   dG_k/db = sqrt(k+1) G_{k+1}

For l = 0 they are the modes of a run.  N_l = C(l+D-1, l) - C(l+D-3, l-2) is the number of harmonics, lambda_l = l (l+D-2) their
eigenvalue.  On the sphere |w| = 1 a neuron's w is w/|w|, so that G_k(S, b) = c_k(1, b) S^(-k/2) and dG_k/dS = -k/2 G_k / S.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations_with_replacement
from math import comb, factorial, inf, isinf, prod, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mfpde.features.hermite.modes import multi_indices

Array = NDArray[np.float64]

# Derivatives that the second variation needs of l = 0 (of the field Psi alone), and of all sectors.
FIELD_ORDER, ORDER = 3, 2


@dataclass(frozen=True)
class Terms:
    """Sums of coefficient * v^.. r^.. * function, each of a mode.

    Attributes:
        coefficient: Shape (n,).
        mode: Number of the mode that it belongs to, shape (n,).
        powers: Of v_1, ..., v_p, r, shape (n, p + 1).
        function: q and m, for G_q(S, b), or on the sphere c_q(1, b) S^(-m/2), shape (n, 2).
    """

    coefficient: Array
    mode: NDArray[np.int64]
    powers: NDArray[np.int64]
    function: NDArray[np.int64]

    def derivative(self, i: int, on_sphere: bool) -> "Terms":
        """By coordinate i: v_1, ..., v_p, r, b."""
        q, m = self.function.T
        if i == self.powers.shape[1]:  # b
            return Terms(self.coefficient * np.sqrt(q + 1.0), self.mode, self.powers, self.function + np.array([1, 0]))
        unit = np.eye(self.powers.shape[1], dtype=np.int64)[i]
        kept = self.powers[:, i] > 0
        slope = -m.astype(float) if on_sphere else np.sqrt((q + 1.0) * (q + 2.0))
        raised = self.function + np.array([0, 2] if on_sphere else [2, 0])
        return Terms(
            np.concatenate((self.coefficient[kept] * self.powers[kept, i], self.coefficient * slope)),
            np.concatenate((self.mode[kept], self.mode)),
            np.concatenate((self.powers[kept] - unit, self.powers + unit)),
            np.concatenate((self.function[kept], raised)),
        )


@dataclass(frozen=True)
class Sector:
    """The modes of one degree l.

    Attributes:
        degree: l.
        one: 1/N_l.
        tangential: lambda_l / N_l.
        modes: How many there are.
        coordinates: P, the number of v_1, ..., v_p, r and perhaps b.
        names: Derivatives up to the highest order: () for the mode itself, (i, j) with i <= j for that by x_i and x_j.
        powers, function: Of the products that all derivatives are sums of, shapes (products, p + 1) and (products, 2).
        matrix: From products to derivatives up to `ORDER`, row (name, mode).
        field: The same of all names with row (name, product), from modes; None but for l = 0.
    """

    degree: int
    one: float
    tangential: float
    modes: int
    coordinates: int
    names: tuple[tuple[int, ...], ...]
    powers: NDArray[np.int64]
    function: NDArray[np.int64]
    matrix: csr_matrix
    field: csr_matrix | None

    @cached_property
    def values(self) -> list[tuple[int, ...]]:
        """Names of the derivatives that are evaluated of each mode."""
        return [name for name in self.names if len(name) <= ORDER]

    def products(self, powers: list[Array], functions: Array, S: Array, on_sphere: bool) -> Array:
        """The products at n neurons, shape (products, n).

        Args:
            powers: Of v_1, ..., v_p, r, each of shape (exponents, n).
            functions: G_q(S, b), or on the sphere c_q(1, b), shape (q, n).
            S: |w|^2, shape (n,).
            on_sphere: Which of the two.
        """
        out = functions[self.function[:, 0]]
        if on_sphere:
            out *= S ** (-0.5 * np.arange(self.function[:, 1].max() + 1.0)[:, None])[self.function[:, 1]]
        for i, rows in enumerate(powers):
            out *= rows[self.powers[:, i]]
        return out


def multiplicity(degree: int, D: float) -> float | int:
    """N_l, the number of spherical harmonics of degree l in D dimensions; inf at D = inf for l > 0."""
    if degree == 0:
        return 1
    if isinf(D):
        return inf
    n = int(D)
    return n if degree == 1 else comb(degree + n - 1, degree) - comb(degree + n - 3, degree - 2)


def sectors(p: int, d: float, K: int, J: int, L: int, biases: bool = False, on_sphere: bool = False) -> list[Sector]:
    """The sectors l = 0, ..., L that there are: with one direction in V perp l is at most 1.

    Args:
        p: Dimension of V.
        d: Dimension of x, or inf.
        K: Largest degree of a mode.
        J: Largest radial degree.
        L: Largest l.
        biases: Whether neurons have them.
        on_sphere: Whether |w| = 1.
    """
    return [_sector(p, d, K, J, n, biases, on_sphere) for n in range(min(L, K) + 1) if multiplicity(n, d - p) > 0]


def _sector(p: int, d: float, K: int, J: int, degree: int, biases: bool, on_sphere: bool) -> Sector:
    D, P, number = d - p, p + 1 + biases, multiplicity(degree, d - p)
    index = [
        (alpha, j)
        for k in range(degree, K + 1)
        for j in range(min(0 if isinf(d) else J, (k - degree) // 2) + 1)
        for alpha in multi_indices(p, k - degree - 2 * j)
    ]
    total = np.array([sum(alpha) + 2 * j + degree for alpha, j in index], dtype=np.int64)
    own = Terms(
        np.array([_normalization(alpha, j, degree, D) for alpha, j in index]),
        np.arange(len(index)),
        np.array([(*alpha, 2 * j + degree) for alpha, j in index], dtype=np.int64),
        np.column_stack((total, total)),
    )
    order = FIELD_ORDER if degree == 0 else ORDER
    names = tuple(name for n in range(order + 1) for name in combinations_with_replacement(range(P), n))
    found: dict[tuple[int, ...], Terms] = {(): own}
    for name in names[1:]:
        found[name] = found[name[:-1]].derivative(name[-1], on_sphere)
    keys = np.concatenate([np.column_stack((terms.powers, terms.function)) for terms in found.values()])
    products, column = np.unique(keys, axis=0, return_inverse=True)
    column, count = column.ravel(), len(index)
    which = np.repeat(np.arange(len(names)), [len(terms.mode) for terms in found.values()])
    mode = np.concatenate([terms.mode for terms in found.values()])
    coefficient = np.concatenate([terms.coefficient for terms in found.values()])
    few = which < sum(len(name) <= ORDER for name in names)
    rows = int(which[few].max()) + 1
    matrix = csr_matrix((coefficient[few], (which[few] * count + mode[few], column[few])), shape=(rows * count, len(products)))
    field = None
    if degree == 0:
        field = csr_matrix((coefficient, (which * len(products) + column, mode)), shape=(len(names) * len(products), count))
    if isinf(D):
        one, tangential = float(degree == 0), float(degree == 1)
    else:
        one = float(Fraction(1, int(number)))
        tangential = float(Fraction(degree * (degree + int(D) - 2), int(number)))
    return Sector(degree, one, tangential, count, P, names, products[:, : p + 1], products[:, p + 1 :], matrix, field)


def _normalization(alpha: tuple[int, ...], j: int, degree: int, D: float) -> float:
    k, powers = sum(alpha) + 2 * j + degree, prod(map(factorial, alpha))
    if isinf(D):
        return sqrt(Fraction(factorial(k), powers * factorial(degree)))
    n = int(D)
    below = powers * 2**j * factorial(j) * prod(n + 2 * degree + 2 * i for i in range(j)) * prod(n + 2 * i for i in range(degree))
    return sqrt(Fraction(factorial(k) * int(multiplicity(degree, D)), below))
