"""One way to integrate a flow, by any of the time integrators: each can check the others.

petsc    PETSc TS with the user's -ts_* options, by default the Dormand-Prince pair of order 5(4); steps end at the records
dop853   Dormand and Prince's pair of order 8 (SciPy); records come from its interpolant and do not shorten the steps

Where the learning rates jump or have a kink a step ends and integration begins anew, with the limits from inside: each
interval between breaks is a smooth problem of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.flow import Flow, OnRecord, Step, Watch, as_watch

Array = NDArray[np.float64]
Method = Literal["petsc", "dop853"]

# Share of the whole time by which a rate is evaluated beside a break rather than at it.
BESIDE = 2e-12


@dataclass(frozen=True)
class Interval:
    """A part of an integration, on which the right-hand side is smooth.

    Attributes:
        start, end: Of the interval.
        times: Records in (start, end], ascending.
        low, high: Times at which the right-hand side is evaluated instead of earlier and later ones.
    """

    start: float
    end: float
    times: tuple[float, ...]
    low: float
    high: float

    def inside(self, time: float) -> float:
        """The time, or the limit from inside at an end."""
        return min(max(time, self.low), self.high)


def has_stepper_options() -> bool:
    """Whether the user has given PETSc options of a time integrator."""
    from petsc4py import PETSc

    return any(name.startswith("ts_") for name in PETSc.Options().getAll())


def integrate(
    flow: Flow, times: Sequence[float], tolerance: float, watch: Watch | OnRecord, method: Method | None = None
) -> Step:
    """Collective. Integrates the flow from t = 0 and tells `watch` the state at each of `times` (ascending).

    Args:
        flow: The right-hand side.
        times: Record times in [0, final time]; the last one ends the run.
        tolerance: Error of one step, relative and absolute (in units of `flow.scales`).
        watch: Told of each record and each step, on all ranks; or a function of the step and the state at each record.
        method: See the module; by default dop853, or petsc if the user has given any -ts_* option.

    Raises:
        RunError: On all ranks, when values are no longer finite or the step size underflows.
    """
    watch = as_watch(watch)
    if method is None:
        method = "petsc" if has_stepper_options() else "dop853"
    vector = np.empty(flow.size)
    flow.pack(vector)
    idle = flow.comm.allreduce(flow.size) == 0
    step = Step()
    for time in times:
        if time <= 0 or idle:
            step = Step(time)
            watch.record(step, vector)
    if idle or times[-1] <= 0:
        return step
    advance = import_module(f"mfpde.evolution.{method}").advance
    for interval in intervals(times, flow.breaks):
        vector, step = advance(flow, vector, interval, tolerance, watch, step)
    return step


def intervals(times: Sequence[float], breaks: Sequence[float]) -> list[Interval]:
    """The smooth parts of an integration from 0 to the last of `times`."""
    end = times[-1]
    inner = [t for t in breaks if 0 < t < end]
    found = []
    for low, high in pairwise([0.0, *inner, end]):
        due = tuple(t for t in times if low < t <= high)
        found.append(Interval(low, high, due, low + BESIDE * end * (low in inner), high - BESIDE * end * (high in breaks)))
    return found
