"""One-pass SGD with small steps: E[E_SGD] = E + c/N + eta e(t) + (eta/B) q(t), t = eta times the number of steps.

e, Euler's steps: one displacement of l = 0 without a source, T' = .. - 1/2 theta'', theta'' by the linearised flow of theta';
then e = (m - h).mu.  q, noise: the kicks of a unit of time are columns without a source (`kicks`), and with sums over columns
instead of averages

    q = 1/2 sum_l |mu_l|^2 + 1/2 (m - h).m2,      deviation of the loss  sqrt(eta/B) ( sum ((m - h).mu_0)^2 )^(1/2),

where T2 of r grows besides by sum_l lambda_l/N_l S^2/r of the kicks (Ito).  Half a kick before and after each step; a square
root of the covariance of each sector is kept, of low rank.  q grows like d: the parameter of the expansion is eta d/B.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from mfpde.neurons import Nodes
from mfpde.problem.problem import Problem
from mfpde.width.course import NODES, WEIGHTS, Leg
from mfpde.width.evolution import Evolution
from mfpde.width.fields import Fields, Truncation
from mfpde.width.kicks import Kicks, gauss_samples
from mfpde.width.variation import Sources, averages, first_order, response, second_order

Array = NDArray[np.float64]

# Columns of the square root of a covariance, and the seed of the first vector that they are looked for with.
RANK, SEED = 30, 0
# Share of a leg by which a learning rate is differentiated.
DIFFERENCE = 1e-4


@dataclass(frozen=True)
class SgdCurves:
    """e, q, and the deviation by noise, all at the ends of the steps, shapes (records,)."""

    time: Array
    euler: Array
    noise: Array
    deviation: Array


@dataclass
class _State:
    """Nodes, Euler's displacement, columns of noise by sector, their mean second order; or the rates of all of these."""

    y: Array
    euler: Array
    parts: list[Array]
    second: Array

    def moved(self, step: float, rate: "_State") -> "_State":
        """This and `step` times the rates."""
        parts = [T + step * change for T, change in zip(self.parts, rate.parts, strict=True)]
        return _State(self.y + step * rate.y, self.euler + step * rate.euler, parts, self.second + step * rate.second)


