"""Runs the stages of a training one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import RunError
from mfpde.evolution.flow import DensityFlow, Interpolant, Position, Reader, Step, packed
from mfpde.evolution.lagrangian import LagrangianFlow, checkpoint_nodes
from mfpde.moments.averaging import LawMoments, average_points, law_moments
from mfpde.moments.linear import LinearFlow
from mfpde.parallel import share
from mfpde.problem.problem import Problem
from mfpde.problem.stage import stage_times
from mfpde.progress import Progress

Array = NDArray[np.float64]

# The flow of a stage: of neurons, or where moments are all that is known of them, of these.
type AnyFlow = DensityFlow | LinearFlow


@dataclass(frozen=True)
class Place:
    """A place between two steps of a training.

    Attributes:
        stage: Its number; none that is known by moments alone, which is solved at once.
        told: How many of the stage's records are done.
        before: Counts of steps up to the start of the stage.
        position: Within the stage, with times and counts from its start.
    """

    stage: int
    told: int
    before: Step
    position: Position


@dataclass(frozen=True)
class Restart:
    """Where a training goes on: a place, the reader of its state, and how many neurons the state has."""

    place: Place
    read: Reader
    total: int


class Checkpointer(Protocol):
    """Who writes the state of a training, so that it can go on from there."""

    def checkpoint(self, flow: DensityFlow, place: Place, vector: Array, urgent: bool) -> None:
        """Collective. Between two steps, see `Watch.checkpoint`."""


@dataclass(frozen=True)
class End:
    """Where a training stands: its last step (counts are of all stages), the flow and the state's flat vector."""

    step: Step
    flow: AnyFlow
    vector: Array


class Witness(Protocol):
    """Who is told of a training, on all ranks alike; times and counts are those of the whole training."""

    def enter(self, flow: AnyFlow) -> None:
        """Collective. A stage begins."""

    def record(self, flow: AnyFlow, step: Step, vector: Array) -> None:
        """Collective. A record time is reached: the flow of the stage and the state's flat vector."""

    def stepped(self, flow: AnyFlow, step: Step, inside: Interpolant | None) -> None:
        """Collective. A step is done, see `Watch`."""


@dataclass(frozen=True)
class Silent:
    """A witness that keeps nothing, and shows the progress if there is someone to show it."""

    progress: Progress | None = None

    def enter(self, flow: AnyFlow) -> None:
        pass

    def record(self, flow: AnyFlow, step: Step, vector: Array) -> None:
        pass

    def stepped(self, flow: AnyFlow, step: Step, inside: Interpolant | None) -> None:
        if self.progress is not None:
            self.progress.update(step.time, None, step.steps)


def train(
    problem: Problem,
    flow: DensityFlow,
    times: Sequence[float],
    tolerance: float,
    witness: Witness,
    stages: int | None = None,
    checkpointer: Checkpointer | None = None,
    restart: Restart | None = None,
) -> End:
    """Collective. Goes through the stages of a problem.

    Args:
        problem: With its stages.
        flow: At the start of the first one.
        times: Record times over all stages, ascending; see `stage_times`.
        tolerance: Tolerance of one time step.
        witness: Told of each stage, record and step.
        stages: How many of them; all if not given.
        checkpointer: Offered the state between the steps.
        restart: Where to go on instead of beginning: what was before it is told to nobody.

    Raises:
        RunError: On all ranks, if a stage cannot go on.
    """
    end, first = End(Step(), flow, packed(flow)), 0 if restart is None else restart.place.stage
    for k, own in list(enumerate(stage_times(problem.stages, times)[:stages]))[first:]:
        stage, told, position = problem.stages[k], 0, None
        current: AnyFlow
        if restart is not None and k == first:
            current, told, position = _restarted(flow, problem, restart), restart.place.told, restart.place.position
            end = End(restart.place.before, current, packed(current))
        else:
            begins_anew = k or stage.by_moments or stage.average > 1 or stage.reset_a
            current = next_flow(end, problem, k) if begins_anew else flow
        witness.enter(current)
        try:
            watch = _StageWatch(current, stage.start, end, witness, checkpointer, told, len(own))
            left = own[told:]
            last = position.step if position is not None and not left else current.follow(left, tolerance, watch, position)
            end = End(watch.overall(last), current, watch.final)
        except RunError as error:
            if len(problem.stages) == 1:
                raise
            raise RunError(f"stage {k + 1}, from t = {stage.start:g} on (t counts from there): {error}") from None
    return end


class _StageWatch:
    """Passes on what one stage says, with the times and counts of the whole training; has the last state at the end."""

    def __init__(
        self,
        flow: AnyFlow,
        start: float,
        before: End,
        witness: Witness,
        checkpointer: Checkpointer | None,
        told: int,
        records: int,
    ) -> None:
        self.flow, self.start, self.witness, self.checkpointer = flow, start, witness, checkpointer
        self.before, self.final = before.step, before.vector
        self.told, self.records = told, records

    def overall(self, step: Step) -> Step:
        before = self.before
        return Step(self.start + step.time, before.steps + step.steps, before.rejected + step.rejected, step.length)

    def record(self, step: Step, vector: Array) -> None:
        self.witness.record(self.flow, self.overall(step), vector)
        self.told += 1
        if self.told == self.records:
            self.final = vector.copy()

    def checkpoint(self, position: Position, vector: Array, urgent: bool) -> None:
        # A stage that is known by moments is solved at once, without steps to stop at.
        if self.checkpointer is not None and not isinstance(self.flow, LinearFlow):
            place = Place(self.flow.number, self.told, self.before, position)
            self.checkpointer.checkpoint(self.flow, place, vector, urgent)

    def stepped(self, step: Step, inside: Interpolant | None) -> None:
        start = self.start
        self.witness.stepped(self.flow, self.overall(step), None if inside is None else lambda time: inside(time - start))


def _restarted(flow: DensityFlow, problem: Problem, restart: Restart) -> DensityFlow:
    """Collective. The flow of the stage where a training goes on, from the state there; `flow` is of the first one."""
    number = restart.place.stage
    if all(stage.average == 1 for stage in problem.stages[: number + 1]):
        return flow.restarted(number, restart.read)
    places = np.arange(*share(flow.comm, restart.total))
    nodes = checkpoint_nodes(restart.read, problem, places, restart.total)
    return LagrangianFlow(problem, flow.features.of(problem.stages[number].activation), nodes, number)


def next_flow(end: End, problem: Problem, k: int) -> AnyFlow:
    """Collective. The flow of stage `k` of the problem, from the end of the stage before it."""
    stage, flow = problem.stages[k], end.flow
    if isinstance(flow, LinearFlow):
        return flow.next_stage(k, end.vector)
    if stage.by_moments:
        return LinearFlow(flow.comm, problem, k, flow.modes, averaged_law(end, problem, k))
    if stage.average > 1:
        averages = average_points(flow.comm, flow.nodes(end.vector), stage.average)
        return LagrangianFlow(problem, flow.features.of(stage.activation), averages, k)
    return flow.next_stage(k, end.vector)


def averaged_law(end: End, problem: Problem, k: int) -> LawMoments | None:
    """Collective. On rank 0 the moments of w at the start of stage `k`, as many as it and the stages after it need."""
    assert not isinstance(end.flow, LinearFlow)  # of the first stage that is known by moments
    degree = max(stage.degree for stage in problem.stages[k:])
    law = law_moments(end.flow.comm, end.flow.nodes(end.vector), problem.d - problem.p, 2 * degree)
    return None if law is None else law.average(problem.stages[k].average)
