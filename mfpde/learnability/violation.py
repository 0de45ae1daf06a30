"""The reflective property by quadrature, from Definition 3.3 itself and not from the theorems of `reflective`.

    max over random (u, v) of |E_z[h*(z) sigma'(u + v.z_U) z_S]|

Conditional on g = v.z_U / |v|, the average of h* z_S is a polynomial sum_k f_k he_k(g), found by tensor Gauss-Hermite
points; what remains is one integral over g, on Gauss-Legendre panels split at the kinks of sigma, in which the derivative
is moved to the polynomial:

    E[he_k(G) sigma'(u + s G)] = sqrt(k + 1) / s E[he_{k+1}(G) sigma(u + s G)].
"""

from dataclasses import dataclass
from itertools import product
from math import factorial, sqrt

import numpy as np
from numpy.polynomial.hermite_e import hermegauss, hermeval
from numpy.typing import NDArray

from mfpde.learnability.polynomials import Polynomial, degree, raw_monomials, squared_norm
from mfpde.learnability.subspaces import Span, orthonormal_basis
from mfpde.problem.activation import Activation

Array = NDArray[np.float64]
REACH = 12.0
# Grid points of all samples together: some seconds.
LARGEST_GRID = 4_000_000


@dataclass(frozen=True)
class QuadratureCheck:
    """Largest averages over the samples, relative to |h*| and to max_k |E[he_k(G) sigma'(u + s G)]|.

    Attributes:
        samples: How many (u, v); 0 if the grid would have been too large.
        reflective: Size of the components in S: round-off, if h* is reflective.
        learned: Size of the components in U, for comparison.
    """

    samples: int
    reflective: float
    learned: float


def quadrature_check(
    q: Polynomial, learned: Span, reflective: Span, activation: Activation, *, shift: bool, samples: int = 24, seed: int = 0
) -> QuadratureCheck:
    """Samples the defining averages.

    Args:
        q: Heat transform of h*.
        learned, reflective: U and S; h* depends on U + S only.
        activation: sigma, not constant.
        shift: Whether u is a number, as in Definition 3.3, or u = r G with an independent G ~ N(0, 1) (no bias).
        samples: How many random (u, v) or (r, v).
        seed: Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    u_basis, s_basis = orthonormal_basis(learned), orthonormal_basis(reflective)
    m = len(u_basis)
    # Points of the tensor grid: a few thousand for p = 3.
    points = (degree(q) + 2) ** (m + len(s_basis) + (not shift))
    samples = min(samples, LARGEST_GRID // points)
    h = raw_monomials(q)
    norm = sqrt(float(squared_norm(q))) or 1.0
    worst = np.zeros(2)
    for _ in range(samples):
        u = rng.standard_normal() if shift else 0.0
        v, r = rng.standard_normal(m), 0.0 if shift else abs(rng.standard_normal())
        # Coordinates of (z_U, G): the first along (v, r), the others across.
        direction = np.append(v, r)
        s = float(np.linalg.norm(direction))
        if s == 0:  # U = {0} with a shift: sigma'(u) E[h* z]
            frame, weights = np.eye(m + 1), np.ones(1)
        else:
            frame = np.linalg.qr(np.column_stack((direction, np.eye(m + 1))))[0]
            frame[:, 0] = direction / s
            weights = _pairings(activation, u, s, degree(q) + 1)
        f = _conditional(h, degree(q), frame[:m].T @ u_basis, s_basis, np.vstack((u_basis, s_basis)))
        average = weights @ f[: len(weights)] / (norm * (np.abs(weights).max() or 1.0))
        worst = np.maximum(worst, [np.abs(average[m:]).max(initial=0.0), np.abs(average[:m]).max(initial=0.0)])
    return QuadratureCheck(samples, float(worst[0]), float(worst[1]))


def _conditional(h: Polynomial, top: int, frame: Array, s_basis: Array, outputs: Array) -> Array:
    """f_k = E[h z_out he_k(g)] for k = 0..top + 1, shape (top + 2, outputs).

    Args:
        h: Raw monomials.
        top: Its degree.
        frame: Rows e_i so that z_U = sum_i y_i e_i, y_1 = g, shape (m + 1, p).
        s_basis: Rows of S.
        outputs: Rows b of the components b.z, shape (outputs, p).
    """
    nodes, w = hermegauss(top + 2)
    w = w / w.sum()
    axes = np.vstack((frame, s_basis))
    used = [0, *(i for i in range(1, len(axes)) if np.abs(axes[i]).max() > 0)]
    grid = np.array(list(product(range(len(nodes)), repeat=len(used)))).reshape(-1, len(used))
    y, weight = nodes[grid], w[grid].prod(axis=1)
    z = y @ axes[used]
    value = sum(float(c) * np.prod(z ** np.array(a), axis=1) for a, c in h.items()) * weight
    he = np.array([hermeval(y[:, 0], [0] * k + [1]) / sqrt(factorial(k)) for k in range(top + 2)])
    return np.asarray((he * value) @ (z @ outputs.T))


def _pairings(activation: Activation, u: float, s: float, top: int) -> Array:
    """E[he_k(G) sigma'(u + s G)] for k = 0..top, shape (top + 1,)."""
    x, w = np.polynomial.legendre.leggauss(20)
    kinks = [(kink - u) / s for kink in activation.kinks]
    edges = np.unique([*np.linspace(-REACH, REACH, 193), *(k for k in kinks if abs(k) < REACH)])
    half = np.diff(edges)[:, None] / 2
    g = (edges[:-1, None] + half * (1 + x)).ravel()
    value = activation(u + s * g) * (half * w).ravel() * np.exp(-0.5 * g * g) / sqrt(2 * np.pi)
    he = [hermeval(g, [0] * (k + 1) + [1]) / sqrt(factorial(k + 1)) * sqrt(k + 1) / s for k in range(top + 1)]
    return np.asarray(he) @ value
