"""Training a alone, with a polynomial activation, from a law of w: linear dynamics and their kernel matrix.

With sigma(u) = sum_m b_m u^m and S = |u_V|^2 + |u_perp|^2, the features of `mfpde.features.hermite.modes` are polynomials,

    phi_{alpha,j}(u) = N' sum_n b_{k+2n} (k+2n)! / (2^n n!) u_V^alpha |u_perp|^{2j} S^n,
    N' = ( alpha! 2^j j! prod_{i<j} (D+2i) )^{-1/2},   k = |alpha| + 2j <= deg sigma,

so that a' = -xi_a Psi becomes, for m_i = int a phi_i d rho and the fixed law nu of u,

    dm/dt = -xi_a K (m - h),   K_ij = int phi_i phi_j d nu,   E(t) <= E(0) exp(-2 lambda_min int_0^t xi_a)

(Theorem 4.3 and Proposition 4.4 of arXiv 2402.08948).  K comes from moments of nu in extended precision: its smallest
eigenvalues may lie far below 1e-16 of the largest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.features.hermite.modes import Modes, hermite_modes
from mfpde.moments.averaging import EXTENDED, Index, LawMoments, extended

Array = NDArray[np.float64]
Polynomial = Mapping[Index, Fraction]

# The share of an eigenvalue by which a less accurate law may change it before it is called uncertain.
CERTAIN = 0.1
# What counts as a part of a residual, relative to it.
EXCITED = 1e-10


@dataclass(frozen=True)
class Spectrum:
    """The eigen-decomposition of K.

    Attributes:
        modes: Rows of K: all modes that sigma reaches.
        matrix: K, shape (modes, modes).
        eigenvalues: Ascending, shape (modes,); below 0 only by the rounding of 32 digits.
        vectors: Orthonormal eigenvectors in the columns.
        changes: K of other computations of the law minus K, between the eigenvectors, shape (others, modes, modes).
    """

    modes: Modes
    matrix: Array
    eigenvalues: Array
    vectors: Array
    changes: Array

    @property
    def uncertainty(self) -> Array:
        """By how much the other computations change each eigenvalue, to first order, summed; nan if there was none."""
        diagonals = np.diagonal(self.changes, axis1=1, axis2=2)
        return np.abs(diagonals).sum(axis=0) if len(diagonals) else np.full(len(self.modes), np.nan)

    @property
    def certain(self) -> NDArray[np.bool_]:
        """Which eigenvalues are known to a tenth of themselves."""
        return self.uncertainty < CERTAIN * self.eigenvalues

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue; inf if the smallest is not positive."""
        return float(self.eigenvalues[-1] / self.eigenvalues[0]) if self.eigenvalues[0] > 0 else inf

    def slowest(self, residual: Array) -> int:
        """The first eigenvector that the residual m - h has a part of: by symmetry, many have none, and so never matter."""
        return int(np.argmax(np.abs(residual @ self.vectors) > EXCITED * np.linalg.norm(residual)))

    def coefficients(self, start: Array, target: Array, time: Array) -> Array:
        """The exact m at each int xi_a dt of `time`, shape (times, modes), from m = `start`."""
        decay = np.exp(-np.outer(time, np.maximum(self.eigenvalues, 0.0)))
        return target + (decay * ((start - target) @ self.vectors)) @ self.vectors.T

    def loss_uncertainty(self, start: Array, target: Array, time: Array) -> Array:
        """By how much the other computations change E at each int xi_a dt of `time`, shape (times,); nan if there was none.

        To first order in dK, with the residual r in the eigenvectors, each of them moves E(t) by

            - sum_jk r_j r_k dK_jk (exp(-2 lambda_k t) - exp(-2 lambda_j t)) / (2 (lambda_j - lambda_k)).
        """
        if not len(self.changes):
            return np.full(len(time), np.nan)
        residual, rates = (start - target) @ self.vectors, np.maximum(self.eigenvalues, 0.0)
        smaller, apart = np.minimum.outer(rates, rates), np.abs(np.subtract.outer(rates, rates))
        weights = np.outer(residual, residual) * self.changes
        found = np.empty(len(time))
        for n, t in enumerate(time):
            share = np.divide(-np.expm1(-2 * apart * t), 2 * apart, out=np.full_like(apart, t), where=apart > 0)
            found[n] = np.abs((weights * np.exp(-2 * smaller * t) * share).sum(axis=(1, 2))).sum()
        return found


