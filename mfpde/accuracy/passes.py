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
from mfpde.evolution.flow import StageFlow
from mfpde.evolution.grid import checked_mesh_ranks
from mfpde.evolution.start import following_flow
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.problem.stages import Stage, stage_times
from mfpde.training.training import End, Witness, train

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
class Main:
    """A main run that is about to begin: its flow, and what is to be added to E at its records, shape (n,)."""

    flow: StageFlow
    resolution: Resolution
    correction: Array


def train_accurately(
    comm: MPI.Intracomm,
    problem: Problem,
    options: Discretization,
    times: list[float],
    begin: Callable[[Main], tuple[Witness, list[float]]],
    *,
    budget: float = BUDGET,
    mesh_ranks: int = 0,
) -> Answer:
    """Collective. Trains until the estimated error of E over the whole run is below `options.accuracy`.

    Args:
        comm: All ranks.
        problem: What to solve.
        options: The discretisation; numbers that the user gave are kept.
        times: Record times over all stages, ascending.
        begin: Called on all ranks before each main run; returns who is told of it, and a list that holds E of the modes of
            the run, without the correction, at all records when it is done.
        budget: Seconds after which no further pass begins.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.

    Raises:
        InputError: On all ranks, if so many ranks cannot share a mesh.
        RunError: On all ranks, if a run cannot go on.
    """
    assert options.accuracy is not False
    checked_mesh_ranks(comm.size, mesh_ranks)  # now, not after the studies
    unit = 0.5 * problem.target.square or 0.5
    started, wanted, passes = time.monotonic(), options.accuracy, list[Pass]()
    studied = study_times(times)
    places = record_places(problem.stages, studied, times)
    while True:
        clock = [time.monotonic()]
        plan = make_plan(comm, problem, options, studied, wanted * unit).within(LARGEST)
        clock.append(time.monotonic())
        flow = following_flow(comm, problem, plan.resolution, mesh_ranks)
        correction = at_places(plan.truncation.correction, places)
        witness, losses = begin(Main(flow, plan.resolution, correction))
        end = train(problem, flow, times, plan.resolution.tolerance, witness)
        clock.append(time.monotonic())
        at_studied = np.interp(np.arange(len(plan.truncation.correction)), places, losses)
        found = estimate(plan, at_studied, _check(comm, problem, plan), unit, wanted)
        found = replace(found, wanted=options.accuracy).at(places)
        clock.append(time.monotonic())
        studies, main, check = np.diff(clock).tolist()
        passes.append(Pass(plan.resolution, studies, main, check, found.reached))
        spent = comm.bcast(time.monotonic() - started)
        if found.reached <= options.accuracy or len(passes) == PASSES or not found.settled or 3 * spent > budget:
            return Answer(end, found, tuple(passes))
        wanted *= 0.5 * options.accuracy / found.reached


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
