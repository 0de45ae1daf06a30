"""The Hermite modes of the rotation-invariant functions on (R^d, N(0, I_d)).

A mode (alpha, j) is he_alpha(z) times the normalised Wick power :|y|^{2j}: of y = x_{V perp}, of degree
k = |alpha| + 2j.  Its pairing with a neuron w = (v, r) is, with D = d - p, S = |v|^2 + r^2 and G_k = c_k(s) / s^k,

    phi_{alpha,j}(v, r) = N_{alpha,j} v^alpha r^{2j} G_k(S),
    N_{alpha,j} = sqrt( k! / ( alpha! 2^j j! prod_{i<j} (D + 2i) ) ),

and because d/dS G_k = 1/2 sqrt((k+1)(k+2)) G_{k+2}, the gradient of Psi = sum_i (m_i - h_i) phi_i needs no further
tables.  At d = inf only j = 0 survives.  A neuron with a bias b, sigma(w.x + b), has G_k(S, b) = c_k(s, b) / s^k in their place,
with d/db G_k = sqrt(k+1) G_{k+1}.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import factorial, inf, prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.problem.activation import Activation
from mfpde.problem.defaults import largest_degree
from mfpde.problem.problem import Problem
from mfpde.problem.target import Target

if TYPE_CHECKING:
    from mfpde.features.hermite.features import HermiteFeatures


@dataclass(frozen=True)
class Modes:
    """The modes with |alpha| + 2j <= K and j <= J, in ascending degree.

    The monomials mu_i = v^alpha r^{2j} are closed under removing a factor, so each one is a predecessor times one
    variable; `parent` and `factor` say which (factor p stands for r^2).

    Attributes:
        p: Dimension of V.
        hermite_degree: K.
        alpha: Multi-indices, shape (modes, p).
        radial: j, shape (modes,).
        degree: k = |alpha| + 2j, shape (modes,), ascending.
        normalization: N_{alpha,j}, shape (modes,).
        parent: Index of the predecessor of mu_i, shape (modes,); unused for i = 0.
        factor: The variable that leads from it to mu_i, shape (modes,).
        up_v: Index of (alpha + e_q, j), or `len(self)` where that is no mode, shape (modes, p).
        up_r: Index of (alpha, j + 1), likewise, shape (modes,).
    """

    p: int
    hermite_degree: int
    alpha: NDArray[np.int32]
    radial: NDArray[np.int32]
    degree: NDArray[np.int32]
    normalization: NDArray[np.float64]
    parent: NDArray[np.int32]
    factor: NDArray[np.int32]
    up_v: NDArray[np.int32]
    up_r: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.degree)

    @cached_property
    def first(self) -> NDArray[np.int32]:
        """Modes of degree k are first[k] to first[k + 1] - 1, shape (K + 2,)."""
        return np.searchsorted(self.degree, np.arange(self.hermite_degree + 2)).astype(np.int32)

    @cached_property
    def _derivatives(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Psi, its derivatives by v_q and by r: from which mode each coefficient comes, and its factor, (modes, p + 2)."""
        own = np.arange(len(self))
        factors = [np.ones(len(self)), *(self.alpha.T + 1.0), 2 * (self.radial + 1.0)]
        return np.column_stack([own, self.up_v, self.up_r]), np.column_stack(factors)

    def target_coefficients(self, target: Target) -> NDArray[np.float64]:
        """The coefficients h_i of h* over the modes, shape (modes,); they live on j = 0."""
        value = {tuple(alpha): c for alpha, c in zip(target.alpha.tolist(), target.coefficients.tolist(), strict=True)}
        return np.array([0.0 if j else value.get(tuple(a), 0.0) for a, j in zip(self.alpha.tolist(), self.radial, strict=True)])

    def beyond(self, target: Target) -> float:
        """1/2 of the energy of h* beyond the largest degree; 0 for polynomials."""
        return target.beyond(self.hermite_degree)

    def features(self, comm: MPI.Intracomm, problem: Problem, activation: Activation | None = None) -> "HermiteFeatures":
        """Collective. The features of a problem's neurons, with biases or without, by default in its first stage."""
        from mfpde.features.hermite.features import HermiteFeatures

        chosen = problem.stages[0].activation if activation is None else activation
        return HermiteFeatures(comm, self, chosen, biases=problem.b is not None)

    def widened(self, problem: Problem, more: int) -> "Modes":
        """With up to `more` higher degrees and one radial degree, as far as the target's coefficients are known."""
        K, J = self.hermite_degree + more, int(self.radial.max(initial=0)) + 1
        if (known := problem.target.known_degree) is not None:
            K = min(K, known)
        K = max(min(K, largest_degree(problem.p, problem.d, J)), self.hermite_degree)
        return hermite_modes(problem.p, K, J, problem.d)

    def field_coefficients(self, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        """The coefficients of Psi and its derivatives in the monomials mu_i, shape (modes, p + 2).

        Row i holds e_i = N_i residual_i, then (alpha_q + 1) e_{(alpha + e_q, j)} for q = 1..p, then
        2 (j + 1) e_{(alpha, j + 1)}: the coefficients of mu_i in Psi's polynomial of degree k_i, in its derivative by
        v_q (which belongs to degree k_i + 1), and in its derivative by r divided by r (degree k_i + 2).
        """
        places, factors = self._derivatives
        e = np.zeros(len(self) + 1)
        np.multiply(self.normalization, residual, out=e[:-1])
        return np.asarray(factors * e.take(places))

    def divergence_coefficients(self, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        """The coefficients of Psi's Laplacian in (v, r), and of its second derivative in b, in the monomials mu_i, (modes, 3).

        With e_i = N_i residual_i, k = k_i and c_k = sqrt((k+1)(k+2)), row i holds what belongs to G_{k+2},
        sum_q (alpha_q+1)(alpha_q+2) e_{(alpha + 2 e_q, j)} + 2 (j+1) (2 j+1) e_{(alpha, j+1)} + (2 k + p + 1) c_k e_i,
        what belongs to S G_{k+4}, c_k c_{k+2} e_i, and what belongs to G_{k+2} in the second derivative in b, c_k e_i.
        """
        n, p = self.alpha.shape
        k = self.degree.astype(float)
        c = np.sqrt((k + 1) * (k + 2))
        e = np.zeros(n + 1)
        np.multiply(self.normalization, residual, out=e[:n])
        twice = np.column_stack([np.append(self.up_v[:, q], n)[self.up_v[:, q]] for q in range(p)])
        out = np.empty((n, 3))
        out[:, 0] = ((self.alpha + 1) * (self.alpha + 2) * e[twice]).sum(axis=1)
        out[:, 0] += 2 * (self.radial + 1) * (2 * self.radial + 1) * e[self.up_r] + (2 * k + p + 1) * c * e[:n]
        out[:, 1] = c * np.sqrt((k + 3) * (k + 4)) * e[:n]
        out[:, 2] = c * e[:n]
        return out


@lru_cache(maxsize=32)
def hermite_modes(p: int, hermite_degree: int, radial_degree: int, d: float) -> Modes:
    """The modes of degree at most K = `hermite_degree` with j <= `radial_degree`, at input dimension `d` (or inf)."""
    largest = 0 if d == inf else radial_degree
    indices = [
        (alpha, j)
        for k in range(hermite_degree + 1)
        for j in range(min(largest, k // 2) + 1)
        for alpha in multi_indices(p, k - 2 * j)
    ]
    n, normalization = len(indices), np.array([_normalization(alpha, j, d - p) for alpha, j in indices])
    index = np.array([(*alpha, j) for alpha, j in indices], dtype=np.int64)
    # An index as one number, in which no digit overflows when it is raised by one: at most 62^(p + 1).
    place = (hermite_degree + 2) ** np.arange(p + 1)
    keys = index @ place
    order = np.argsort(keys)

    def position(wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """The numbers of the modes with these keys; n where there is none."""
        found = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), n - 1)]
        return np.where(keys[found] == wanted, found, n).astype(np.int32)

    factor = np.where(index[:, p] > 0, p, np.argmax(index[:, :p] > 0, axis=1)).astype(np.int32)
    parent = position(keys - place[factor])
    parent[0] = 0
    return Modes(
        p=p,
        hermite_degree=hermite_degree,
        alpha=np.ascontiguousarray(index[:, :p], dtype=np.int32),
        radial=np.ascontiguousarray(index[:, p], dtype=np.int32),
        degree=(index @ (*[1] * p, 2)).astype(np.int32),
        normalization=normalization,
        parent=parent,
        factor=factor,
        up_v=position(keys[:, None] + place[:p]),
        up_r=position(keys + place[p]),
    )


def multi_indices(p: int, degree: int) -> Iterator[tuple[int, ...]]:
    """The multi-indices of length p with a total degree, in descending order."""
    if p == 1:
        yield (degree,)
        return
    for first in range(degree, -1, -1):
        for rest in multi_indices(p - 1, degree - first):
            yield (first, *rest)


def _normalization(alpha: tuple[int, ...], j: int, complement: float) -> float:
    k = sum(alpha) + 2 * j
    exact = factorial(k) / (prod(factorial(a) for a in alpha) * 2**j * factorial(j))
    return sqrt(exact / prod(complement + 2 * i for i in range(j)))
