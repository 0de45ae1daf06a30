"""A training to a wanted accuracy: studies, the main run, the run that checks it, and more of them if that was not enough."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.choice import make_plan
from mfpde.accuracy.estimate import Estimate, estimate
from mfpde.accuracy.plan import Plan, Request
from mfpde.accuracy.studied_times import Places
from mfpde.accuracy.study_run import run
from mfpde.discretisation.grid import checked_mesh_ranks
from mfpde.discretisation.resolution import Resolution
from mfpde.discretisations import discretisation_of, with_nodes
from mfpde.errors import InputError
from mfpde.evolution.flow import DensityFlow
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.progress import LOG
from mfpde.training.training import Checkpointer, End, Restart, Witness, train

Array = NDArray[np.float64]

# Passes, nodes of a main run, and its seconds if the user says nothing.
PASSES, LARGEST, BUDGET = 3, 3_000_000, 3600.0


@dataclass(frozen=True)
class Pass:
    """One main run: its resolution, seconds of its studies, of itself and of its check, and the accuracy that it reached."""

    resolution: Resolution
    study_seconds: float
    main_seconds: float
    check_seconds: float
    reached: float


@dataclass(frozen=True)
class Studied:
    """What the studies know of E at times of their own, ascending over all stages, shapes (m,).

    Attributes:
        time: Of the training; twice where a stage ends and another begins.
        correction: What is to be added to E of the modes of the main run.
        error: Estimated error of the sum.
        finest: (K, J) of the finest truncation that was studied.
        shift: What m(t) of the main run lacks there, over the modes of that truncation, shape (m, modes), see `Plan.shift`.
    """

    time: Array
    correction: Array
    error: Array
    finest: tuple[int, int]
    shift: Array


@dataclass(frozen=True)
class Assessment:
    """What is known of the error of a training to an accuracy; plain data.

    Attributes:
        estimate: At all records of the main run.
        passes: All main runs, the last one is the answer.
        studied: What is known between the records.
    """

    estimate: Estimate
    passes: tuple[Pass, ...]
    studied: Studied


@dataclass(frozen=True)
class Answer(Assessment):
    """How a training to an accuracy ended.

    Attributes:
        end: Of the main run.
    """

    end: End


@dataclass(frozen=True)
class Planned:
    """How the resolution of a main run came about: with it, a run that goes on later ends as one that was not interrupted.

    Attributes:
        plan: Of the main run.
        wanted: The error for which it was made.
        passes: Before it.
        fixed: Whether the resolution is that of a run that has been made longer, and no finer run may follow.
    """

    plan: Plan
    wanted: Allowed
    passes: tuple[Pass, ...] = ()
    fixed: bool = False


@dataclass(frozen=True)
class Main:
    """A main run that begins: its flow, what is to be added to E at its records, shape (n,), and how it was planned."""

    flow: DensityFlow
    resolution: Resolution
    correction: Array
    planned: Planned


@dataclass(frozen=True)
class Begun:
    """Who is told of a main run, a list that holds E of the modes of the run, without the correction, at all records when it is
    done, and who keeps its state, if anybody does."""

    witness: Witness
    losses: list[float]
    checkpointer: Checkpointer | None = None


class AccurateTraining:
    """Trains until the estimated error of E over the whole run is below an accuracy.

    Args:
        comm: All ranks.
        problem: What to solve.
        options: The discretisation, with the accuracy; numbers that the user gave are kept.
        times: Record times over all stages, ascending.
        begin: Called on all ranks before each main run.
        budget: Seconds after which no further pass begins.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.

    Raises:
        InputError: On all ranks, if so many ranks cannot share a mesh.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        problem: Problem,
        options: Discretization,
        times: list[float],
        begin: Callable[[Main], Begun],
        *,
        budget: float = BUDGET,
        mesh_ranks: int = 0,
    ) -> None:
        assert options.accuracy is not False
        checked_mesh_ranks(comm.size, mesh_ranks)  # now, not after the studies
        self.comm, self.problem, self.times, self.begin = comm, problem, times, begin
        self.options = with_nodes(problem, options)
        self.budget, self.mesh_ranks = budget, mesh_ranks
        self.started = time.monotonic()
        self.wanted = self.asked = Allowed.asked(options, problem.target.unit)
        self.passes: list[Pass] = []

    def run(self, restart: Restart | None = None, planned: Planned | None = None) -> Answer:
        """Collective. Runs one pass after another; the last one is the answer.

        Args:
            restart: Where an earlier main run is to go on, as it was `planned`. If the records are others than those of the plan,
                all sources are studied again over the whole time, at its resolution.
            planned: Of that run.

        Raises:
            InputError: On all ranks, if that resolution does not hold the modes of a stage.
            RunError: On all ranks, if a run cannot go on.
        """
        began = self.started
        if planned is not None:
            planned = self._replanned(planned)
        while True:
            if planned is None:
                planned = Planned(self._plan(), self.wanted, tuple(self.passes))
            end, found, studied = self._pass(planned, restart, began)
            spent = self.comm.bcast(time.monotonic() - self.started)
            enough = found.excess <= 1 or len(self.passes) == PASSES
            if enough or planned.fixed or not found.settled or 3 * spent > self.budget:
                return Answer(found, tuple(self.passes), studied, end)
            self.wanted = self.wanted * (0.5 / found.excess)
            planned, restart = None, None
            began = time.monotonic()

    def _replanned(self, planned: Planned) -> Planned:
        """Collective. How a run that goes on was planned, for the records of this one."""
        if _same(planned.plan.records, self.times):
            self.wanted, self.passes = planned.wanted, list(planned.passes)
            return planned
        LOG.info("the records are others than those that the resolution was chosen for: its error is estimated anew")
        _check_modes(self.problem, planned.plan.resolution)
        return Planned(self._plan(planned.plan.resolution), self.wanted, fixed=True)

    def _plan(self, fixed: Resolution | None = None) -> Plan:
        """Collective. The plan for what is wanted, or that of a resolution which is there already."""
        plan = make_plan(self.comm, Request(self.problem, self.options, self.times, self.wanted, fixed))
        return (plan.within(LARGEST) if fixed is None else plan).measured()

    def _pass(self, planned: Planned, restart: Restart | None, began: float) -> tuple[End, Estimate, Studied]:
        """Collective. One main run, its check and its estimated error; its studies began at `began`."""
        problem, plan = self.problem, planned.plan
        ready = time.monotonic()
        discretisation = discretisation_of(problem, self.options, plan.resolution)
        flow = discretisation.start(self.comm, problem, self.options, plan.resolution, self.mesh_ranks)
        places = Places.of(problem.stages, plan.times, self.times)
        correction, between = places.smooth(plan.correction)
        begun = self.begin(Main(flow, plan.resolution, correction, planned))
        end = train(
            problem, flow, self.times, plan.resolution.tolerance, begun.witness, checkpointer=begun.checkpointer, restart=restart
        )
        trained = time.monotonic()
        at_studied, known = places.among_records(np.array(begun.losses))
        # What a net errs by is measured for all directions together.
        check = at_studied if plan.net else run(problem, self.options, plan.coarser, plan.times, comm=self.comm).loss
        found = estimate(plan, at_studied, check, known, problem.target.unit, self.wanted)
        own = zip(problem.stages, places.studied, strict=True)
        studied_times = np.concatenate([stage.start + t for stage, t in own])
        shift, finest = plan.shift(problem), plan.truncation.finest
        studied = Studied(studied_times, plan.correction, found.total, finest, shift)
        found = replace(found, wanted=self.asked).at(places, between, np.array(begun.losses) + correction)
        seconds = ready - began, trained - ready, time.monotonic() - trained
        self.passes.append(Pass(plan.resolution, *seconds, found.reached))
        return end, found, studied


def _same(one: list[float], other: list[float]) -> bool:
    """Whether times agree but for rounding."""
    return len(one) == len(other) and np.allclose(one, other, rtol=1e-12, atol=0.0)


def _check_modes(problem: Problem, fixed: Resolution) -> None:
    """A polynomial activation has finitely many modes, and all of them must be there."""
    most = max((stage.degree for stage in problem.stages if stage.linear), default=0)
    known = fixed.hermite_degree if problem.w.is_point else min(fixed.hermite_degree, 2 * fixed.radial_degree + 1)
    if most > known:
        raise InputError(
            f"training.stages: an activation of degree {most}, and the run that goes on has K = {fixed.hermite_degree}, J = "
            f"{fixed.radial_degree}; allowed: up to degree {known}"
        )
