"""Runs the stages of a training one after another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import RunError
from mfpde.evolution.flow import Field, Interpolant, Reader, StageFlow, Standing, Step
from mfpde.evolution.lagrangian import LagrangianFlow, Nodes, kept_nodes
from mfpde.features.features import Features
from mfpde.parallel import share
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

    def state(self, vector: Array) -> Mapping[str, Field]:
        """Collective. The whole state, as a checkpoint keeps it: flat blocks in an order that does not depend on the ranks."""


class StartFlow(DensityFlow, Protocol):
    """The flow of a first stage, which knows its elements."""

    def restored(self, number: int, read: Reader) -> StageFlow:
        """Collective. The flow of stage `number` from a state that was kept in it."""


@dataclass(frozen=True)
class Mark:
    """A place between two steps of a training.

    Attributes:
        stage: Its number; none that is known by moments alone, which is solved at once.
        told: How many of the stage's records are done.
        before: Counts of steps up to the start of the stage.
        standing: Within the stage, with times and counts from its start.
    """

    stage: int
    told: int
    before: Step
    standing: Standing


@dataclass(frozen=True)
class Kept:
    """A training as it was kept: a place, this reader of its state, and how many neurons the state has."""

    mark: Mark
    read: Reader
    total: int


class Keeper(Protocol):
    """Who keeps the state of a training, so that it can go on from there."""

    def keep(self, flow: DensityFlow, mark: Mark, vector: Array, urgent: bool) -> None:
        """Collective. Between two steps, see `Watch.keep`."""


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
    keeper: Keeper | None = None,
    kept: Kept | None = None,
) -> End:
    """Collective. Goes through the stages of a problem.

    Args:
        problem: With its stages.
        flow: At the start of the first one.
        times: Record times over all stages, ascending; see `stage_times`.
        tolerance: Of one time step.
        witness: Told of each stage, record and step.
        stages: How many of them; all if not given.
        keeper: Offered the state between the steps.
        kept: Where to go on instead of beginning: what was before it is told to nobody.

    Raises:
        RunError: On all ranks, if a stage cannot go on.
    """
    end, first = End(Step(), flow, _packed(flow)), 0 if kept is None else kept.mark.stage
    for k, own in list(enumerate(stage_times(problem.stages, times)[:stages]))[first:]:
        stage, told, standing = problem.stages[k], 0, None
        if kept is not None and k == first:
            current, told, standing = _taken_up(cast(StartFlow, flow), problem, kept), kept.mark.told, kept.mark.standing
            end = End(kept.mark.before, current, _packed(current))
        else:
            begins_anew = k or stage.by_moments or stage.average > 1 or stage.reset_a
            current = next_flow(end, problem, k) if begins_anew else flow
        witness.enter(current)
        try:
            watch = _StageWatch(current, stage.start, end, witness, keeper, told, len(own))
            left = own[told:]
            last = standing.step if standing is not None and not left else current.follow(left, tolerance, watch, standing)
            end = End(watch.overall(last), current, watch.final)
        except RunError as error:
            if len(problem.stages) == 1:
                raise
            raise RunError(f"stage {k + 1}, from t = {stage.start:g} on (t counts from there): {error}") from None
    return end


class _StageWatch:
    """Passes on what one stage says, with the times and counts of the whole training; has the last state at the end."""

    def __init__(
        self, flow: StageFlow, start: float, before: End, witness: Witness, keeper: Keeper | None, told: int, records: int
    ) -> None:
        self.flow, self.start, self.witness, self.keeper = flow, start, witness, keeper
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

    def keep(self, standing: Standing, vector: Array, urgent: bool) -> None:
        if self.keeper is not None:
            mark = Mark(self.flow.number, self.told, self.before, standing)
            self.keeper.keep(cast(DensityFlow, self.flow), mark, vector, urgent)  # steps are those of a density

    def stepped(self, step: Step, inside: Interpolant | None) -> None:
        start = self.start
        self.witness.stepped(self.flow, self.overall(step), None if inside is None else lambda time: inside(time - start))


def _packed(flow: StageFlow) -> Array:
    vector = np.empty(flow.size)
    flow.pack(vector)
    return vector


def _taken_up(flow: StartFlow, problem: Problem, kept: Kept) -> StageFlow:
    """Collective. The flow of the stage in which a training was kept, from the state there; `flow` is that of the first one."""
    number = kept.mark.stage
    if all(stage.average == 1 for stage in problem.stages[: number + 1]):
        return flow.restored(number, kept.read)
    places = np.arange(*share(flow.comm, kept.total))
    nodes = kept_nodes(kept.read, problem, places, kept.total)
    return LagrangianFlow(problem, Features(flow.comm, flow.modes, problem.stages[number].activation), nodes, number)


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