class SgdEvolution:
    """The nodes of a run with the displacements that SGD causes, on this rank alone.

    Args:
        problem: Of a finite dimension.
        truncation: Of the modes and sectors.
        nodes: At t = 0.
        legs: Steps.
        label_noise: Standard deviation of the noise in labels.
        kicks: Makes the kicks of a stage; by default those of the law of x.
    """

    def __init__(
        self,
        problem: Problem,
        truncation: Truncation,
        nodes: Nodes,
        legs: list[Leg],
        label_noise: float = 0.0,
        kicks: list[Kicks] | None = None,
    ) -> None:
        self.own = Evolution(problem, truncation, nodes, legs)
        self.legs, self.weight = legs, nodes.weight
        samples = gauss_samples(problem) if kicks is None else None
        self.kicks = kicks or [
            Kicks(problem, stage, nodes.weight, samples, label_noise) for stage in problem.stages if samples is not None
        ]

    def run(self, kick_at: Callable[[int], float] | None = None) -> SgdCurves:
        """The curves.

        Args:
            kick_at: Instead of all times, how long the noise of the record of a number is: for tests.
        """
        n, C = len(self.weight), len(self.own.start) + 1
        state = _State(
            self.own.start.copy(),
            np.zeros((n, C, 1)),
            [np.zeros((n, C, 1)) for _ in self.own.stages[0].sectors],
            np.zeros_like(self.own.start),
        )
        rows, record = [], 0
        for leg in self.legs:
            stage = self.own.stages[leg.stage]
            if leg.first and self.own.resets[leg.stage]:
                state.y[0] = state.second[0] = 0.0
                for T in (state.euler, *state.parts):
                    T[:, 0] = 0.0
            for step in range(leg.steps + 1):
                fields = stage(leg.inside(step, 0), state.y)
                ends = (step > 0) + (step < leg.steps)
                whole = leg.length * ends / 2 if kick_at is None else kick_at(record)
                # What is recorded has the half kick of the step before; the other half is that of the step to come.
                before = leg.length / 2 if step > 0 and kick_at is None else whole if kick_at else 0.0
                columns = self.kicks[leg.stage].columns(fields) if whole else []
                state = self._kicked(fields, state, columns, before)
                rows.append(self._row(fields, state))
                state = self._kicked(fields, state, columns, whole - before)
                record += 1
                if step < leg.steps:
                    state = self._step(leg, step, state)
        time = np.concatenate([leg.times for leg in self.legs])
        return SgdCurves(time, *np.array(rows).T)

    def _step(self, leg: Leg, step: int, state: _State) -> _State:
        """One step of the Runge-Kutta method."""
        stage, moved, total = self.own.stages[leg.stage], state, state
        for i in range(4):
            time = leg.inside(step, i)
            fields = stage(time, moved.y)
            near = DIFFERENCE * leg.length
            ends = [leg.interval.inside(time + side * near) for side in (-1, 1)]
            pace = (stage.xi(ends[1]) - stage.xi(ends[0])) / (ends[1] - ends[0])
            rate = self._rates(fields, moved, pace)
            total = total.moved(leg.length * WEIGHTS[i], rate)
            if i < 3:
                moved = state.moved(leg.length * NODES[i + 1], rate)
        return total

    def _rates(self, fields: Fields, state: _State, pace: Array) -> _State:
        """The rates of a state; `pace` is the time derivative of the learning rates."""
        zero, free = fields.sectors[0], Sources(None, np.ones(1))
        velocity = np.zeros_like(state.euler)
        velocity[:, :-1, 0] = fields.velocity.T

        def linearised(T: Array) -> Array:
            return first_order(fields, zero, T, response(fields, zero, T, self.weight, free), free)

        still = np.divide(pace, fields.xi, out=np.zeros_like(pace), where=fields.xi > 0)
        euler = linearised(state.euler) - 0.5 * (linearised(velocity) + still[None, :, None] * velocity)
        rates, responses, found = [], [], []
        for here, T in zip(fields.sectors, state.parts, strict=True):
            columns = Sources(None, np.ones(T.shape[2]))
            mu = response(fields, here, T, self.weight, columns)
            rates.append(first_order(fields, here, T, mu, columns))
            responses.append(mu)
            found.append(columns)
        mean = averages(fields, state.parts, responses, self.weight, found)
        second, _ = second_order(fields, state.second, self.weight, mean)
        return _State(fields.velocity, euler, rates, second)

    def _row(self, fields: Fields, state: _State) -> tuple[float, float, float]:
        """e, q, and the deviation."""
        zero, e = fields.sectors[0], fields.residual
        columns = [Sources(None, np.ones(T.shape[2])) for T in state.parts]
        parts = zip(fields.sectors, state.parts, columns, strict=True)
        responses = [response(fields, here, T, self.weight, each) for here, T, each in parts]
        mean = averages(fields, state.parts, responses, self.weight, columns)
        _, m2 = second_order(fields, state.second, self.weight, mean)
        euler = float(e @ response(fields, zero, state.euler, self.weight, Sources(None, np.ones(1)))[:, 0])
        return euler, float(mean.energy.sum() + 0.5 * e @ m2), sqrt(mean.variance)

    def _kicked(self, fields: Fields, state: _State, columns: list[Array], duration: float) -> _State:
        """The state after the kicks of some time."""
        if not columns or duration <= 0:
            return state
        second = state.second.copy()
        ito = sum(
            here.sector.tangential * (kicks[:, -1] ** 2).sum(axis=1) for here, kicks in zip(fields.sectors, columns, strict=True)
        )
        second[self.own.problem.p + 1] += duration * ito * fields.inverse_radius
        root = sqrt(duration)
        parts = [self._compressed(np.concatenate((T, root * k), axis=2)) for T, k in zip(state.parts, columns, strict=True)]
        return _State(state.y, state.euler, parts, second)

    def _compressed(self, T: Array) -> Array:
        """As few columns with nearly the same covariance, in the norm of the neurons' law."""
        from scipy.sparse.linalg import svds

        scale = np.sqrt(self.weight)[:, None, None]
        X = (scale * T).reshape(-1, T.shape[2])
        if min(X.shape) <= 2 * RANK:
            U, size, _ = np.linalg.svd(X, full_matrices=False)
        else:
            first = np.random.default_rng(SEED).standard_normal(min(X.shape))
            U, size, _ = svds(X, k=RANK, v0=first)
        order = np.argsort(-size)[:RANK]
        return np.asarray((U[:, order] * size[order]).reshape(*T.shape[:2], -1) / scale)
