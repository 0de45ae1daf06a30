"""Runs the particle method of a configuration, all repeats of it, and writes the result file."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.features.bases import basis_of
from mfpde.output.hdf5 import ResultFile
from mfpde.particles.methods import METHODS
from mfpde.particles.repeats import RepeatRecorder
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.progress import Progress
from mfpde.width.answer import Width
from mfpde.width.calculate import check, sgd_of, width_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """How a particle run ended.

    Attributes:
        first_loss, loss: Mean over the repeats at the first and last record; `band` the half width of the 95% interval.
        particles: How many there are: with Gauss nodes the product nearest to what was asked for.
        steps: Steps of the last repeat.
        wall_time: In seconds.
        error: Estimated error of the loss at the records, if there is an estimate.
        deviation: Of the last loss of one run, over the repeats; nan for a single run.
    """

    first_loss: float
    loss: float
    band: float
    particles: int
    steps: int
    wall_time: float
    error: Array | None = None
    deviation: float = float("nan")


def particles(comm: MPI.Intracomm, config: Config, problem: Problem) -> Summary:
    """Collective. Runs all repeats of the configuration's [particles] and writes the result file.

    Raises:
        InputError: On all ranks, if the method does not fit the problem or the result cannot be written.
        RunError: On all ranks, if a run cannot go on; the file keeps the records up to then.
    """
    if len(problem.stages) > 1:
        raise InputError("training.stages: particles train in one stage; allowed: no stages, and no training.strategy")
    started = time.monotonic()
    modes = basis_of(problem, problem.numbers(config.discretization))
    run = METHODS[config.particles.method](comm, config, problem, modes)
    final = config.record_times[-1]
    with ResultFile(comm, Path(config.output.file)) as file:
        recorder = RepeatRecorder(file, problem, modes, config)
        with Progress(comm.rank, final * config.particles.repeats) as bar:
            for repeat in range(config.particles.repeats):
                recorder.begin()
                record = _with_progress(recorder.record, bar, repeat * final)
                outcome = run(repeat, record)
        recorder.particles(outcome.fields)
        recorder.finish()
        if outcome.error is not None:
            file.publish()  # the records, to which the errors belong
            file.dataset("/error/estimate", outcome.error)
    wall_time = time.monotonic() - started
    measured = recorder.first_loss, recorder.loss, recorder.band
    return Summary(*measured, outcome.count, outcome.steps, wall_time, outcome.error, recorder.deviation)


def predicted(comm: MPI.Intracomm, config: Config, problem: Problem) -> Width | None:
    """Collective. What the expansion in 1/N says of repeats of a finite network; None of others, or where it is not known."""
    numbers = config.particles
    if numbers.method == "reduced" or numbers.repeats == 1:
        return None
    sgd = sgd_of(config, numbers.batch, numbers.step) if numbers.method == "sgd" else None
    try:
        check(problem, sgd)
    except InputError:
        return None
    return width_of(comm, problem, sgd=sgd)


def _with_progress(record: Callable[..., None], bar: Progress, offset: float) -> Callable[..., None]:
    count = 0

    def both(when: float, loss: float, moments: Array, *penalty: float) -> None:
        nonlocal count
        record(when, loss, moments, *penalty)
        count += 1
        bar.update(offset + when, loss, count)

    return both
