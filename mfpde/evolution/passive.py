"""Neurons of no mass in a known mean field: any point of the initial law, followed after the run.

    v' = -xi_w A grad_v Psi(v, R),   A' = -xi_a Psi(v, R),   R' = -xi_w A dPsi/dr(v, R),   Psi = sum_i (m_i(t) - h_i) phi_i
    (log D)' = -xi_w A (Laplace_v Psi + d^2 Psi / dr^2)(v, R),    D = det d(A, X, R) / d(a_0, v_0, r_0)           (F3)

and with biases B' = -xi_b A dPsi/db, (log D)' = .. - xi_b A d^2 Psi / db^2, D that of (A, X, R, B).

The moments that couple neurons to one another are known, so every point is on its own: in blocks that fit a processor's
cache, on any rank.  Time steps are those of the run, several at a time where that is accurate enough, by the Runge-Kutta
method of order 8 of Dormand and Prince; each stage of a training has its activation and its learning rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.integrate import DOP853

from mfpde.errors import RunError
from mfpde.evolution.drift import divergence, drift
from mfpde.evolution.mean_field import MeanField
from mfpde.features.protocol import Basis, Features
from mfpde.neurons import Cloud, Nodes, Rates, on_sphere
from mfpde.problem.inner import InnerLaw
from mfpde.problem.problem import Problem
from mfpde.problem.stage import Stage
from mfpde.quadrature.rules import Rule, outer

Array = NDArray[np.float64]

# Points in a block: twelve stages of a step stay in the second-level cache.
BLOCK = 4096
# Share of a step that its ends are shunned by.
INSIDE = 1e-12
_A, _B, _C = DOP853.A, DOP853.B, DOP853.C


@dataclass(frozen=True)
class Leg:
    """One time step and its coefficients, the same for all points.

    Attributes:
        stage: Stage of the training.
        features: Features of its activation.
        time, length: Start and length of the step, `time` since the start of the stage.
        times: Those of the method's twelve stages, or more, since the start of the stage; at an end the limit from inside.
        residual: Residual of the trained loss, m - h, there, shape (times, modes).
        reset: Whether a starts again at 0 before the step.
    """

    stage: Stage
    features: Features
    time: float
    length: float
    times: Array
    residual: Array
    reset: bool = False

    @classmethod
    def of(
        cls, stage: Stage, features: Features, field: MeanField, target: Array, low: float, high: float, places: Array
    ) -> "Leg":
        """The step from `low` to `high`, in training time, with the method's stages at `places` in [0, 1]."""
        length = high - low
        # Where a step ends or a rate breaks, the limits from inside.
        times = low + np.clip(places, INSIDE, 1 - INSIDE) * length
        residual = np.array([stage.residual(field(t, t), target) for t in times])
        return cls(stage, features, low - stage.start, length, times - stage.start, residual)


class Passive:
    """Follows points of the initial law through the stages that have a density.

    Args:
        problem: With its stages.
        modes: Modes of the run.
        field: m(t).
        end: Up to when.
        together: How many of the run's time steps make one here.
        stops: Times at which `along` gives the state, ascending; `end` if not given.
    """

    def __init__(
        self, problem: Problem, modes: Basis, field: MeanField, end: float, together: int = 1, stops: Sequence[float] = ()
    ) -> None:
        self.problem, self.modes, self.together = problem, modes, together
        self.stops = tuple(stops) or (end,)
        self.legs: list[list[Leg]] = []
        target = modes.target_coefficients(problem.target)
        features: dict[str, Features] = {}
        before = 0.0
        for stop in self.stops:
            legs: list[Leg] = []
            for stage in problem.stages:
                start, finish = max(before, stage.start), min(stop, stage.start + stage.duration)
                if finish <= start:
                    continue
                if stage.activation.text not in features:
                    features[stage.activation.text] = modes.features(MPI.COMM_SELF, problem, stage.activation)
                knots = field.knots(start, finish)
                for k, (low, high) in enumerate(pairwise(_ends(knots, together, stage))):
                    ends = knots[low], knots[high]
                    leg = Leg.of(stage, features[stage.activation.text], field, target, *ends, _C[: len(_B)])
                    resets = k == 0 and stage.reset_a and start == stage.start
                    legs.append(replace(leg, reset=True) if resets else leg)
            self.legs.append(legs)
            before = stop

    def __call__(self, start: Nodes) -> Nodes:
        """The points at the last stop."""
        return self.along(start)[-1]

    def along(self, start: Nodes) -> list[Nodes]:
        """The points at every stop."""
        p, n = start.v.shape
        begin = stacked(start)
        out = [np.empty(begin.shape) for _ in self.stops]
        for first in range(0, n, BLOCK):
            part = slice(first, min(first + BLOCK, n))
            state = np.ascontiguousarray(begin[:, part])
            for legs, place in zip(self.legs, out, strict=True):
                for leg in legs:
                    state = step(leg, state, p)[0]
                place[:, part] = state
                if self.problem.stages[0].on_sphere:
                    place[1 : p + 1, part], place[p + 1, part] = on_sphere(state[1 : p + 1], state[p + 1])
        return [nodes_of(z, p, start.weight) for z in out]


