"""Closed forms that references are held to: a quadratic network's equations, kernels of erf and ReLU, and the normal law."""

import numpy as np
from scipy.integrate import solve_ivp


def quadratic_matrix(problem):  # type: ignore[no-untyped-def]
    """B (p, p) and c with h*(z) = z^T B z + c, from the Hermite coefficients: he_2 = (z^2 - 1) / sqrt 2."""
    p = problem.p
    B, c = np.zeros((p, p)), 0.0
    for alpha, value in zip(problem.target.alpha, problem.target.coefficients, strict=True):
        axes = np.repeat(np.arange(p), alpha)
        assert len(axes) in (0, 2)
        if not len(axes):
            c += value
        elif axes[0] == axes[1]:
            B[axes[0], axes[0]] += value / np.sqrt(2)
            c -= value / np.sqrt(2)
        else:
            B[axes[0], axes[1]] = B[axes[1], axes[0]] = value / 2
    return B, c


def quadratic_loss(problem, times, start=None):  # type: ignore[no-untyped-def]
    """E(t) for sigma(u) = u^2, a = +-1 fixed (xi_a = 0, xi_w constant), from the second moments alone.

    With C+- = E[w w^T | a = +-1], f = x^T A x, A = (C+ - C-) / 2, and Q = A - B:
        Psi = 2 w^T Q w + (tr Q - c) |w|^2,   w' = -xi_w a H w,   H = 4 Q + 2 (tr Q - c),
        C+-' = -+ xi_w (H C+- + C+- H),       E = tr Q^2 + (tr Q - c)^2 / 2.
    On V-perp all matrices are multiples of the identity.

    Args:
        problem: The network; p, d and the target.
        times: Where E is wanted.
        start: C+ and C- (full matrices); I / d if not given.
    """
    B, c = quadratic_matrix(problem)
    if start is None:
        start = np.array([np.eye(int(problem.d)) / problem.d] * 2)
    d = start.shape[1]
    full = np.zeros((d, d))
    full[: problem.p, : problem.p] = B
    xi = problem.stages[0].xi_w.constant

    def residual(C):  # type: ignore[no-untyped-def]
        Q = (C[0] - C[1]) / 2 - full
        return Q, np.trace(Q) - c

    def rates(t, y):  # type: ignore[no-untyped-def]
        C = y.reshape(2, d, d)
        Q, excess = residual(C)
        H = 4 * Q + 2 * excess * np.eye(d)
        return (-xi * np.array([[[1.0]], [[-1.0]]]) * (H @ C + C @ H)).ravel()

    solution = solve_ivp(rates, (0, times[-1]), start.ravel(), "DOP853", times, rtol=1e-12, atol=1e-12)
    parts = [residual(y.reshape(2, d, d)) for y in solution.y.T]
    return np.array([np.trace(Q @ Q) + excess**2 / 2 for Q, excess in parts])


def erf_loss(a, w):  # type: ignore[no-untyped-def]
    """E for f = mean_i a_i erf(w_i.x) and f* = x_1: kernel (2/pi) asin(2 w.w' / sqrt((1 + 2|w|^2)(1 + 2|w'|^2))), and
    E[x_1 erf(w.x)] = 2 w_1 / sqrt(pi (1 + 2|w|^2))."""
    norm = 1 + 2 * (w**2).sum(axis=1)
    kernel = 2 / np.pi * np.arcsin(2 * w @ w.T / np.sqrt(np.outer(norm, norm)))
    towards = 2 * w[:, 0] / np.sqrt(np.pi * norm)
    n = len(a)
    return 0.5 * (a @ kernel @ a / n**2 - 2 * a @ towards / n + 1)


def relu_kernel(w, other):  # type: ignore[no-untyped-def]
    """E[relu(w.x) relu(w'.x)] = |w||w'| (sin t + (pi - t) cos t) / (2 pi), t the angle: the arc-cosine kernel."""
    size = np.linalg.norm(w) * np.linalg.norm(other)
    angle = np.arccos(w @ other / size)
    return size * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)


def gaussian_density(x: np.ndarray) -> np.ndarray:
    """Of N(0, 1)."""
    return np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)


def gaussian_rule(reach: float, panels: int, n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of N(0, 1) on [-reach, reach]: n Gauss-Legendre points in each panel."""
    x, w = np.polynomial.legendre.leggauss(n)
    edges = np.linspace(-reach, reach, panels + 1)
    points = (edges[:-1, None] + (edges[1] - edges[0]) * (x + 1) / 2).ravel()
    return points, np.tile(w, panels) * (edges[1] - edges[0]) / 2 * gaussian_density(points)
