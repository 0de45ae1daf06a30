"""A training to a wanted accuracy: studies, the main run, the run that checks it, and more of them if that was not enough."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.accuracy.curves import run
from mfpde.accuracy.estimate import Estimate, at_places, estimate
from mfpde.accuracy.plan import Plan, make_plan
from mfpde.elements.resolution import Resolution
from mfpde.errors import InputError
from mfpde.evolution.flow import StageFlow
from mfpde.evolution.grid import checked_mesh_ranks
from mfpde.evolution.start import following_flow
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.problem.stages import Stage, stage_times
from mfpde.progress import LOG
from mfpde.training.training import End, Keeper, Kept, Witness, train

Array = NDArray[np.float64]

# Records of a study, passes, nodes of a main run, and its seconds if the user says nothing.
STUDIED, PASSES, LARGEST, BUDGET = 41, 3, 3_000_000, 3600.0


@dataclass(frozen=True)
class Pass:
    """One main run: its resolution, seconds of its studies, of itself and of its check, and the accuracy that it reached."""

    resolution: Resolution
    study_seconds: float
    main_seconds: float
    check_seconds: float
    reached: float


@dataclass(frozen=True)
class Answer:
    """How a training to an accuracy ended.

    Attributes:
        end: Of the main run.
        estimate: At all its records.
        passes: All main runs, the last one is the answer.
    """

    end: End
    estimate: Estimate
    passes: tuple[Pass, ...]


@dataclass(frozen=True)
class Course:
    """How the resolution of a main run came about: with it, a run that goes on later ends as one that was not interrupted.

    Attributes:
        plan: Of the main run.
        wanted: The accuracy for which it was made.
        passes: Before it.
        kept: Whether the resolution is that of a run that has been made longer, and no finer run may follow.
    """

    plan: Plan
    wanted: float
    passes: tuple[Pass, ...] = ()
    kept: bool = False


@dataclass(frozen=True)
class Main:
    """A main run that is about to begin: its flow, what is to be added to E at its records, shape (n,), and its course."""

    flow: StageFlow
    resolution: Resolution
    correction: Array
    course: Course


@dataclass(frozen=True)
class Begun:
    """Who is told of a main run, a list that holds E of the modes of the run, without the correction, at all records when it is
    done, and who keeps its state, if anybody does."""

    witness: Witness
    losses: list[float]
    keeper: Keeper | None = None


def train_accurately(
    comm: MPI.Intracomm,
    problem: Problem,
    options: Discretization,
    times: list[float],
    begin: Callable[[Main], Begun],
    *,
    budget: float = BUDGET,
    mesh_ranks: int = 0,
    kept: Kept | None = None,
    course: Course | None = None,
) -> Answer:
    """Collective. Trains until the estimated error of E over the whole run is below `options.accuracy`.

    Args:
        comm: All ranks.
        problem: What to solve.
        options: The discretisation; numbers that the user gave are kept.
        times: Record times over all stages, ascending.
        begin: Called on all ranks before each main run.
        budget: Seconds after which no further pass begins.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.
        kept: Where an earlier main run is to go on, with its `course`. If the records are others than it was planned for, all
            sources are studied again over the whole time, at its resolution.

    Raises:
        InputError: On all ranks, if so many ranks cannot share a mesh, or that resolution does not hold the modes of a stage.
        RunError: On all ranks, if a run cannot go on.
    """
    assert options.accuracy is not False
    checked_mesh_ranks(comm.size, mesh_ranks)  # now, not after the studies
    unit = 0.5 * problem.target.square or 0.5
    started, wanted, passes = time.monotonic(), options.accuracy, list[Pass]()
    studied = study_times(times)
    if course is not None and _same(course.plan.times, studied):
        studied, wanted, passes = course.plan.times, course.wanted, list(course.passes)
    elif course is not None:
        LOG.info("the records are others than those that the resolution was chosen for: its error is estimated anew")
        _check_modes(problem, course.plan.resolution)
        plan = make_plan(comm, problem, options, studied, wanted * unit, course.plan.resolution)
        course = Course(plan, wanted, kept=True)
    places = record_places(problem.stages, studied, times)
    began = started
    while True:
        clock = [began]
        if course is None:
            plan = make_plan(comm, problem, options, studied, wanted * unit).within(LARGEST)
            course = Course(plan, wanted, tuple(passes))
        plan, last = course.plan, course.kept
        clock.append(time.monotonic())
        flow = following_flow(comm, problem, plan.resolution, mesh_ranks)
        correction = at_places(plan.truncation.correction, places)
        begun = begin(Main(flow, plan.resolution, correction, course))
        end = train(problem, flow, times, plan.resolution.tolerance, begun.witness, keeper=begun.keeper, kept=kept)
        course = kept = None
        clock.append(time.monotonic())
        at_studied = np.interp(np.arange(len(plan.truncation.correction)), places, begun.losses)
        found = estimate(plan, at_studied, _check(comm, problem, plan), unit, wanted)
        found = replace(found, wanted=options.accuracy).at(places)
        clock.append(time.monotonic())
        studies, main, check = np.diff(clock).tolist()
        passes.append(Pass(plan.resolution, studies, main, check, found.reached))
        spent = comm.bcast(time.monotonic() - started)
        enough = found.reached <= options.accuracy or len(passes) == PASSES
        if enough or last or not found.settled or 3 * spent > budget:
            return Answer(end, found, tuple(passes))
        wanted *= 0.5 * options.accuracy / found.reached
        began = time.monotonic()


def _same(one: list[float], other: list[float]) -> bool:
    """Whether times agree but for rounding."""
    return len(one) == len(other) and np.allclose(one, other, rtol=1e-12, atol=0.0)


def _check_modes(problem: Problem, kept: Resolution) -> None:
    """A polynomial activation has finitely many modes, and all of them must be there."""
    most = max((stage.degree for stage in problem.stages if stage.linear), default=0)
    known = kept.hermite_degree if problem.w.is_point else min(kept.hermite_degree, 2 * kept.radial_degree + 1)
    if most > known:
        raise InputError(
            f"training.stages: an activation of degree {most}, and the run that goes on has K = {kept.hermite_degree}, J = "
            f"{kept.radial_degree}; allowed: up to degree {known}"
        )


def _check(comm: MPI.Intracomm, problem: Problem, plan: Plan) -> Array:
    """Collective. E of the run that is coarser in every direction."""
    return run(problem, plan.coarser, plan.times, comm=comm).loss


def study_times(times: list[float]) -> list[float]:
    """At most `STUDIED` of the record times, spread evenly over their numbers."""
    chosen = np.unique(np.linspace(0, len(times) - 1, min(STUDIED, len(times))).round().astype(int))
    return [times[k] for k in chosen]


def record_places(stages: tuple[Stage, ...], studied: list[float], times: list[float]) -> Array:
    """Where the records of `times` lie among those of `studied`: whole numbers at common ones, fractions between them."""
    places: list[Array] = []
    before = 0
    for few, all_of_them in zip(stage_times(stages, studied), stage_times(stages, times), strict=True):
        places.append(before + np.interp(all_of_them, few, np.arange(len(few))))
        before += len(few)
    return np.concatenate(places)
