"""The second variation along a run: blocks of sources, each by itself, and their sums over all ranks.

The classical Runge-Kutta method with given steps: every block repeats the cheap flow of the nodes and adds to sums at every
stage of every step.  T2 follows once, from the sums.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import RunError
from mfpde.neurons import Nodes
from mfpde.parallel import on_first, share, together
from mfpde.problem.problem import Problem
from mfpde.width.course import NODES, WEIGHTS, Leg
from mfpde.width.fields import StageFields, Truncation
from mfpde.width.variation import Averages, Sources, averages, first_order, response, second_order

Array = NDArray[np.float64]

# Sources of a block: its arrays then fit into the memory of a laptop.
BLOCK = 320


@dataclass(frozen=True)
class Curves:
    """What a run finds, at the ends of all steps, leg by leg.

    Attributes:
        time: Shape (records,); twice where one leg ends and another begins.
        loss: E.
        moments: m of l = 0, shape (records, modes).
        correction: c.
        deviation: s.
        energy: 1/2 <|mu_l|^2> of each sector, and in the last column of what lies beyond K, shape (records, sectors + 1).
    """

    time: Array
    loss: Array
    moments: Array
    correction: Array
    deviation: Array
    energy: Array


class Evolution:
    """The nodes of a run and their displacements.

    Args:
        problem: What to solve.
        truncation: Of the modes and sectors.
        nodes: The nodes at t = 0 with their weights, all of them on every rank.
        legs: Steps.
    """

    def __init__(self, problem: Problem, truncation: Truncation, nodes: Nodes, legs: list[Leg]) -> None:
        self.problem, self.legs, self.weight = problem, legs, nodes.weight
        biases = [] if nodes.b is None else [nodes.b[None]]
        self.start = np.concatenate((nodes.a[None], nodes.v, nodes.r[None], *biases))
        self.stages = [StageFields(problem, stage, truncation, nodes.weight) for stage in problem.stages]
        self.resets = [stage.reset_a for stage in problem.stages]

    @property
    def sectors(self) -> int:
        """How many there are."""
        return len(self.stages[0].sectors)

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(leg.steps + 1 for leg in self.legs)

    @property
    def evaluations(self) -> int:
        """Of the right-hand side: four of each step, and one at the end of each leg."""
        return sum(4 * leg.steps + 1 for leg in self.legs)

    def run(self, comm: MPI.Intracomm) -> Curves:
        """Collective. The curves; the sources are divided over the ranks.

        Raises:
            RunError: On all ranks, if values are no longer finite.
        """
        total = Sums.of(self)
        first, last = share(comm, len(self.weight))

        def blocks() -> None:
            for low in range(first, last, BLOCK):
                nodes = np.arange(low, min(low + BLOCK, last))
                self._columns(Sources(nodes, self.weight[nodes]), total)

        # What is not finite is found below; a rank without sources does not see what stops the others.
        with np.errstate(over="ignore", invalid="ignore"):
            together(comm, blocks)
        for sums in (total.forcing, total.moments, total.energy, total.variance):
            comm.Allreduce(MPI.IN_PLACE, sums)
        with np.errstate(over="ignore", invalid="ignore"):
            return on_first(comm, lambda: self._means(total))

    def _columns(self, sources: Sources, sums: "Sums") -> None:
        """Adds the averages over a block of sources to the sums."""
        n, C = len(self.weight), len(self.start) + 1
        y, parts = self.start.copy(), sources.at_rest(self.stages[0].sectors, n, C)
        for leg, (evaluation, record) in zip(self.legs, self._places(), strict=True):
            stage = self.stages[leg.stage]
            if leg.first and self.resets[leg.stage]:
                y[0] = 0.0
                for T in parts:
                    T[:, 0] = 0.0
            for step in range(leg.steps + 1):
                ends = step == leg.steps
                moved, at, sum_y, sum_T = y, parts, y.copy(), [T.copy() for T in parts]
                for i in range(1 if ends else 4):
                    fields = stage(leg.inside(step, i), moved)
                    responses = [response(fields, s, T, self.weight, sources) for s, T in zip(fields.sectors, at, strict=True)]
                    found = averages(fields, at, responses, self.weight, [sources] * len(at))
                    sums.add(evaluation + 4 * step + i, record + step if i == 0 else None, found)
                    if ends:
                        break
                    rates = [
                        first_order(fields, s, T, mu, sources) for s, T, mu in zip(fields.sectors, at, responses, strict=True)
                    ]
                    sum_y += leg.length * WEIGHTS[i] * fields.velocity
                    for out, rate in zip(sum_T, rates, strict=True):
                        out += (leg.length * WEIGHTS[i]) * rate
                    if i < 3:
                        ahead = leg.length * NODES[i + 1]
                        moved = y + ahead * fields.velocity
                        at = []
                        for T, rate in zip(parts, rates, strict=True):
                            rate *= ahead
                            rate += T
                            at.append(rate)
                y, parts = sum_y, sum_T

    def _means(self, sums: "Sums") -> Curves:
        """T2 and m2 from the sums, and what follows."""
        y, T2 = self.start.copy(), np.zeros_like(self.start)
        loss, correction, beyond = np.zeros(self.records), np.zeros(self.records), np.zeros(self.records)
        moments = np.zeros((self.records, sums.moments.shape[1]))
        for leg, (evaluation, record) in zip(self.legs, self._places(), strict=True):
            stage = self.stages[leg.stage]
            if leg.first and self.resets[leg.stage]:
                y[0] = T2[0] = 0.0
            for step in range(leg.steps + 1):
                ends = step == leg.steps
                moved, at, sum_y, sum_T = y, T2, y.copy(), T2.copy()
                for i in range(1 if ends else 4):
                    fields = stage(leg.inside(step, i), moved, 0)
                    rate, m2 = second_order(fields, at, self.weight, sums.at(evaluation + 4 * step + i))
                    if i == 0:
                        e = fields.residual
                        moments[record + step] = fields.moments
                        loss[record + step] = 0.5 * e @ e + stage.beyond
                        correction[record + step] = 0.5 * e @ m2
                        beyond[record + step] = self.weight @ stage.energy_beyond(y)
                    if ends:
                        break
                    sum_y += leg.length * WEIGHTS[i] * fields.velocity
                    sum_T += leg.length * WEIGHTS[i] * rate
                    if i < 3:
                        moved, at = y + leg.length * NODES[i + 1] * fields.velocity, T2 + leg.length * NODES[i + 1] * rate
                y, T2 = sum_y, sum_T
        energy = np.column_stack((sums.energy, beyond))
        if not all(np.isfinite(x).all() for x in (loss, correction, energy, sums.variance)):
            raise RunError("width: values are no longer finite; allowed: smaller learning rates, or a shorter training")
        time = np.concatenate([leg.times for leg in self.legs])
        return Curves(time, loss, moments, correction + energy.sum(axis=1), np.sqrt(sums.variance), energy)

    def _places(self) -> Iterator[tuple[int, int]]:
        """Number of the first evaluation and of the first record of each leg."""
        evaluation = record = 0
        for leg in self.legs:
            yield evaluation, record
            evaluation, record = evaluation + 4 * leg.steps + 1, record + leg.steps + 1


@dataclass(frozen=True)
class Sums:
    """Averages at all evaluations, and at the records."""

    forcing: Array
    moments: Array
    energy: Array
    variance: Array

    @classmethod
    def of(cls, evolution: Evolution) -> "Sums":
        """Nothing yet."""
        modes = evolution.stages[0].sectors[0].modes
        evaluations, records = evolution.evaluations, evolution.records
        return cls(
            np.zeros((evaluations, *evolution.start.shape)),
            np.zeros((evaluations, modes)),
            np.zeros((records, evolution.sectors)),
            np.zeros(records),
        )

    def add(self, evaluation: int, record: int | None, found: Averages) -> None:
        """Adds the averages over some columns."""
        self.forcing[evaluation] += found.forcing
        self.moments[evaluation] += found.moments
        if record is not None:
            self.energy[record] += found.energy
            self.variance[record] += found.variance

    def at(self, evaluation: int) -> Averages:
        """Those of the second order."""
        return Averages(self.forcing[evaluation], self.moments[evaluation], np.empty(0), 0.0)
