"""Solves a problem for the density of its neurons, and tells its outputs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mpi4py import MPI

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.to_accuracy import BUDGET, AccurateTraining, Answer, Assessment, Begun, Main, Planned
from mfpde.discretisations import discretisation_of, estimates_error, resolution_of
from mfpde.errors import USUAL
from mfpde.evolution.flow import Array, DensityFlow
from mfpde.evolution.pace import patience
from mfpde.formats import outputs as named_outputs
from mfpde.memory import VECTORS, held
from mfpde.output.checkpoint import Checkpoint, decoded
from mfpde.output.checkpointing import Checkpoints
from mfpde.output.hdf5 import ResultFile
from mfpde.output.protocol import Output, Outputs, Run, Summary
from mfpde.output.recorder import Recorder
from mfpde.output.restart import check_restart
from mfpde.output.sink import Sink
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.problem.stages import check_terms
from mfpde.progress import LOG, Progress, Told
from mfpde.training.training import End, Restart, train
from mfpde.width.calculate import check, width_of
from mfpde.width.file import write_width

REMEDY = "raise --budget, or leave discretization keys to the run"
# Integrations of a run to an accuracy, about; and a budget in seconds that is too short to say anything of them.
INTEGRATIONS, SHORT = 20, 60.0


@np.errstate(**USUAL)
def solve(
    comm: MPI.Intracomm,
    config: Config,
    problem: Problem,
    outputs: Sequence[Output] = (),
    budget: float | None = None,
    progress: bool | Told | None = None,
    restart: Checkpoint | None = None,
) -> Summary:
    """Collective. Solves one problem and writes its result file, and what else the configuration's [output] names.

    Args:
        comm: All ranks.
        config: The configuration, see `mfpde.load`.
        problem: What it describes, see `mfpde.build_problem`.
        outputs: Further ones, told of the run after those.
        budget: Seconds after which no further pass for the accuracy begins, and for which a run of thousands of steps may go on;
            an hour if not given.
        progress: How it is shown, see `mfpde.progress.Progress`.
        restart: Where to go on, see `mfpde.output.checkpoint.read_checkpoint`.

    Raises:
        InputError: On all ranks, if the result cannot be written, or the run cannot go on with this configuration.
        RunError: On all ranks, if the run cannot go on; the file keeps the records up to then.
    """
    check_terms(config, problem.stages)
    if restart is not None:
        check_restart(restart, config)
    path = Path(config.output.file)
    return solve_into(ResultFile(comm, path), path, config, problem, outputs, budget, progress, restart)


def solve_into(
    sink: Sink,
    path: Path | None,
    config: Config,
    problem: Problem,
    outputs: Sequence[Output] = (),
    budget: float | None = None,
    progress: bool | Told | None = None,
    restart: Checkpoint | None = None,
) -> Summary:
    """Collective. The same into a file that is given, and closed at the end; `path` is its place if it has one."""
    started, comm = time.monotonic(), sink.comm
    times, options = config.history_times if restart is None else restart.times(config), config.discretization
    if config.output.width:
        check(problem)
    estimates, longest = estimates_error(problem, options), max(SHORT, BUDGET if budget is None else budget)
    patient = patience(longest / INTEGRATIONS if estimates else longest)
    with sink as file, patient, Progress(comm.rank, times[-1], progress) as bar:
        recorder, every, named = Recorder(file, bar), config.output.checkpoint, named_outputs(config)
        checkpoints = [] if every is False else [Checkpoints(recorder, every)]
        told = Outputs(comm, [recorder, *checkpoints, *named.values(), *outputs])
        task = _Task(problem, config, path, recorder, told, budget, times, restart)
        end, answer, unknowns = (_to_accuracy if estimates else _at_given_resolution)(task)
        if answer is not None:
            recorder.error(answer)
        rows, cautions = _width(comm, file, problem, recorder.loss, answer) if config.output.width else ((), ())
    warned = [*problem.notices, *recorder.warned.values(), *cautions]
    if answer is not None and answer.estimate.excess > 1:
        found = answer.estimate
        reached, asked = found.reached_text, found.wanted.text(found.unit)
        warned.append(
            f"the accuracy reached is {reached}, and {asked} was asked for: {found.worst} is left; "
            + (f"begin anew, as a run that goes on keeps its resolution; {REMEDY}" if restart else REMEDY)
        )
    summary = Summary(
        time=end.step.time,
        first_loss=recorder.first_loss,
        loss=recorder.loss,
        answer=None if answer is None else Assessment(answer.estimate, answer.passes, answer.studied),
        mass_error=recorder.mass_error,
        steps=end.step.steps,
        rejected=end.step.rejected,
        unknowns=unknowns,
        wall_time=time.monotonic() - started,
        warnings=tuple(warned),
        beyond=recorder.beyond,
        rows=rows,
    )
    places = told.finish(summary)[1 + len(checkpoints) :]
    return replace(summary, files={name: place for name, place in zip(named, places, strict=False) if place is not None})


def _width(
    comm: MPI.Intracomm, file: Sink, problem: Problem, loss: float, answer: Answer | None
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Collective. Writes what networks of N neurons do; the line that says it, and warnings."""
    found = width_of(comm, problem)
    write_width(file, found)
    line = found.line() if answer is None else found.line(loss, float(answer.estimate.total[-1]))
    return (("width", line),), found.warnings


