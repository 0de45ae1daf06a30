"""Ordinary differential equations whose unknowns are spread over ranks, by an explicit Runge-Kutta method of order 8.

Dormand and Prince's pair DOP853 of SciPy, with its error norm summed over all ranks; records come from its interpolant
of order 7, so they do not shorten the steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from mfpde.errors import RunError
from mfpde.evolution.flow import Flow, Step

Array = NDArray[np.float64]

# The first step as a share of the whole time; the error estimate corrects it at once.
FIRST_STEP = 1e-3
# No smaller relative tolerance means anything in double precision.
SMALLEST = 100 * np.finfo(float).eps


def integrate(
    flow: Flow,
    times: Sequence[float],
    tolerance: float,
    record: Callable[[Step, Array], None],
    progress: Callable[[Step], None] = lambda step: None,
) -> Step:
    """Collective. Integrates the flow from t = 0 and hands the state to `record` at each of `times` (ascending).

    Args:
        flow: The right-hand side; the longest stable step that it names and its limiter are left to other methods.
        times: Record times; the last one ends the run.
        tolerance: Of one step, root mean square over all unknowns, relative and absolute (in units of `flow.scales`).
        record: Called on all ranks with the step and this rank's unknowns.
        progress: Called on all ranks after every step.

    Raises:
        RunError: On all ranks, if the step size underflows or values are no longer finite.
    """
    start = np.empty(flow.size)
    flow.pack(start)
    total, following, step = flow.comm.allreduce(flow.size), 0, Step()
    while following < len(times) and (times[following] <= 0 or total == 0):
        record(Step(times[following]), start)
        following += 1
    if following == len(times):
        return Step(times[-1])
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite ends the run below
        solver = _Distributed(flow, start, total, times[-1], tolerance)
        while following < len(times):
            message = solver.step()
            if solver.status == "failed":
                reason = str(message).lower().rstrip(".")
                raise RunError(f"the integration stopped at t = {solver.t:.6g}: {reason}")
            step = Step(solver.t, step.steps + 1, solver.tried - step.steps - 1, solver.t - solver.t_old)
            inside = solver.dense_output() if times[following] < solver.t else None
            while following < len(times) and times[following] <= solver.t:
                values = solver.y if inside is None or times[following] == solver.t else inside(times[following])
                record(replace(step, time=times[following]), values[: flow.size])
                following += 1
            progress(step)
    return step


class _Distributed(DOP853):  # type: ignore[misc]
    """DOP853 whose error norm runs over the unknowns of all ranks, so that all take the same steps.

    SciPy ends at once where there is nothing to integrate: a rank without unknowns has one that stays 0.
    """

    def __init__(self, flow: Flow, start: Array, total: int, end: float, tolerance: float) -> None:
        size = flow.size
        idle = np.zeros(int(size == 0))

        def rates(time: float, vector: Array) -> Array:
            out = np.zeros_like(vector)
            flow.rates(time, vector[:size], out[:size])
            return out

        absolute = tolerance * np.concatenate((flow.scales(), idle + 1))
        options = {"rtol": max(tolerance, SMALLEST), "atol": absolute, "first_step": FIRST_STEP * end}
        self._comm, self._total = flow.comm, total
        self.tried = 0
        super().__init__(rates, 0.0, np.concatenate((start, idle)), end, **options)

    def _estimate_error_norm(self, K: Array, h: float, scale: Array) -> float:
        self.tried += 1
        squares = [float(np.sum((K.T @ weights / scale) ** 2)) for weights in (self.E5, self.E3)]
        fifth, third = self._comm.allreduce(np.array(squares))
        if fifth == 0 and third == 0:
            return 0.0
        return float(abs(h) * fifth / np.sqrt((fifth + 0.01 * third) * self._total))
