"""Solves the mean-field dynamics of a configuration file: `mpirun -n 8 python -m mfpde.solve CONFIG.toml`."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.callable import make_callable
from mfpde.command import config_parser, load_problem, run_command
from mfpde.parallel import on_first

if TYPE_CHECKING:
    from mfpde.output.checkpoint import Checkpoint
    from mfpde.output.sink import Sink
    from mfpde.progress import Told
    from mfpde.training.training import Output


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        time, loss: At the last record; `first_loss` at the first.
        answer: Its estimated error, if one was asked for (`mfpde.accuracy.to_accuracy.Answer`), else None.
        mass_error: Largest |mass - 1| of a slice over all records.
        steps, rejected: Time steps.
        unknowns: Numbers that evolve, over all ranks.
        wall_time: In seconds, from reading the configuration to closing the file.
        warnings: Advice about what the run did not resolve.
        beyond: The part of the loss that is the energy of the target beyond the largest Hermite degree; 0 for polynomials.
    """

    time: float
    first_loss: float
    loss: float
    answer: Any
    mass_error: float
    steps: int
    rejected: int
    unknowns: int
    wall_time: float
    warnings: tuple[str, ...]
    beyond: float = 0.0


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    description = "Solve the mean-field training dynamics of a two-layer network for the density of its neurons."
    parser = config_parser("solve", description)
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin no further pass for the accuracy after this time")
    parser.add_argument(
        "--restart", type=Path, metavar="FILE.h5", help="go on from the last checkpoint of a result, in its place or in --output"
    )
    return run_command(parser, _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    restart = None
    if arguments.restart is None:
        config, problem = load_problem(comm, arguments)
    else:
        from mfpde.output.checkpoint import read_checkpoint
        from mfpde.output.continuation import stored

        restart = on_first(comm, lambda: read_checkpoint(arguments.restart, probed=True))
        base = stored(restart.config, restart.path) if arguments.config is None else None
        config, problem = load_problem(comm, arguments, base=base)
    summary = solve(comm, config, problem, budget=arguments.budget, restart=restart)
    if comm.rank != 0:
        return
    from mfpde.progress import report, table, warn

    path = Path(config.output.file)
    rows = [
        ("time", f"{summary.time:g}"),
        *([("continued", f"{restart.path}, from t = {restart.time:g}, step {restart.count}")] if restart is not None else []),
        *_loss_rows(summary, restart is not None),
        *([("beyond", f"{summary.beyond:.4g} of the loss is of the target beyond the Hermite degree")] if summary.beyond else []),
        ("mass error", f"{summary.mass_error:.1e}"),
        ("steps", f"{summary.steps} ({summary.rejected} rejected)"),
        ("unknowns", f"{summary.unknowns}"),
        ("wall time", f"{summary.wall_time:.2f} s on {comm.size} rank{'s' * (comm.size > 1)}"),
        ("file", str(path)),
    ]
    if config.output.plot:
        from mfpde.output.plot import plot_loss

        rows.append(("plot", str(plot_loss(path, path.with_name(f"{path.stem}_loss.png")))))
    for advice in summary.warnings:
        warn(advice)
    report(table(rows))


def _loss_rows(summary: Summary, continued: bool) -> list[tuple[str, str]]:
    from mfpde.digits import credible

    if summary.answer is None:
        return [("loss", f"{summary.first_loss:.10g} -> {summary.loss:.10g}     (error not estimated)")]
    found, last = summary.answer.estimate, summary.answer.passes[-1]
    parts = ", ".join(f"{source} {values[-1]:.0e}" for source, values in found.parts.items() if values[-1] > 0)
    first, end = credible(summary.first_loss, found.total[0]), credible(summary.loss, found.total[-1])
    seconds = sum(run.study_seconds + run.main_seconds + run.check_seconds for run in summary.answer.passes)
    count = len(summary.answer.passes)
    studies = seconds - last.main_seconds
    how = f"kept, {studies:.1f} s for its error" if continued and count == 1 else f"chosen in {studies:.1f} s"
    chosen = f"{how}, main run {last.main_seconds:.1f} s"
    return [
        ("loss", f"{first} -> {end}     ({parts})"),
        ("accuracy", f"{found.reached:.1e} over the whole run, {found.wanted:.1e} asked for"),
        ("resolution", f"{last.resolution}     {chosen}" + (f", {count} passes" if count > 1 else "")),
    ]


def solve(
    comm: Any,
    config: Any,
    problem: Any,
    outputs: Sequence["Output"] = (),
    budget: float | None = None,
    progress: "bool | Told | None" = None,
    restart: "Checkpoint | None" = None,
) -> Summary:
    """Collective. Solves one problem and writes its result file.

    Args:
        comm: All ranks.
        config: The configuration, see `mfpde.load`.
        problem: What it describes, see `mfpde.build_problem`.
        outputs: What is written besides; each is told of the stages and of the records.
        budget: Seconds after which no further pass for the accuracy begins; an hour if not given.
        progress: How it is shown, see `mfpde.progress.Progress`.
        restart: Where to go on, see `mfpde.output.checkpoint.read_checkpoint`; `outputs` are told of what follows alone.

    Raises:
        InputError: On all ranks, if the result cannot be written, or the run cannot go on with this configuration.
        RunError: On all ranks, if the run cannot go on; the file keeps the records up to then.
    """
    from mfpde.output.continuation import check_continuation
    from mfpde.output.hdf5 import ResultFile
    from mfpde.problem.stages import check_terms

    path = Path(config.output.file)
    check_terms(config, problem.stages)
    if restart is not None:
        check_continuation(restart, config)
    summary = solve_into(ResultFile(comm, path), config, problem, outputs, budget, progress, restart)
    if config.output.paraview and config.snapshot_times:
        from mfpde.density.paraview import write_series

        write_series(comm, path)
    return summary


def solve_into(
    sink: "Sink",
    config: Any,
    problem: Any,
    outputs: Sequence["Output"] = (),
    budget: float | None = None,
    progress: "bool | Told | None" = None,
    restart: "Checkpoint | None" = None,
) -> Summary:
    """Collective. The same into a file that is given; it is closed at the end."""
    from mfpde.discretisations import estimates_error
    from mfpde.progress import Progress

    started, comm = time.monotonic(), sink.comm
    times, options = config.history_times if restart is None else restart.times(config), config.discretization
    with sink as file, Progress(comm.rank, times[-1], progress) as bar:
        follow = _to_accuracy if estimates_error(problem, options) else _at_given_resolution
        recorder, end, answer, unknowns = follow(_Task(config, problem, file, bar, tuple(outputs), budget, times, restart))
    warned = [*problem.notices, *recorder.warned.values()]
    if answer is not None and answer.estimate.reached > options.accuracy:
        found = answer.estimate
        warned.append(
            f"the accuracy reached is {found.reached:.1e}, and {options.accuracy:.1e} was asked for: {found.worst} is left; "
            + (f"begin anew, as a run that goes on keeps its resolution; {REMEDY}" if restart else REMEDY)
        )
    return Summary(
        time=end.step.time,
        first_loss=recorder.first_loss,
        loss=recorder.loss,
        answer=answer,
        mass_error=recorder.mass_error,
        steps=end.step.steps,
        rejected=end.step.rejected,
        unknowns=unknowns,
        wall_time=time.monotonic() - started,
        warnings=tuple(warned),
        beyond=recorder.beyond,
    )


@dataclass(frozen=True)
class _Task:
    """What is to be done: arguments of `solve`, the open file, the progress, and the record times over all stages."""

    config: Any
    problem: Any
    file: Any
    bar: Any
    outputs: tuple["Output", ...]
    budget: float | None
    times: list[float]
    restart: "Checkpoint | None"

    @property
    def kept(self) -> Any:
        """Collective. Where the training goes on, if it does."""
        return None if self.restart is None else self.restart.kept(self.file.comm)


def _at_given_resolution(task: _Task) -> tuple[Any, ...]:
    """Collective. One run at the numbers of the configuration, or at their defaults."""
    from mfpde.discretisation.resolution import given_resolution
    from mfpde.discretisations import start_flow
    from mfpde.output.recorder import Recorder
    from mfpde.training.training import Together, train

    comm, config, problem = task.file.comm, task.config, task.problem
    options = config.discretization
    flow = start_flow(comm, problem, options, config.parallel.mesh_ranks)
    unknowns = comm.allreduce(flow.size)
    _announce(comm, unknowns, f"{given_resolution(problem, options)}" if options.frame == "flow" else "affine frame")
    recorder = Recorder(task.file, problem, flow, config, task.bar, kept=task.restart)
    witness, tolerance = Together(recorder, task.outputs), problem.numbers(options).tolerance
    end = train(problem, flow, task.times, tolerance, witness, keeper=recorder, kept=task.kept)
    return recorder, end, None, unknowns


def _to_accuracy(task: _Task) -> tuple[Any, ...]:
    """Collective. As many runs as the accuracy takes; the last main run is the one that is written."""
    from mfpde.accuracy.to_accuracy import BUDGET, AccurateTraining, Begun, Course, Main
    from mfpde.output.checkpoint import decoded, encoded
    from mfpde.output.recorder import Recorder
    from mfpde.progress import LOG
    from mfpde.training.training import Together

    comm, config, problem, file, restart = task.file.comm, task.config, task.problem, task.file, task.restart
    recorders: list[tuple[Recorder, int]] = []

    def begin(main: Main) -> Begun:
        if recorders:
            file.restart()
            LOG.info("the accuracy is not reached: a finer run begins")
        unknowns = comm.allreduce(main.flow.size)
        _announce(comm, unknowns, str(main.resolution))
        recorder = Recorder(file, problem, main.flow, config, task.bar, main.correction, None if recorders else restart)
        if config.output.checkpoint is not False:
            file.dataset("/checkpoint/course", encoded(main.course))
        recorders.append((recorder, unknowns))
        return Begun(Together(recorder, task.outputs), recorder.losses, recorder)

    course = None if restart is None else decoded(restart.course, Course)
    if course is None:
        LOG.info(f"choosing the resolution for the accuracy {config.discretization.accuracy:g}")
    training = AccurateTraining(
        comm,
        problem,
        config.discretization,
        task.times,
        begin,
        budget=BUDGET if task.budget is None else task.budget,
        mesh_ranks=config.parallel.mesh_ranks,
    )
    answer = training.run(task.kept, course)
    recorder, unknowns = recorders[-1]
    recorder.error(answer)
    return recorder, answer.end, answer, unknowns


def _announce(comm: Any, unknowns: int, resolution: str) -> None:
    """Collective. One line on the size of a run that begins: the memory of all ranks, with the vectors of the integrator."""
    from mfpde.progress import LOG, memory

    needed = comm.allreduce(memory()) + VECTORS * 8 * unknowns
    ranks = f"{comm.size} rank{'s' * (comm.size > 1)}"
    LOG.info(f"{unknowns} unknowns, about {max(1, round(needed / 2**20))} MB on {ranks}, {resolution}")


REMEDY = "raise --budget, or leave discretization keys to the run"
# Of the state's size, in the method of order 8: its stages, and the workspace of a right-hand side.
VECTORS = 24

make_callable(__name__)

if __name__ == "__main__":
    sys.exit(main())