def kernel_modes(p: int, degree: int, d: float, spread: bool) -> Modes:
    """The modes that a polynomial of this degree reaches; those with j > 0 only where |u_perp| > 0 at finite d."""
    return hermite_modes(p, degree, degree // 2 if spread else 0, d)


def spectrum(moments: LawMoments, activation: tuple[Fraction, ...], modes: Modes, others: Sequence[LawMoments] = ()) -> Spectrum:
    """K and its eigenvalues, in extended precision.

    Args:
        moments: Moments of the law of u, up to twice the degree of the activation.
        activation: The coefficients of sigma, ascending.
        modes: Rows of K.
        others: LawMoments of other computations of the same law, each less or more accurate in something.
    """
    features = [_feature(alpha, j, activation, modes.p) for alpha, j in _indices(modes)]
    norms = [extended(_square_norm(alpha, j, moments.complement)) for alpha, j in _indices(modes)]
    scale = [EXTENDED.sqrt(norm) for norm in norms]
    K = _gram(features, scale, moments)
    values, vectors = EXTENDED.eigsy(K)
    order = sorted(range(len(modes)), key=lambda k: values[k])
    # In extended precision, as K and another K nearly agree where the eigenvalues are tiny.
    turned = [_doubles(vectors.T * (_gram(features, scale, other) - K) * vectors)[np.ix_(order, order)] for other in others]
    return Spectrum(
        modes=modes,
        matrix=_doubles(K),
        eigenvalues=np.array([float(values[k]) for k in order]),
        vectors=_doubles(vectors)[:, order],
        changes=np.array(turned).reshape(len(turned), len(modes), len(modes)),
    )


def _indices(modes: Modes) -> list[Index]:
    return [(tuple(alpha), j) for alpha, j in zip(modes.alpha.tolist(), modes.radial.tolist(), strict=True)]


def _feature(alpha: tuple[int, ...], j: int, activation: tuple[Fraction, ...], p: int) -> Polynomial:
    """phi_{alpha,j} / N' as a polynomial in u_V and |u_perp|^2."""
    k = sum(alpha) + 2 * j
    terms: dict[Index, Fraction] = {}
    for n in range((len(activation) - 1 - k) // 2 + 1):
        factor = activation[k + 2 * n] * Fraction(factorial(k + 2 * n), 2**n * factorial(n))
        for powers in _compositions(n, p + 1):  # of v_1^2, .., v_p^2, |u_perp|^2 in S^n
            beta = tuple(a + 2 * power for a, power in zip(alpha, powers[:-1], strict=True))
            ways = factorial(n) // prod(factorial(power) for power in powers)
            key = (beta, j + powers[-1])
            terms[key] = terms.get(key, Fraction(0)) + factor * ways
    return {key: value for key, value in terms.items() if value}


def _compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    if parts == 1:
        return [(total,)]
    return [(first, *rest) for first in range(total + 1) for rest in _compositions(total - first, parts - 1)]


def _square_norm(alpha: tuple[int, ...], j: int, complement: float) -> Fraction:
    """N'^2."""
    return Fraction(1, prod(factorial(a) for a in alpha) * 2**j * factorial(j) * prod(int(complement) + 2 * i for i in range(j)))


def _gram(features: list[Polynomial], scale: list[Any], moments: LawMoments) -> Any:
    size = len(features)
    terms = [[(key, extended(value)) for key, value in feature.items()] for feature in features]
    K = EXTENDED.zeros(size)
    for i in range(size):
        for j in range(i + 1):
            total = EXTENDED.mpf(0)
            for (beta, k), x in terms[i]:
                for (gamma, other), y in terms[j]:
                    total += x * y * moments.values[tuple(a + b for a, b in zip(beta, gamma, strict=True)), k + other]
            K[i, j] = K[j, i] = scale[i] * scale[j] * total
    return K


def _doubles(matrix: Any) -> Array:
    return np.array(matrix.tolist(), dtype=np.float64).reshape(matrix.rows, matrix.cols)


def direction(spectrum: Spectrum, k: int, most: int = 6) -> str:
    """Eigenvector k as a polynomial in he_alpha(z), its largest terms first, e.g. "+0.96 he(0,2) -0.28 he(1,1)"."""
    vector = spectrum.vectors[:, k]
    vector = vector * np.sign(vector[np.abs(vector).argmax()])
    order = [i for i in np.argsort(-np.abs(vector), kind="stable")[:most] if abs(vector[i]) > 0.005]
    return " ".join(f"{vector[i]:+.2f} {_name(spectrum.modes, i)}" for i in order)


def _name(modes: Modes, i: int) -> str:
    radial = f" |y|^{2 * modes.radial[i]}" if modes.radial[i] else ""
    return f"he({','.join(map(str, modes.alpha[i].tolist()))}){radial}"
