"""Runs the stages of a training one after another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import RunError
from mfpde.evolution.flow import StageFlow, Step
from mfpde.evolution.lagrangian import LagrangianFlow, Nodes
from mfpde.features.features import Features
from mfpde.problem.problem import Problem
from mfpde.problem.stages import stage_times
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


def train(
    problem: Problem,
    flow: StageFlow,
    times: Sequence[float],
    tolerance: float,
    record: Callable[[StageFlow, Step, Array], None],
    enter: Callable[[StageFlow], None] = lambda flow: None,
    progress: Callable[[Step], None] = lambda step: None,
    stages: int | None = None,
) -> End:
    """Collective. Goes through the stages of a problem.

    Args:
        problem: With its stages.
        flow: At the start of the first one.
        times: Record times over all stages, ascending; see `stage_times`.
        tolerance: Of one time step.
        record: Called on all ranks at each of them, with the flow of the stage and the state's flat vector.
        enter: Called on all ranks at the start of each stage.
        progress: Called on all ranks after every step.
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
        enter(current)
        try:
            end = _run(current, own, stage.start, tolerance, end.step, record, progress)
        except RunError as error:
            if len(problem.stages) == 1:
                raise
            raise RunError(f"stage {k + 1}, from t = {stage.start:g} on (t counts from there): {error}") from None
    return end


def _run(
    flow: StageFlow,
    times: list[float],
    start: float,
    tolerance: float,
    before: Step,
    record: Callable[[StageFlow, Step, Array], None],
    progress: Callable[[Step], None],
) -> End:
    """One stage, at `times` from its start."""
    final, left = np.empty(0), len(times)

    def overall(step: Step) -> Step:
        return Step(start + step.time, before.steps + step.steps, before.rejected + step.rejected, step.length)

    def keep(step: Step, values: Array) -> None:
        nonlocal final, left
        record(flow, overall(step), values)
        left -= 1
        if left == 0:
            final = values.copy()

    end = flow.follow(times, tolerance, keep, lambda step: progress(overall(step)))
    return End(overall(end), flow, final)


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
