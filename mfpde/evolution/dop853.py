"""Ordinary differential equations whose unknowns are spread over ranks, by an explicit Runge-Kutta method of order 8.

Dormand and Prince's pair DOP853 of SciPy, with its error norm summed over all ranks; records come from its interpolant
of order 7, so they do not shorten the steps.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from mfpde.errors import RunError
from mfpde.evolution.flow import Flow, Position, Step, Watch
from mfpde.evolution.integrate import Interval
from mfpde.evolution.pace import Pace
from mfpde.interrupts import agreed_signal, stop_together

Array = NDArray[np.float64]

# The tolerance at which the first step is that of the interval.  It follows the tolerance: steps grow tenfold at most, and from
# one first step runs of two tolerances would differ in nothing for a while.
AT = 1e-8
# No smaller relative tolerance means anything in double precision.
SMALLEST = 100 * np.finfo(float).eps


def advance(
    flow: Flow, vector: Array, interval: Interval, tolerance: float, watch: Watch, before: Step, restart: Position | None = None
) -> tuple[Array, Step]:
    """Collective. Integrates over an interval and tells `watch` of records and steps; returns the state and the last step.

    Args:
        flow: The right-hand side; the longest stable step that its rates name and its limiter are left to other methods.
        vector: The state at the interval's start, or where the integration is taken up again.
        interval: Where the right-hand side is smooth.
        tolerance: Of one step, root mean square over all unknowns, relative and absolute (in units of `flow.scales`).
        watch: Told of each record and each step.
        before: The last step, of the interval before or of an earlier integration: counts go on from there.
        restart: Where that one stood inside this interval.

    Raises:
        RunError: On all ranks, if the step size underflows, the steps would be millions, or values are no longer finite.
    """
    total, following, count = flow.comm.allreduce(flow.size), 0, 0
    times, step, pace = interval.times, before, Pace(flow, interval)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite ends the run below
        solver = _Distributed(flow, vector, total, interval, tolerance, restart)
        while solver.status == "running":
            solver.max_step = flow.longest_step(solver.t)
            proposed = min(solver.h_abs, solver.max_step)
            if interval.last and solver.t + proposed >= interval.end:  # the end shortens this step, a later one would not
                watch.checkpoint(solver.position(step), solver.y[: flow.size], urgent=True)
            message = solver.step()
            if solver.status == "failed":
                if solver.left is not None:
                    raise solver.left
                reason = str(message).lower().rstrip(".")
                raise RunError(f"the integration stopped at t = {solver.t:.6g}: {reason}")
            count, solver.left = count + 1, None
            pace.step(count, solver.t)
            step = Step(solver.t, before.steps + count, before.rejected + solver.tried - count, solver.t - solver.t_old)
            inside = _Inside(solver, flow.size)
            watch.stepped(step, inside)
            while following < len(times) and times[following] <= solver.t:
                watch.record(replace(step, time=times[following]), inside(times[following]))
                following += 1
            signal = agreed_signal(flow.comm)
            if solver.status == "running" or not interval.last:
                watch.checkpoint(solver.position(step), solver.y[: flow.size], urgent=signal > 0)
            stop_together(flow.comm, solver.t, signal)
    return np.array(solver.y[: flow.size]), step


class _Inside:
    """The state within the last step; the interpolant costs three right-hand sides, and is made when it is first needed."""

    def __init__(self, solver: DOP853, size: int) -> None:
        self._solver, self._size = solver, size
        self._interpolant: Any = None

    def __call__(self, time: float) -> Array:
        """Collective. The state at a time of the step."""
        if time == self._solver.t:
            return np.asarray(self._solver.y[: self._size])
        if self._interpolant is None:
            self._interpolant = self._solver.dense_output()
        return np.asarray(self._interpolant(time)[: self._size])


class _Distributed(DOP853):  # type: ignore[misc]
    """DOP853 whose error norm runs over the unknowns of all ranks, so that all take the same steps.

    SciPy ends at once where there is nothing to integrate: a rank without unknowns has one that stays 0.
    """

    def __init__(
        self, flow: Flow, start: Array, total: int, interval: Interval, tolerance: float, restart: Position | None
    ) -> None:
        size = flow.size
        idle = np.zeros(int(size == 0))
        self.begun = False
        self.left: RunError | None = None

        def rates(time: float, vector: Array) -> Array:
            out = np.zeros_like(vector)
            try:
                flow.rates(interval.inside(time), vector[:size], out[:size])
            except RunError as error:
                if not self.begun:
                    raise
                # A step that is too long may leave what is finite: it is rejected. A shorter one goes on, or none does.
                self.left = error
                out.fill(np.nan)
            return out

        absolute = tolerance * np.concatenate((flow.scales(), idle + 1))
        begin, proposed = interval.start, interval.first_step(flow) * (tolerance / AT) ** (1 / 8)
        if restart is not None:
            begin, proposed = restart.step.time, restart.proposed
        options = {"rtol": max(tolerance, SMALLEST), "atol": absolute, "first_step": min(proposed, interval.end - begin)}
        self._comm, self._total = flow.comm, total
        self.tried = 0
        super().__init__(rates, begin, np.concatenate((start, idle)), interval.end, **options)
        self.h_abs, self.begun = proposed, True

    def position(self, step: Step) -> Position:
        """Between two steps; the rates there are evaluated again."""
        return Position(step, float(self.h_abs), np.inf, "dop853")

    def _estimate_error_norm(self, K: Array, h: float, scale: Array) -> float:
        self.tried += 1
        squares = [float(np.sum((K.T @ weights / scale) ** 2)) for weights in (self.E5, self.E3)]
        fifth, third = self._comm.allreduce(np.array(squares))
        if fifth == 0 and third == 0:
            return 0.0
        return float(abs(h) * fifth / np.sqrt((fifth + 0.01 * third) * self._total))
