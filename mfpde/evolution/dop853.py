"""Ordinary differential equations whose unknowns are spread over ranks, by an explicit Runge-Kutta method of order 8.

Dormand and Prince's pair DOP853 of SciPy, with its error norm summed over all ranks; records come from its interpolant
of order 7, so they do not shorten the steps.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.integrate import DOP853

from mfpde.errors import RunError

Array = NDArray[np.float64]

# The first step as a share of the whole time; the error estimate corrects it at once.
FIRST_STEP = 1e-3
# No smaller relative tolerance means anything in double precision.
SMALLEST = 100 * np.finfo(float).eps


class Flow(Protocol):
    """An autonomous or driven flow on distributed unknowns.

    Attributes:
        comm: All ranks.
        start: This rank's unknowns at t = 0, shape (size,).
        scale: Their natural size: what an absolute tolerance is measured in, shape (size,).
    """

    comm: MPI.Intracomm
    start: Array
    scale: Array

    def rates(self, time: float, theta: Array) -> Array:
        """Collective. The time derivative of the unknowns."""


def integrate(flow: Flow, times: Sequence[float], tolerance: float, record: Callable[[float, Array], None]) -> int:
    """Collective. Integrates from t = 0 and hands the unknowns to `record` at each of `times` (ascending).

    Args:
        flow: The right-hand side.
        times: Record times; the last one ends the run.
        tolerance: Of one step, root mean square over all unknowns, absolute (in units of `flow.scale`) and relative.
        record: Called on all ranks with the time and this rank's unknowns.

    Returns:
        The number of steps.

    Raises:
        RunError: On all ranks, if the step size underflows or values are no longer finite.
    """
    total = flow.comm.allreduce(len(flow.start))
    following, steps = 0, 0
    if times[0] <= 0 or total == 0:
        record(times[0], flow.start)
        following = 1
    if following == len(times):
        return 0
    size = len(flow.start)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite ends the run below
        solver = _Distributed(flow, total, times[-1], tolerance)
        while following < len(times):
            message = solver.step()
            if solver.status == "failed":
                raise RunError(f"the integration stopped at t = {solver.t:.6g}: {str(message).lower().rstrip('.')}")
            steps += 1
            if times[following] < solver.t:
                inside = solver.dense_output()
                while following < len(times) and times[following] < solver.t:
                    record(times[following], inside(times[following])[:size])
                    following += 1
            if following < len(times) and times[following] == solver.t:
                record(times[following], solver.y[:size])
                following += 1
    return steps


class _Distributed(DOP853):
    """DOP853 whose error norm runs over the unknowns of all ranks, so that all take the same steps.

    SciPy ends at once where there is nothing to integrate: a rank without unknowns has one that stays 0.
    """

    def __init__(self, flow: Flow, total: int, end: float, tolerance: float) -> None:
        size = len(flow.start)
        idle = np.zeros(int(size == 0))

        def rates(time: float, theta: Array) -> Array:
            return np.concatenate((flow.rates(time, theta[:size]), idle)) if len(idle) else flow.rates(time, theta)

        absolute = tolerance * np.concatenate((flow.scale, idle + 1))
        options = {"rtol": max(tolerance, SMALLEST), "atol": absolute, "first_step": FIRST_STEP * end}
        super().__init__(rates, 0.0, np.concatenate((flow.start, idle)), end, **options)
        self._comm, self._total = flow.comm, total

    def _estimate_error_norm(self, K: Array, h: float, scale: Array) -> float:
        squares = [float(np.sum((K.T @ weights / scale) ** 2)) for weights in (self.E5, self.E3)]
        fifth, third = self._comm.allreduce(np.array(squares))
        if fifth == 0 and third == 0:
            return 0.0
        return float(abs(h) * fifth / np.sqrt((fifth + 0.01 * third) * self._total))
