"""Reduced particles: neurons (a, v, r) moved by the exact population gradient through the Hermite modes.

    a' = -xi_a Psi,   v' = -xi_w a grad_v Psi,   r' = -xi_w a dPsi/dr,   m_i = sum_n w_n a_n phi_i(v_n, r_n)

The mean-field flow of DESIGN, section 2, without a mesh: at the same Hermite truncation as the finite-element solver, so
that the difference is that solver's own error.  Particles are divided over the ranks; the moments are the one reduction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.evolution.dop853 import integrate
from mfpde.features.features import Features, Neurons
from mfpde.particles.sampling import PANEL_POINTS, Particles, gauss_axes, gauss_particles, normal_rule, scale_of_v, share, spread
from mfpde.problem.initial import Rule
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]


class ParticleFlow:
    """The flow of this rank's particles; its unknowns are (a, v, r), flattened. Collective to evaluate.

    Args:
        problem: What to solve; the same on all ranks.
        features: The Hermite truncation, over all ranks.
        particles: This rank's particles.
    """

    def __init__(self, problem: Problem, features: Features, particles: Particles) -> None:
        self.comm = features.comm
        self.problem = problem
        self.features = features
        self.target = features.modes.target_coefficients(problem.target)
        self.weight = particles.weight
        self.start = np.concatenate((particles.a, particles.v.ravel(), particles.r))
        n, p = len(particles.a), problem.p
        self.scale = np.ones(len(self.start))
        self.scale[n : n + p * n] = scale_of_v(problem) or 1.0
        self._ones, self._frame = np.ones((1, n)), (np.zeros((1, p)), np.eye(p)[None])

    def particles(self, theta: Array) -> Particles:
        """Views of the unknowns."""
        n, p = len(self.weight), self.problem.p
        return Particles(theta[:n], theta[n : n + p * n].reshape(p, n), theta[n + p * n :], self.weight)

    def moments(self, theta: Array) -> Array:
        """Collective. m_i over all ranks, shape (modes,)."""
        return self.features.moments(self._neurons(theta), np.ones(1))[0]

    def measure(self, theta: Array) -> tuple[float, Array]:
        """Collective. The loss and the moments."""
        m = self.moments(theta)
        return 0.5 * float(((m - self.target) ** 2).sum()), m

    def rates(self, time: float, theta: Array) -> Array:
        """Collective. The time derivative of the unknowns."""
        residual = self.moments(theta) - self.target
        out = np.empty_like(theta)
        rate = self.particles(out)
        xi = self.problem.xi_a(time), self.problem.xi_w(time)
        self.features.velocities(self._neurons(theta), residual, xi, (rate.a[None], rate.v[None], rate.r[None]))
        return out

    def _neurons(self, theta: Array) -> Neurons:
        now = self.particles(theta)
        return Neurons(now.v, self.weight, *self._frame, self._ones, now.a[None], now.r[None])

    def contributions(self, theta: Array) -> Array:
        """Collective. a_n phi_i(v_n, r_n) of this rank's particles, shape (n, modes)."""
        now, n, p = self.particles(theta), len(self.weight), self.problem.p
        place = (np.ascontiguousarray(now.v.T), np.zeros((n, p, p)))
        one = Neurons(np.zeros((p, 1)), np.ones(1), *place, np.ones((n, 1)), now.a[:, None], now.r[:, None])
        return self.features.moments(one, np.zeros(n))[1]


@dataclass(frozen=True)
class GaussRun:
    """A run at Gauss nodes.

    Attributes:
        flow: Of the nodes.
        end: This rank's unknowns at the end.
        records: Time, loss and moments at each record time.
        neglected: Size of the first term that a single Gauss-Hermite rule of v neglects in the moments at the end,
            relative to them; 0 for panels.
        steps: Of the integration.
    """

    flow: ParticleFlow
    end: Array
    records: list[tuple[float, float, Array]]
    neglected: float
    steps: int


def run_gauss(problem: Problem, features: Features, times: Sequence[float], v_rule: Rule, tolerance: float) -> GaussRun:
    """Collective. Moves the product Gauss nodes `gauss_axes` of the initial law, divided over the ranks.

    Args:
        problem: What to solve; its rules of a and r are the nodes in these directions.
        features: The Hermite truncation, over all ranks.
        times: Record times, ascending.
        v_rule: Nodes of each component of sqrt(d) v_0 (ignored at a point start), see `normal_rule`.
        tolerance: Of a step.

    Raises:
        RunError: On all ranks, if the integration fails.
    """
    axes = gauss_axes(problem, v_rule)
    count, comm = int(np.prod([len(rule.nodes) for rule in axes])), features.comm
    first, last = share(comm, count)
    flow = ParticleFlow(problem, features, gauss_particles(problem, v_rule, first, last))
    records: list[tuple[float, float, Array]] = []
    end = flow.start

    def record(time: float, theta: Array) -> None:
        nonlocal end
        records.append((time, *flow.measure(theta)))
        end = theta

    steps = integrate(flow, times, tolerance, record)
    return GaussRun(flow, end, records, _neglected(flow, end, axes, first), steps)


def choose_v_rule(problem: Problem, features: Features, times: Sequence[float], points: int, tolerance: float) -> Rule:
    """Collective. The rule of each component of sqrt(d) v_0 with about `points` nodes.

    One Gauss-Hermite rule is best below SLOW nodes whatever it leaves, and above them while it converges fast: a trial
    run with SLOW / 2 of them says so, by a neglected term below the tolerance.  Otherwise panels, and for more than
    MANY nodes, where Hermite polynomials overflow.
    """
    if points < SLOW or not spread(problem):
        return normal_rule(1, points)
    if points > MANY:
        return normal_rule(points // PANEL_POINTS, PANEL_POINTS)
    trial = run_gauss(problem, features, times, normal_rule(1, SLOW // 2), tolerance)
    return normal_rule(1, points) if trial.neglected <= tolerance else normal_rule(points // PANEL_POINTS, PANEL_POINTS)


# Measured on h* = z1 + z1^2/2 and z1 + z1 z2 with d from 10 to 10^4: from here on panels beat a rule that converges slowly.
SLOW, MANY = 48, 128


def _neglected(flow: ParticleFlow, theta: Array, axes: list[Rule], first: int) -> float:
    """Collective. The largest |m_{n-1}|^2 / |m_0|^2 over the directions of v, m_j the moments' coefficient of he_j(y_q).

    A Gauss rule of n nodes errs like the coefficient 2 n, and coefficients fall geometrically (as in `indicators`).
    """
    shape, modes = tuple(len(rule.nodes) for rule in axes), len(flow.features.modes)
    values = flow.contributions(theta) * flow.weight[:, None]
    index = np.unravel_index(np.arange(first, first + len(values)), shape)
    share = 0.0
    for rule, along in list(zip(axes, index, strict=True))[2:]:
        if not rule.polynomials.size or len(rule.nodes) < 3:
            continue
        by_node = np.zeros((len(rule.nodes), modes))
        np.add.at(by_node, along, values)
        flow.comm.Allreduce(MPI.IN_PLACE, by_node)
        size = np.linalg.norm(rule.polynomials.T @ by_node, axis=1)
        # Every second one may vanish by parity: look at two.
        share = max(share, float(size[-2:].max() ** 2 / (size**2).sum()))
    return share