def stacked(nodes: Nodes) -> Array:
    """(A, X, R), and with biases B, as rows, shape (p + 2 or p + 3, n)."""
    biases = () if nodes.b is None else (nodes.b[None],)
    return np.concatenate((nodes.a[None], nodes.v, nodes.r[None], *biases))


def nodes_of(rows: Array, p: int, weight: Array | None = None) -> Nodes:
    """The nodes of rows as `stacked` gives them; of weight 1 if nothing is said."""
    return Nodes(rows[0], rows[1 : p + 1], rows[p + 1], np.ones(rows.shape[1]) if weight is None else weight, *rows[p + 2 :])


def _ends(knots: Array, together: int, stage: Stage) -> list[int]:
    """Which of the knots end a step here: every so many, and all where a rate breaks."""
    slack = 1e-9 * stage.duration
    breaks = [k for k, t in enumerate(knots) if any(abs(t - stage.start - at) <= slack for at in stage.breaks)]
    found: list[int] = []
    for low, high in pairwise(sorted({0, *breaks, len(knots) - 1})):
        found += range(low, high, together)
    return [*found, len(knots) - 1]


def step(leg: Leg, state: Array, p: int) -> tuple[Array, Array]:
    """One step of all points of a block, rows as `stacked` and perhaps log D; and the rates on the way (12, ..., n)."""
    if leg.reset:
        state = np.concatenate((np.zeros_like(state[:1]), state[1:]))
    while True:
        rates = np.empty((len(_B), *state.shape))
        flat = rates.reshape(len(_B), -1)
        largest = 0.0
        for s in range(len(_B)):
            now = state if s == 0 else state + (leg.length * (_A[s, :s] @ flat[:s])).reshape(state.shape)
            largest = max(largest, float((now[1 : p + 2] ** 2).sum(axis=0).max(initial=0.0)))
            if leg.features.biases:
                largest = max(largest, float((now[p + 2] ** 2).max(initial=0.0)))
            rates_at(leg, s, now, rates[s], p)
        if not np.isfinite(largest):
            raise RunError(f"a point of the density is no longer finite at t = {leg.stage.start + leg.time:.6g}")
        if not leg.features.cover(largest):
            return np.asarray(state + (leg.length * (_B @ flat)).reshape(state.shape)), rates


def rates_at(leg: Leg, s: int, state: Array, out: Array, p: int) -> None:
    """The time derivative of a state at Runge-Kutta stage s, written to `out`; rows as for `step`."""
    size = p + 2 + leg.features.biases
    a, v, r, b = _parts(state[:size], p)
    if leg.stage.on_sphere:
        v, r = on_sphere(v, r)
    cloud = Cloud(a, v, r, b, weight=np.ones(state.shape[1]))
    drift(leg.stage, leg.features, cloud, leg.residual[s], leg.times[s], Rates(*_parts(out[:size], p)))
    if len(out) > size:
        divergence(leg.stage, leg.features, cloud, leg.residual[s], leg.times[s], out[size : size + 1])


def _parts(rows: Array, p: int) -> tuple[Array, Array, Array, Array | None]:
    """a, v, r and b of rows as `stacked`, one slice."""
    return rows[0:1], rows[1 : p + 1][None], rows[p + 1 : p + 2], rows[p + 2 : p + 3] if len(rows) > p + 2 else None


def labels_at(problem: Problem, cube: Array) -> Array:
    """Labels at points of the unit cube, whose rows (directions, n) belong to a_0, r_0, y and with biases b_0: rows a_0, with
    biases b_0, r_0^2 and y, as `neurons` wants them."""
    from scipy.special import ndtri

    p = problem.p
    y = np.zeros((p, cube.shape[1])) if problem.w.is_point else ndtri(cube[2 : 2 + p])
    b = [] if problem.b is None else [problem.b.quantile(cube[2 + p])]
    return np.array([problem.a.quantile(cube[0]), *b, problem.w.squared_radius.quantile(cube[1]), *y])


def neurons(law: InnerLaw, labels: Array, weight: Array | None = None) -> Nodes:
    """Neurons at t = 0 from their labels, rows a_0, with biases b_0, r_0^2 and y of shape (n,); a point start has v = 0."""
    a, *b, square = labels[: len(labels) - law.p]
    y = labels[len(labels) - law.p :]
    return Nodes(a, *law.placed(law.scale * y, np.sqrt(square)), np.ones(len(a)) if weight is None else weight, *b)


def tensor_nodes(problem: Problem, rules: tuple[Rule, ...]) -> Nodes:
    """The product of rules of `Problem.directions` as neurons at t = 0, the last direction fastest."""
    labels = np.array([x.ravel() for x in np.meshgrid(*(rule.nodes for rule in rules), indexing="ij")])
    return neurons(problem.w, labels, outer(rule.weights for rule in rules).ravel())
