"""Prediction meets dynamics: what the algebra of `learnability` says, beside what the solver does.

At d = infinity all neurons of one label (a_0, r_0) sit at one point v, the flow cannot leave U, and the loss tends to
its bound.  At finite d they start at distance d^(-1/2) from U.  As long as they are near, their distance x to U obeys

    x' = xi_w a Hess_S F(v, r) x,      F = -Psi at d = infinity,                                             (1)

and they leave when d^(-1/2) exp(Lambda(t)) is of order 1, with Lambda the integral of the largest eigenvalue lambda of
xi_w a Hess_S F: t grows like log d / (2 lambda).  The loss changes by -sum_labels weight a (F(v + x) - F(v)), to leading order
by -1/2 sum weight x.(a Hess_S F) x, so that for a distribution of labels it departs in proportion to

    D(t) / d,      D(t) = sum_labels weight lambda exp(2 Lambda),                                                  (2)

and all departure times follow from one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisations import start_flow
from mfpde.evolution.drift import drift
from mfpde.evolution.flow import DensityFlow, Recording, Step, loss, packed
from mfpde.neurons import Cloud, Nodes, Rates
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FollowedLabels:
    """The neurons of every label at d = infinity.

    Attributes:
        times: Shape (n,).
        loss: E, shape (n,).
        v: Shape (n, labels, p).
        rate: The largest eigenvalue of (1) per label, shape (n, labels).
        weight: Shape (labels,).
    """

    times: Array
    loss: Array
    v: Array
    rate: Array
    weight: Array


def follow_labels(
    comm: MPI.Intracomm, problem: Problem, discretization: Discretization, times: Sequence[float], across: Array
) -> FollowedLabels:
    """The neurons at d = infinity and their rates (1) across U.

    Args:
        comm: One rank: every label is needed in one place.
        problem: With d = inf.
        discretization: Its Hermite degree, labels and tolerance are used.
        times: Ascending, from 0.
        across: Orthonormal rows of S, shape (dim S, p).
    """
    flow = start_flow(comm, problem, discretization)
    found: list[tuple[float, Array, Array]] = []

    def record(step: Step, vector: Array) -> None:
        now, moments = flow.nodes(vector), flow.moments(vector, step.time)
        rate = _rates(flow, now, flow.stage.residual(moments, flow.target), step.time, across)
        found.append((float(loss(moments, flow.target, flow.beyond)), now.v.T.copy(), rate))

    weight = flow.nodes(packed(flow)).weight
    flow.follow(times, problem.numbers(discretization).tolerance, Recording(record))
    losses, v, rate = (np.array(part) for part in zip(*found, strict=True))
    return FollowedLabels(np.array(times), losses, v, rate, weight)


def _rates(flow: DensityFlow, now: Nodes, residual: Array, time: float, across: Array) -> Array:
    """The largest eigenvalue of the derivative of the velocity v' on S (without terms xi_w a Hess_S F) per label, by central
    differences, shape (labels,)."""
    (p, n), m = now.v.shape, len(across)
    if not m:
        return np.zeros(n)
    step = STEP * np.hstack((across.T, -across.T))
    nodes = step.shape[1]
    v = np.ascontiguousarray(now.v.T[:, :, None] + step)
    a, r = (np.ascontiguousarray(np.broadcast_to(x[:, None], (n, nodes))) for x in (now.a, now.r))
    dv = np.empty((n, p, nodes))
    b = None if now.b is None else np.ascontiguousarray(np.broadcast_to(now.b[:, None], (n, nodes)))
    drift(flow.stage, flow.features, Cloud(a, v, r, b, weight=np.ones(nodes)), residual, time, Rates(None, dv, None))
    slope = np.einsum("sp,npj->nsj", across, dv[:, :, :m] - dv[:, :, m:]) / (2 * STEP)
    return np.asarray(np.linalg.eigvalsh((slope + slope.transpose(0, 2, 1)) / 2)[:, -1])


def departure(labels: FollowedLabels) -> Array:
    """log D(t) of (2) at the times of `labels`, shape (n,); -inf where no label moves away from U."""
    step = np.diff(labels.times)[:, None]
    growth = np.vstack((np.zeros(labels.rate.shape[1]), np.cumsum(step * (labels.rate[1:] + labels.rate[:-1]) / 2, axis=0)))
    size = np.maximum(labels.rate, 0.0) * np.exp(2 * growth)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(size @ labels.weight))


def predicted_times(labels: FollowedLabels, dimensions: Sequence[float], reference: int, time: float) -> Array:
    """Departure times at all d from that at `dimensions[reference]`, by (2)."""
    log_d = departure(labels)
    rising = np.flatnonzero(np.isfinite(log_d))
    level = np.interp(time, labels.times[rising], log_d[rising]) - np.log(dimensions[reference])
    return np.asarray(np.interp(level + np.log(dimensions), log_d[rising], labels.times[rising]))


def departure_time(times: Array, loss: Array, limit: Array, drop: float) -> float:
    """The first time at which `loss` is `drop` below `limit`, both at `times`; nan if there is none."""
    excess = limit - loss - drop
    after = np.flatnonzero(excess > 0)
    if not len(after):
        return float("nan")
    k = int(after[0])
    return float(times[0]) if k == 0 else float(np.interp(0.0, excess[k - 1 : k + 1], times[k - 1 : k + 1]))


# Displacement for differences of the velocity: rounding and truncation errors are both near 1e-10.
STEP = 1e-4