@dataclass(frozen=True)
class _Task:
    """What is to be done: arguments of `solve`, who is told of it, and the record times over all stages."""

    problem: Problem
    config: Config
    path: Path | None
    recorder: Recorder
    outputs: Outputs
    budget: float | None
    times: list[float]
    checkpoint: Checkpoint | None

    @property
    def comm(self) -> MPI.Intracomm:
        return self.outputs.comm

    @property
    def restart(self) -> Restart | None:
        """Collective. Where the training goes on, if it does."""
        return None if self.checkpoint is None else self.checkpoint.restart(self.comm)

    def begin(
        self,
        flow: DensityFlow,
        resolution: str,
        restart: Checkpoint | None,
        correction: Array | None = None,
        planned: Planned | None = None,
    ) -> int:
        """Collective. Tells the outputs that a run begins, and says how large it is; the unknowns over all ranks."""
        unknowns: int = self.comm.allreduce(flow.size)
        _announce(self.comm, unknowns, resolution)
        self.outputs.begin(Run(self.comm, self.problem, self.config, self.path, flow, self.times, correction, planned, restart))
        return unknowns


def _at_given_resolution(task: _Task) -> tuple[End, None, int]:
    """Collective. One run at the numbers of the configuration, or at their defaults."""
    config, problem = task.config, task.problem
    options = config.discretization
    resolution = resolution_of(problem, options)
    discretisation = discretisation_of(problem, options, resolution)
    flow = discretisation.start(task.comm, problem, options, resolution, config.parallel.mesh_ranks)
    unknowns = task.begin(flow, f"{resolution}" if discretisation.estimates else f"{discretisation.name} frame", task.checkpoint)
    end = train(problem, flow, task.times, resolution.tolerance, task.outputs, checkpointer=task.outputs, restart=task.restart)
    return end, None, unknowns


def _to_accuracy(task: _Task) -> tuple[End, Answer, int]:
    """Collective. As many runs as the accuracy takes; the last main run is the one that is written."""
    config, checkpoint = task.config, task.checkpoint
    unknowns: list[int] = []

    def begin(main: Main) -> Begun:
        if unknowns:
            task.outputs.abandon()
            LOG.info("the accuracy is not reached: a finer run begins")
        goes_on = None if unknowns else checkpoint
        unknowns.append(task.begin(main.flow, str(main.resolution), goes_on, main.correction, main.planned))
        return Begun(task.outputs, task.recorder.losses, task.outputs)

    planned = None if checkpoint is None else decoded(checkpoint.planned, Planned)
    if planned is None:
        unit = task.problem.target.unit
        LOG.info(f"choosing the resolution for the accuracy {Allowed.asked(config.discretization, unit).text(unit)}")
    training = AccurateTraining(
        task.comm,
        task.problem,
        config.discretization,
        task.times,
        begin,
        budget=BUDGET if task.budget is None else task.budget,
        mesh_ranks=config.parallel.mesh_ranks,
    )
    answer = training.run(task.restart, planned)
    return answer.end, answer, unknowns[-1]


def _announce(comm: MPI.Intracomm, unknowns: int, resolution: str) -> None:
    """Collective. One line on the size of a run that begins: the memory of all ranks, with the vectors of the integrator."""
    needed = comm.allreduce(held()) + VECTORS * 8 * unknowns
    ranks = f"{comm.size} rank{'s' * (comm.size > 1)}"
    LOG.info(f"{unknowns} unknowns, about {max(1, round(needed / 2**20))} MB on {ranks}, {resolution}")
