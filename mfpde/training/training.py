"""Runs the stages of a training one after another.

A stage that is linear is solved exactly, by its eigen-decomposition: an explicit integrator would need a step for every
1/lambda_max of a time that has to be long against 1/lambda_min.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import RunError
from mfpde.evolution.dynamics import MeanFieldFlow
from mfpde.evolution.integrate import Step, integrate
from mfpde.problem.problem import Problem
from mfpde.problem.stages import stage_times
from mfpde.training.averaging import Moments, average_points, law_moments
from mfpde.training.linear import LinearFlow

Array = NDArray[np.float64]
StageFlow = MeanFieldFlow | LinearFlow


@dataclass(frozen=True)
class End:
    """Where a training stands: its last step (counts are of all stages), the flow and the state's flat vector."""

    step: Step
    flow: StageFlow
    vector: Array


def train(
    flow: MeanFieldFlow,
    times: Sequence[float],
    record: Callable[[StageFlow, Step, Array], None],
    enter: Callable[[StageFlow], None] = lambda flow: None,
    progress: Callable[[Step], None] = lambda step: None,
    stages: int | None = None,
) -> End:
    """Collective. Integrates the stages of the flow's problem.

    Args:
        flow: At the start of the first stage.
        times: Record times over all stages, ascending; see `stage_times`.
        record: Called on all ranks at each of them, with the flow of the stage and the state's flat vector.
        enter: Called on all ranks at the start of each stage.
        progress: Called on all ranks after every step.
        stages: How many of them; all if not given.

    Raises:
        RunError: On all ranks, if a stage cannot go on.
    """
    problem, vector = flow.problem, np.empty(flow.layout.size)
    flow.layout.pack(vector)
    end = End(Step(0.0, 0, 0, 0.0), flow, vector)
    for k, own in enumerate(stage_times(problem.stages, times)[:stages]):
        stage = problem.stages[k]
        begins_anew = k or stage.by_moments or stage.average > 1 or stage.reset_a
        current = next_flow(end, problem, k) if begins_anew else flow
        enter(current)
        try:
            end = _run(current, own, stage.start, end.step, record, progress)
        except RunError as error:
            if len(problem.stages) == 1:
                raise
            raise RunError(f"stage {k + 1}, from t = {stage.start:g} on (t counts from there): {error}") from None
    return end


def _run(flow: StageFlow, times: list[float], start: float, before: Step, record: Any, progress: Any) -> End:
    """One stage, at `times` from its start."""
    if isinstance(flow, LinearFlow):
        solution = flow.exact(np.array(times))
        for time, m in zip(times, solution, strict=True):
            record(flow, replace(before, time=start + time), flow.restrict(m))
        return End(replace(before, time=start + times[-1]), flow, flow.restrict(solution[-1]))
    final, left = np.empty(0), len(times)

    def overall(step: Step) -> Step:
        return Step(start + step.time, before.steps + step.steps, before.rejected + step.rejected, step.length)

    def keep(step: Step, values: Array) -> None:
        nonlocal final, left
        record(flow, overall(step), values)
        left -= 1
        if left == 0:
            final = values.copy()

    tolerance = flow.discretization.tolerance
    end = integrate(flow, times, tolerance, keep, lambda step: progress(overall(step)))
    return End(overall(end), flow, final)


def next_flow(end: End, problem: Problem, k: int) -> StageFlow:
    """Collective. The flow of stage `k` of the whole problem, from the end of the stage before it."""
    stage, flow, stage_problem = problem.stages[k], end.flow, problem.at_stage(k)
    comm: MPI.Intracomm = flow.grid.comm
    if isinstance(flow, LinearFlow):
        law = None if flow.law is None else flow.law.average(stage.average)
        start = None if stage.reset_a else flow.moments(end.vector, 0.0)
        return LinearFlow(comm, stage_problem, flow.modes, flow.discretization, law, flow.spread, start)
    state = flow.layout.views(end.vector)
    if stage.by_moments:
        law = averaged_law(end, problem, k)
        return LinearFlow(comm, stage_problem, flow.modes, flow.discretization, law, not flow.point_start)
    if stage.average > 1:
        return MeanFieldFlow(comm, stage_problem, flow.discretization, points=average_points(flow, state, stage.average))
    return flow.at_stage(stage_problem, replace(state, a=np.zeros_like(state.a)) if stage.reset_a else state)


def averaged_law(end: End, problem: Problem, k: int) -> Moments | None:
    """Collective. On rank 0 the moments of w at the start of stage `k`, as many as it and the stages after it need."""
    assert isinstance(end.flow, MeanFieldFlow)
    degree = max(stage.degree for stage in problem.stages[k:])
    law = law_moments(end.flow, end.flow.layout.views(end.vector), 2 * degree)
    return None if law is None else law.average(problem.stages[k].average)
