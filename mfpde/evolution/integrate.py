"""One way to integrate a flow, by any of the time integrators: each can check the others.

petsc    PETSc TS with the user's -ts_* options, by default the Dormand-Prince pair of order 5(4); steps end at the records
dop853   Dormand and Prince's pair of order 8 (SciPy); records come from its interpolant and do not shorten the steps

Where the learning rates jump or have a kink a step ends and integration begins anew, with the limits from inside: each
interval between breaks is a smooth problem of its own.

Between two steps an integration can be left and taken up again (`Position`).  Steps of dop853 do not depend on the records, nor,
but for the last one, on where the integration ends: it hands over the place before that one, and a longer run goes on from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.evolution.flow import Flow, OnRecord, Position, Step, Watch, as_watch

Array = NDArray[np.float64]
Method = Literal["petsc", "dop853"]

# The first step as a share of the flow's unit of time, or of the interval if that is shorter; the error estimate corrects it at
# once.  It does not depend on the end of a long integration: neither do the steps.
FIRST_STEP = 8e-3
# Share of the whole time by which a rate is evaluated beside a break rather than at it.
BESIDE = 2e-12
# Rounding errors of a time that sums up steps, relative to the whole time or to 1.
NEAR = 1e-12


@dataclass(frozen=True)
class Interval:
    """A part of an integration, on which the right-hand side is smooth.

    Attributes:
        start, end: Of the interval.
        times: Records in (start, end], ascending.
        low, high: Times at which the right-hand side is evaluated instead of earlier and later ones.
        last: Whether the integration ends with it.
    """

    start: float
    end: float
    times: tuple[float, ...]
    low: float
    high: float
    last: bool = True

    def inside(self, time: float) -> float:
        """The time, or the limit from inside at an end."""
        return min(max(time, self.low), self.high)

    def first_step(self, flow: Flow) -> float:
        """The length of the first step to be tried."""
        return FIRST_STEP * min(self.end - self.start, flow.unit_of_time(self.inside(self.start)))


def has_stepper_options() -> bool:
    """Whether the user has given PETSc options of a time integrator."""
    from petsc4py import PETSc

    return any(name.startswith("ts_") for name in PETSc.Options().getAll())


def integrate(
    flow: Flow,
    times: Sequence[float],
    tolerance: float,
    watch: Watch | OnRecord,
    method: Method | None = None,
    restart: Position | None = None,
) -> Step:
    """Collective. Integrates the flow from t = 0 and tells `watch` the state at each of `times` (ascending).

    Args:
        flow: The right-hand side.
        times: Record times in [0, final time]; the last one ends the run.
        tolerance: Error of one step, relative and absolute (in units of `flow.scales`).
        watch: Told of each record and each step, on all ranks; or a function of the step and the state at each record.
        method: See the module; by default dop853, or petsc if the user has given any -ts_* option.
        restart: Where an earlier integration stood: the flow's own state is the one there, and `times` are later ones.

    Raises:
        InputError: If another method than that of `restart` is to go on.
        RunError: On all ranks, when values are no longer finite or the step size underflows.
    """
    watch = as_watch(watch)
    if method is None:
        method = "petsc" if has_stepper_options() else "dop853"
    vector = np.empty(flow.size)
    flow.pack(vector)
    idle = flow.comm.allreduce(flow.size) == 0
    if restart is not None and restart.method != method:
        allowed = "without -ts_* options" if method == "petsc" else "with the -ts_* options that it had"
        raise InputError(f"--restart: the run was integrated by {restart.method}, and {method} was to go on; allowed: {allowed}")
    step = Step() if restart is None else restart.step
    for time in times:
        if time <= 0 or idle:
            step = Step(time)
            watch.record(step, vector)
    if idle or times[-1] <= 0:
        return step
    advance = import_module(f"mfpde.evolution.{method}").advance
    near = NEAR * max(times[-1], 1.0)
    for interval in intervals(times, flow.breaks):
        if step.time < interval.end - near:
            inside = restart is not None and step is restart.step and step.time > interval.start + near
            vector, step = advance(flow, vector, interval, tolerance, watch, step, restart if inside else None)
    return step


def intervals(times: Sequence[float], breaks: Sequence[float]) -> list[Interval]:
    """The smooth parts of an integration from 0 to the last of `times`."""
    end = times[-1]
    inner = [t for t in breaks if 0 < t < end]
    found = []
    for low, high in pairwise([0.0, *inner, end]):
        due = tuple(t for t in times if low < t <= high)
        inside = low + BESIDE * end * (low in inner), high - BESIDE * end * (high in breaks)
        found.append(Interval(low, high, due, *inside, last=high == end))
    return found
