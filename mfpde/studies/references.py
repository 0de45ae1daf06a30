"""The characteristic solution: neurons at product Gauss nodes of the initial law, moved by the exact flow.

    a' = -xi_a Psi,   v' = -xi_w a grad_v Psi,   r' = -xi_w a dPsi/dr,   m_i = sum_n w_n a_n phi_i(v_n, r_n)

at the same Hermite truncation as the finite-element solver, so that the difference is that solver's own error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import RunError
from mfpde.features.features import Features, Neurons
from mfpde.features.modes import Modes
from mfpde.problem.initial import Rule
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Loss and coefficients at the record times: times (n,), loss (n,), coefficients (n, modes)."""

    times: Array
    loss: Array
    coefficients: Array


def normal_rule(panels: int, points: int, reach: float = 8.0) -> Rule:
    """Composite Gauss-Legendre rule of N(0, 1) on |y| <= `reach`, `points` a panel; one panel: Gauss-Hermite.

    A single Gauss-Hermite rule converges fastest while the flow map is close to linear in y (large d); panels stay
    accurate where it saturates (d ~ 10).
    """
    if panels == 1:
        y, w = np.polynomial.hermite_e.hermegauss(points)
        return Rule(y, w / w.sum(), np.empty((0, 0)))
    x, w = np.polynomial.legendre.leggauss(points)
    width = 2 * reach / panels
    left = -reach + width * np.arange(panels)[:, None]
    y = (left + width * (x + 1) / 2).ravel()
    weight = np.tile(w, panels) * np.exp(-0.5 * y * y)
    return Rule(y, weight / weight.sum(), np.empty((0, 0)))


def characteristics(problem: Problem, modes: Modes, times: Sequence[float], v_rule: Rule, tolerance: float = 1e-11) -> Curve:
    """The loss along characteristics, integrated by an explicit Runge-Kutta method of order 8, on one rank.

    Args:
        problem: What to solve; its rules of a and r are the nodes in these directions.
        modes: The Hermite truncation.
        times: Record times, ascending, from 0.
        v_rule: Nodes of each component of sqrt(d) v_0 (ignored at a point start), see `normal_rule`.
        tolerance: Of a step, absolute and relative.

    Raises:
        RunError: If the integration fails.
    """
    from scipy.integrate import solve_ivp

    p, target = problem.p, modes.target_coefficients(problem.target)
    a, v, r, weight = _initial(problem, v_rule)
    n = len(a)
    features = Features(MPI.COMM_SELF, modes, problem.activation)
    ones, identity, origin = np.ones((1, n)), np.eye(p)[None], np.zeros((1, p))

    def neurons(theta: Array) -> Neurons:
        a, v, r = theta[:n], theta[n : n + p * n].reshape(p, n), theta[n + p * n :]
        return Neurons(v, weight, origin, identity, ones, a[None], r[None])

    def moments(theta: Array) -> Array:
        return features.moments(neurons(theta), np.ones(1))[0]

    def rates(t: float, theta: Array) -> Array:
        out = np.empty_like(theta)
        da, dv, dr = out[:n][None], out[n : n + p * n].reshape(1, p, n), out[n + p * n :][None]
        features.velocities(neurons(theta), moments(theta) - target, (problem.xi_a(t), problem.xi_w(t)), (da, dv, dr))
        return out

    start = np.concatenate((a, v.ravel(), r))
    solution = solve_ivp(rates, (0.0, times[-1]), start, "DOP853", times, rtol=tolerance, atol=tolerance)
    if not solution.success:
        raise RunError(f"the characteristic solution stopped: {solution.message}")
    coefficients = np.array([moments(theta) for theta in np.ascontiguousarray(solution.y.T)])
    return Curve(solution.t, 0.5 * ((coefficients - target) ** 2).sum(axis=1), coefficients)


def _initial(problem: Problem, v_rule: Rule) -> tuple[Array, Array, Array, Array]:
    """Product nodes a (n), v (p, n), r (n) and their weights (n)."""
    spread = problem.d != inf and problem.w == "gaussian"
    y, wy = (v_rule.nodes / sqrt(problem.d), v_rule.weights) if spread else (np.zeros(1), np.ones(1))
    axes = [
        (problem.a_rule.nodes, problem.a_rule.weights),
        (problem.r_rule.nodes, problem.r_rule.weights),
        *[(y, wy)] * problem.p,
    ]
    grids = [x.ravel() for x in np.meshgrid(*(nodes for nodes, _ in axes), indexing="ij")]
    weight = np.prod([w.ravel() for w in np.meshgrid(*(weights for _, weights in axes), indexing="ij")], axis=0)
    return grids[0], np.array(grids[2:]), grids[1], weight
