"""Reduced particles at Gauss nodes: neurons (a, v, r) moved by the exact population gradient through the Hermite modes.

The mean-field flow without a mesh (`mfpde.evolution.lagrangian`), at the same Hermite truncation as the finite-element
solver, so that the difference is that solver's own error.  Particles are divided over the ranks; the moments are the one
reduction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.evolution.flow import Recording, Step
from mfpde.evolution.lagrangian import LagrangianFlow, contributions
from mfpde.features.protocol import Features
from mfpde.neurons import Nodes
from mfpde.parallel import share
from mfpde.particles.network import Row, penalties
from mfpde.particles.sampling import PANEL_POINTS, gauss_axes, gauss_particles, normal_rule
from mfpde.problem.problem import Problem
from mfpde.quadrature.labels import Labels
from mfpde.quadrature.rules import Rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GaussRun:
    """A run at Gauss nodes.

    Attributes:
        flow: Flow of the nodes.
        end: This rank's unknowns at the end.
        records: Time, loss and moments at each record time, and with terms that regularise the penalty.
        neglected: Size of the first term that a single Gauss-Hermite rule of v neglects in the moments at the end,
            relative to them; 0 for panels.
        steps: Steps of the integration.
    """

    flow: LagrangianFlow
    end: Array
    records: list[Row]
    neglected: float
    steps: int


def run_gauss(
    problem: Problem, labels: Labels, features: Features, times: Sequence[float], v_rule: Rule, tolerance: float
) -> GaussRun:
    """Collective. Moves the product Gauss nodes `gauss_axes` of the initial law, divided over the ranks.

    Args:
        problem: What to solve.
        labels: The nodes of a and r.
        features: The Hermite truncation, over all ranks.
        times: Record times, ascending.
        v_rule: Nodes of each component of sqrt(d) v_0 (ignored at a point start), see `normal_rule`.
        tolerance: Tolerance of a step.

    Raises:
        RunError: On all ranks, if the integration fails.
    """
    axes = gauss_axes(problem, labels, v_rule)
    first, last = share(features.comm, int(np.prod([len(rule) for rule in axes])))
    flow = LagrangianFlow(problem, features, gauss_particles(problem, labels, v_rule, first, last))
    records: list[Row] = []
    end = np.empty(flow.size)

    def record(step: Step, vector: Array) -> None:
        value, moments = flow.measure(vector, step.time)
        records.append((step.time, value, moments, *penalties(flow.stage, lambda: flow.penalty(vector))))
        end[...] = vector

    steps = flow.follow(times, tolerance, Recording(record)).steps
    return GaussRun(flow, end, records, _neglected(features, flow.nodes(end), axes, first), steps)


def choose_v_rule(
    problem: Problem, labels: Labels, features: Features, times: Sequence[float], points: int, tolerance: float
) -> Rule:
    """Collective. The rule of each component of sqrt(d) v_0 with about `points` nodes.

    One Gauss-Hermite rule is best below SLOW nodes whatever it leaves, and above them while it converges fast: a trial
    run with SLOW / 2 of them says so, by a neglected term below the tolerance.  Otherwise panels, and for more than
    MANY nodes, where Hermite polynomials overflow.
    """
    if points < SLOW or problem.w.is_point:
        return normal_rule(1, points)
    if points > MANY:
        return normal_rule(points // PANEL_POINTS, PANEL_POINTS)
    trial = run_gauss(problem, labels, features, times, normal_rule(1, SLOW // 2), tolerance)
    return normal_rule(1, points) if trial.neglected <= tolerance else normal_rule(points // PANEL_POINTS, PANEL_POINTS)


# Measured on h* = z1 + z1^2/2 and z1 + z1 z2 with d from 10 to 10^4: from here on panels beat a rule that converges slowly.
SLOW, MANY = 48, 128


def _neglected(features: Features, nodes: Nodes, axes: list[Rule], first: int) -> float:
    """Collective. The largest |m_{n-1}|^2 / |m_0|^2 over the directions of v, m_j the moments' coefficient of he_j(y_q).

    A Gauss rule of n nodes errs like the coefficient 2 n, and coefficients fall geometrically (as in `indicators`).
    """
    values = contributions(features, nodes) * nodes.weight[:, None]
    index = np.unravel_index(np.arange(first, first + len(values)), tuple(len(rule) for rule in axes))
    most = 0.0
    for rule, along in list(zip(axes, index, strict=True))[-len(nodes.v) :]:
        if len(rule.counts) > 1 or len(rule) < 3:
            continue
        by_node = np.zeros((len(rule), values.shape[1]))
        np.add.at(by_node, along, values)
        features.comm.Allreduce(MPI.IN_PLACE, by_node)
        size = np.linalg.norm(rule.polynomials[0].T @ by_node, axis=1)
        # Every second one may vanish by parity: look at two.
        most = max(most, float(size[-2:].max() ** 2 / (size**2).sum()))
    return most
