"""Adaptive time integration by PETSc TS, with records at given times.

The default is the Dormand-Prince pair of order 5(4) (`-ts_type rk -ts_rk_type 5dp`) with the error of a step measured
in the largest component: a maximum does not depend on how the unknowns are spread over ranks, nor on how many cells
lie in the tails.  A step is as long as the error estimate, the Courant number and the next record allow, in this order.
The limiter that keeps q >= 0 acts after each step only if asked to: it costs the superconvergence of the moments.
An integration that is taken up again takes the same steps if its records are the same; methods of several steps and controllers
with a memory of their own, which options may choose, begin anew.
"""

from math import ceil, inf

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc

from mfpde.errors import RunError
from mfpde.evolution.flow import Flow, Position, Step, Watch
from mfpde.evolution.integrate import NEAR, Interval
from mfpde.interrupts import agreed_signal, real_reason, stop_together
from mfpde.petsc import limit_reached

Array = NDArray[np.float64]


def advance(
    flow: Flow, vector: Array, interval: Interval, tolerance: float, watch: Watch, before: Step, restart: Position | None = None
) -> tuple[Array, Step]:
    """Collective. Integrates over an interval and tells `watch` of records and steps; returns the state and the last step.

    Args:
        flow: The right-hand side.
        vector: The state at the interval's start, or where the integration is taken up again.
        interval: Where the right-hand side is smooth.
        tolerance: Error of one step, absolute (in units of `flow.scales`) and relative, in every component.
        watch: Told of each record and each step.
        before: The last step, of the interval before or of an earlier integration: counts go on from there.
        restart: Where that one stood inside this interval.

    Raises:
        RunError: On all ranks, when values are no longer finite or the step size underflows.
    """
    state = PETSc.Vec().createMPI((flow.size, PETSc.DETERMINE), comm=flow.comm)
    with _array(state) as values:
        values[...] = vector
    run = _Run(flow, interval, watch, before, restart)
    ts = _stepper(flow, state, tolerance, run)
    try:
        with real_reason():
            ts.solve(state)
    except PETSc.Error as error:
        reason = str(error).strip().splitlines()[-1]
        raise RunError(f"the time integrator stopped at t = {ts.getTime():.6g}: {reason}") from error
    if run.next < len(run.stops):
        limit = limit_reached(ts, interval.end)
        if limit is not None:
            raise RunError(f"{limit}: the records up to then are kept; allowed: a larger one, or none")
        raise RunError(f"the time integrator stopped at t = {ts.getTime():.6g}: the step size became too small")
    with _array(state, readonly=True) as values:
        return values.copy(), run.step(ts)


class _Run:
    """The callbacks of TS and what they share."""

    def __init__(self, flow: Flow, interval: Interval, watch: Watch, before: Step, restart: Position | None) -> None:
        self.flow, self.interval, self.watch, self.before, self.restart = flow, interval, watch, before, restart
        self.stops = sorted({*interval.times, interval.end})
        self.next = 0
        self.longest = inf if restart is None else restart.longest

    def rates(self, ts: PETSc.TS, time: float, vector: PETSc.Vec, out: PETSc.Vec) -> None:
        with _array(vector, readonly=True) as values, _array(out) as rates:
            self.longest = self.flow.rates(self.interval.inside(time), values, rates)

    def before_step(self, ts: PETSc.TS) -> None:
        """Shortens the step that the error estimate proposes: by the Courant number, by pulses of a rate, to meet the record."""
        step = min(ts.getTimeStep(), self.longest)
        tiny = step < TINY_STEP * self.flow.unit_of_time(ts.getTime())
        most = MOST_TINY_STEPS if tiny else MOST_STEPS
        if ts.getStepNumber() > STARTING and self.interval.end - ts.getTime() > most * step:
            with _array(ts.getSolution(), readonly=True) as values:
                where = self.flow.fastest(ts.getTime(), values)
            raise RunError(
                f"the time step fell to {step:.2g} at t = {ts.getTime():.6g}{where}: the neurons have "
                "become too fast, or the density too thin for the mesh (see /history/torn, /history/negative); lower the "
                "learning rates, take more cells, or an earlier training.final_time"
            )
        step = min(step, self.flow.longest_step(ts.getTime()))
        remaining = self.stops[self.next] - ts.getTime()
        # Equal steps up to the record, rather than a last one that is tiny.
        count = ceil(remaining / step * (1 - 1e-12)) if remaining < 2 * step else 0
        ts.setTimeStep(remaining / count if count else step)

    def after_step(self, ts: PETSc.TS) -> None:
        vector, comm = ts.getSolution(), self.flow.comm
        with _array(vector) as values:
            changed = self.flow.after_step(values)
        if changed:  # the last stage's rates no longer belong to the state
            ts.restartStep()
        step = self.step(ts)
        with _array(vector, readonly=True) as values:
            self.record_due(NEAR * max(self.interval.end, 1.0), step, values)
        self.watch.stepped(step, None)
        signal, ends = agreed_signal(comm), self.interval.last and self.next == len(self.stops)
        self.longest = comm.allreduce(self.longest, op=MPI.MIN)
        position = Position(step, ts.getTimeStep(), self.longest, "petsc")
        with _array(vector, readonly=True) as values:
            self.watch.checkpoint(position, values, urgent=ends or signal > 0)
        stop_together(comm, step.time, signal)
        if self.next == len(self.stops):
            ts.setConvergedReason(PETSc.TS.ConvergedReason.CONVERGED_USER)

    def record_due(self, slack: float, step: Step, values: Array) -> None:
        while self.next < len(self.stops) and step.time >= self.stops[self.next] - slack:
            if self.stops[self.next] in self.interval.times:
                self.watch.record(step, values)
            self.next += 1

    def step(self, ts: PETSc.TS) -> Step:
        # At the record itself the time is the record's, not a sum of steps.
        steps, rejected = self.before.steps + ts.getStepNumber(), self.before.rejected + ts.getStepRejections()
        return Step(ts.getTime(), steps, rejected, ts.getTime() - ts.getPrevTime())


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
    if run.restart is None:
        ts.setTime(run.interval.start)
        ts.setTimeStep(run.interval.first_step(flow))
    else:
        ts.setTime(run.restart.step.time)
        ts.setTimeStep(run.restart.proposed)
    ts.setMaxTime(run.interval.end)
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


# After the first few steps, one of which so many more would be needed means that the run has come to a halt: fewer if
# it is shorter than a share of the flow's unit of time, as when structures of the density shrink below the cells.
STARTING, MOST_STEPS, TINY_STEP, MOST_TINY_STEPS = 20, 1_000_000, 1e-4, 20_000
