"""Runs the stages of a training one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import RunError
from mfpde.evolution.flow import Interpolant, StageFlow, Step
from mfpde.evolution.lagrangian import LagrangianFlow, Nodes
from mfpde.features.features import Features
from mfpde.problem.problem import Problem
from mfpde.problem.stages import stage_times
from mfpde.progress import Progress
from mfpde.training.averaging import Moments, average_points, law_moments
from mfpde.training.linear import LinearFlow

Array = NDArray[np.float64]


class DensityFlow(StageFlow, Protocol):
    """A flow of neurons, rather than of moments alone."""

    def nodes(self, vector: Array) -> Nodes:
        """This rank's neurons, with weights that sum to 1 over all ranks."""


@dataclass(frozen=True)
class End:
    """Where a training stands: its last step (counts are of all stages), the flow and the state's flat vector."""

    step: Step
    flow: StageFlow
    vector: Array


class Witness(Protocol):
    """Who is told of a training, on all ranks alike; times and counts are those of the whole training."""

    def enter(self, flow: StageFlow) -> None:
        """Collective. A stage begins."""

    def record(self, flow: StageFlow, step: Step, vector: Array) -> None:
        """Collective. A record time is reached: the flow of the stage and the state's flat vector."""

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        """Collective. A step is done, see `Watch`."""


class Output(Protocol):
    """Something that a user writes during a training, handed to `mfpde.solve`: a witness of stages and records alone."""

    def enter(self, flow: StageFlow) -> None:
        """Collective. A stage begins."""

    def record(self, flow: StageFlow, step: Step, vector: Array) -> None:
        """Collective. A record time is reached."""


@dataclass(frozen=True)
class Together[First: Witness]:
    """A witness, and outputs that are told after it."""

    first: First
    others: tuple[Output, ...]

    def enter(self, flow: StageFlow) -> None:
        self.first.enter(flow)
        for other in self.others:
            other.enter(flow)

    def record(self, flow: StageFlow, step: Step, vector: Array) -> None:
        self.first.record(flow, step, vector)
        for other in self.others:
            other.record(flow, step, vector)

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        self.first.stepped(flow, step, inside)


@dataclass(frozen=True)
class Silent:
    """A witness that keeps nothing, and shows the progress if there is someone to show it."""

    progress: Progress | None = None

    def enter(self, flow: StageFlow) -> None:
        pass

    def record(self, flow: StageFlow, step: Step, vector: Array) -> None:
        pass

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        if self.progress is not None:
            self.progress.update(step.time, None, step.steps)


def train(
    problem: Problem,
    flow: StageFlow,
    times: Sequence[float],
    tolerance: float,
    witness: Witness,
    stages: int | None = None,
) -> End:
    """Collective. Goes through the stages of a problem.

    Args:
        problem: With its stages.
        flow: At the start of the first one.
        times: Record times over all stages, ascending; see `stage_times`.
        tolerance: Of one time step.
        witness: Told of each stage, record and step.
        stages: How many of them; all if not given.

    Raises:
        RunError: On all ranks, if a stage cannot go on.
    """
    vector = np.empty(flow.size)
    flow.pack(vector)
    end = End(Step(), flow, vector)
    for k, own in enumerate(stage_times(problem.stages, times)[:stages]):
        stage = problem.stages[k]
        begins_anew = k or stage.by_moments or stage.average > 1 or stage.reset_a
        current = next_flow(end, problem, k) if begins_anew else flow
        witness.enter(current)
        try:
            watch = _StageWatch(current, stage.start, end.step, witness, len(own))
            last = current.follow(own, tolerance, watch)
            end = End(watch.overall(last), current, watch.final)
        except RunError as error:
            if len(problem.stages) == 1:
                raise
            raise RunError(f"stage {k + 1}, from t = {stage.start:g} on (t counts from there): {error}") from None
    return end


class _StageWatch:
    """Passes on what one stage says, with the times and counts of the whole training; keeps the last state."""

    def __init__(self, flow: StageFlow, start: float, before: Step, witness: Witness, records: int) -> None:
        self.flow, self.start, self.before, self.witness, self.left = flow, start, before, witness, records
        self.final = np.empty(0)

    def overall(self, step: Step) -> Step:
        before = self.before
        return Step(self.start + step.time, before.steps + step.steps, before.rejected + step.rejected, step.length)

    def record(self, step: Step, vector: Array) -> None:
        self.witness.record(self.flow, self.overall(step), vector)
        self.left -= 1
        if self.left == 0:
            self.final = vector.copy()

    def stepped(self, step: Step, inside: Interpolant | None) -> None:
        start = self.start
        self.witness.stepped(self.flow, self.overall(step), None if inside is None else lambda time: inside(time - start))


def next_flow(end: End, problem: Problem, k: int) -> StageFlow:
    """Collective. The flow of stage `k` of the problem, from the end of the stage before it."""
    stage, flow = problem.stages[k], end.flow
    known_by_moments = k > 0 and problem.stages[k - 1].by_moments
    if stage.by_moments and not known_by_moments:
        return LinearFlow(flow.comm, problem, k, flow.modes, averaged_law(end, problem, k))
    if stage.average > 1 and not known_by_moments:
        nodes = average_points(flow.comm, neurons(end), stage.average)
        return LagrangianFlow(problem, Features(flow.comm, flow.modes, stage.activation), nodes, k)
    return flow.next_stage(k, end.vector)


def neurons(end: End) -> Nodes:
    """This rank's neurons where a stage with a density ended."""
    return cast(DensityFlow, end.flow).nodes(end.vector)  # every flow before the linear ones is one


def averaged_law(end: End, problem: Problem, k: int) -> Moments | None:
    """Collective. On rank 0 the moments of w at the start of stage `k`, as many as it and the stages after it need."""
    degree = max(stage.degree for stage in problem.stages[k:])
    law = law_moments(end.flow.comm, neurons(end), problem.d - problem.p, 2 * degree)
    return None if law is None else law.average(problem.stages[k].average)
