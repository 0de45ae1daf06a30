"""Adaptive time integration by PETSc TS, with records at given times.

The default is the Dormand-Prince pair of order 5(4) (`-ts_type rk -ts_rk_type 5dp`) with the error of a step measured
in the largest component: a maximum does not depend on how the unknowns are spread over ranks, nor on how many cells
lie in the tails.  A step is as long as the error estimate, the Courant number and the next record allow, in this order.
The limiter that keeps q >= 0 acts after each step only if asked to: it costs the superconvergence of the moments.
"""

from collections.abc import Callable, Sequence
from math import ceil, inf

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc

from mfpde.errors import RunError
from mfpde.evolution.flow import Flow, Step

Array = NDArray[np.float64]


def integrate(
    flow: Flow,
    times: Sequence[float],
    tolerance: float,
    record: Callable[[Step, Array], None],
    progress: Callable[[Step], None] = lambda step: None,
) -> Step:
    """Collective. Integrates the flow from t = 0 and hands the state to `record` at each of `times` (ascending).

    Args:
        flow: The right-hand side.
        times: Record times in [0, final time]; the last one ends the run.
        tolerance: Error of one step, absolute and relative, in every component.
        record: Called on all ranks with the step and the state's flat vector (read-only).
        progress: Called on all ranks after every step.

    Raises:
        RunError: On all ranks, when values are no longer finite or the step size underflows.
    """
    vector = PETSc.Vec().createMPI((flow.size, PETSc.DETERMINE), comm=flow.comm)
    with _array(vector) as values:
        flow.pack(values)
    if not vector.getSize():  # nothing evolves: xi_a = xi_w = 0
        return _constant(flow, times, record)
    run = _Run(flow, times, record, progress)
    ts = _stepper(flow, vector, tolerance, run)
    try:
        with _array(vector, readonly=True) as values:
            run.record_due(0.0, Step(), values)
        if run.next < len(times):
            ts.solve(vector)
    except PETSc.Error as error:
        if run.error is not None:
            raise run.error from None
        reason = str(error).strip().splitlines()[-1]
        raise RunError(f"the time integrator stopped at t = {ts.getTime():.6g}: {reason}") from error
    if run.next < len(times):
        raise RunError(f"the time integrator stopped at t = {ts.getTime():.6g}: the step size became too small")
    return run.step(ts)


class _Run:
    """The callbacks of TS and what they share."""

    def __init__(
        self,
        flow: Flow,
        times: Sequence[float],
        record: Callable[[Step, Array], None],
        progress: Callable[[Step], None],
    ) -> None:
        self.flow = flow
        self.times = list(times)
        self.record = record
        self.progress = progress
        self.next = 0
        self.longest = inf
        self.error: Exception | None = None

    def rates(self, ts: PETSc.TS, time: float, vector: PETSc.Vec, out: PETSc.Vec) -> None:
        try:
            with _array(vector, readonly=True) as values, _array(out) as rates:
                self.longest = self.flow.rates(time, values, rates)
        except Exception as error:
            self.error = error
            raise

    def before_step(self, ts: PETSc.TS) -> None:
        """Shortens the step that the error estimate proposes: first by the Courant number, then to meet the record."""
        step = min(ts.getTimeStep(), self.flow.comm.allreduce(self.longest, op=MPI.MIN))
        tiny = step < TINY_STEP * self.flow.unit_of_time(ts.getTime())
        most = MOST_TINY_STEPS if tiny else MOST_STEPS
        if ts.getStepNumber() > STARTING and self.times[-1] - ts.getTime() > most * step:
            with _array(ts.getSolution(), readonly=True) as values:
                where = self.flow.fastest(ts.getTime(), values)
            self.error = RunError(
                f"the time step fell to {step:.2g} at t = {ts.getTime():.6g}{where}: the neurons have "
                "become too fast, or the density too thin for the mesh (see /history/fold, /history/negative); lower the "
                "learning rates, take more cells, or an earlier training.final_time"
            )
            raise self.error
        remaining = self.times[self.next] - ts.getTime()
        # Equal steps up to the record, rather than a last one that is tiny.
        count = ceil(remaining / step * (1 - 1e-12)) if remaining < 2 * step else 0
        ts.setTimeStep(remaining / count if count else step)

    def after_step(self, ts: PETSc.TS) -> None:
        vector = ts.getSolution()
        with _array(vector) as values:
            changed = self.flow.after_step(values)
        if changed:  # the last stage's rates no longer belong to the state
            ts.restartStep()
        step = self.step(ts)
        with _array(vector, readonly=True) as values:
            self.record_due(1e-12 * max(self.times[-1], 1.0), step, values)
        self.progress(step)
        if self.next == len(self.times):
            ts.setConvergedReason(PETSc.TS.ConvergedReason.CONVERGED_USER)

    def record_due(self, slack: float, step: Step, values: Array) -> None:
        while self.next < len(self.times) and step.time >= self.times[self.next] - slack:
            self.record(step, values)
            self.next += 1

    def step(self, ts: PETSc.TS) -> Step:
        # At the record itself the time is the record's, not a sum of steps.
        return Step(ts.getTime(), ts.getStepNumber(), ts.getStepRejections(), ts.getTime() - ts.getPrevTime())


def _stepper(flow: Flow, vector: PETSc.Vec, tolerance: float, run: _Run) -> PETSc.TS:
    ts = PETSc.TS().create(comm=flow.comm)
    ts.setProblemType(PETSc.TS.ProblemType.NONLINEAR)
    ts.setType(PETSc.TS.Type.RK)
    ts.setRKType(PETSc.TS.RKType.RK5DP)
    absolute = vector.duplicate()
    with _array(absolute) as values:
        values[...] = tolerance * flow.scales()
    ts.setTolerances(rtol=tolerance, atol=absolute)
    ts.setRHSFunction(run.rates, vector.duplicate())
    ts.setTime(0.0)
    ts.setTimeStep(FIRST_STEP * run.times[-1])
    ts.setMaxTime(run.times[-1])
    ts.setMaxSteps(np.iinfo(np.int32).max)
    ts.setExactFinalTime(PETSc.TS.ExactFinalTime.STEPOVER)
    ts.setPreStep(run.before_step)
    ts.setPostStep(run.after_step)
    options, norm = PETSc.Options(), "ts_adapt_wnormtype"
    chosen = options.hasName(norm)
    if not chosen:
        options.setValue(norm, "infinity")
    ts.setFromOptions()
    if not chosen:  # so that only what the user gave stays there
        options.delValue(norm)
    return ts


def _constant(flow: Flow, times: Sequence[float], record: Callable[[Step, Array], None]) -> Step:
    for time in times:
        step = Step(time, 0, 0, 0.0)
        record(step, np.zeros(0))
    return step


class _array:
    """A PETSc vector's local values, for as long as the block lasts."""

    def __init__(self, vector: PETSc.Vec, readonly: bool = False) -> None:
        self.vector = vector
        self.readonly = readonly

    def __enter__(self) -> Array:
        values: Array = self.vector.getArray(readonly=self.readonly)
        self.values = values
        return values

    def __exit__(self, *_: object) -> None:
        del self.values


# The first step as a share of the whole time; the error estimate corrects it at once.
FIRST_STEP = 1e-3
# After the first few steps, one of which so many more would be needed means that the run has come to a halt: fewer if
# it is shorter than a share of the flow's unit of time, as when structures of the density shrink below the cells.
STARTING, MOST_STEPS, TINY_STEP, MOST_TINY_STEPS = 20, 1_000_000, 1e-4, 20_000
