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

if TYPE_CHECKING:
    from mfpde.evolution.flow import StageFlow, Step
    from mfpde.output import Output


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        time, loss: At the last record; `first_loss` at the first.
        mass_error: Largest |mass - 1| of a slice over all records.
        steps, rejected: Time steps.
        unknowns: Numbers that evolve, over all ranks.
        wall_time: In seconds, from reading the configuration to closing the file.
        warnings: Advice about what the run did not resolve.
    """

    time: float
    first_loss: float
    loss: float
    mass_error: float
    steps: int
    rejected: int
    unknowns: int
    wall_time: float
    warnings: tuple[str, ...]


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    description = "Solve the mean-field training dynamics of a two-layer network for the density of its neurons."
    return run_command(config_parser("solve", description), _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    config, problem = load_problem(comm, arguments)
    summary = solve(comm, config, problem)
    if comm.rank != 0:
        return
    from mfpde.progress import table

    path = Path(config.output.file)
    rows = [
        ("time", f"{summary.time:g}"),
        ("loss", f"{summary.first_loss:.10g} -> {summary.loss:.10g}"),
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
        print(f"mfpde: warning: {advice}", file=sys.stderr)
    print(table(rows), flush=True)


def solve(comm: Any, config: Any, problem: Any, outputs: Sequence["Output"] = ()) -> Summary:
    """Collective. Solves one problem and writes its result file.

    Args:
        comm: All ranks.
        config: The configuration, see `mfpde.load`.
        problem: What it describes, see `mfpde.build_problem`.
        outputs: What is written besides; each is told of the stages and of the records.

    Raises:
        InputError: On all ranks, if the result cannot be written.
        RunError: On all ranks, if the run cannot go on; the file keeps the records up to then.
    """
    from mfpde.evolution.start import start_flow
    from mfpde.output.hdf5 import ResultFile
    from mfpde.output.recorder import Recorder
    from mfpde.progress import Progress
    from mfpde.training.training import train

    started = time.monotonic()
    times = config.history_times
    with ResultFile(comm, Path(config.output.file)) as file:
        flow = start_flow(comm, problem, config.discretization, config.parallel.mesh_ranks)
        recorder = Recorder(file, problem, flow, config)
        written: list[Output] = [recorder, *outputs]

        def record(current: "StageFlow", step: "Step", vector: Any) -> None:
            for one in written:
                one.record(current, step, vector)

        def enter(current: "StageFlow") -> None:
            for one in written:
                one.enter(current)

        with Progress(comm.rank, times[-1]) as bar:
            end = train(
                problem,
                flow,
                times,
                config.discretization.tolerance,
                record,
                enter,
                lambda step: bar.update(step.time, recorder.loss, step.steps),
            ).step
        unknowns = comm.allreduce(flow.size)
    return Summary(
        time=end.time,
        first_loss=recorder.first_loss,
        loss=recorder.loss,
        mass_error=recorder.mass_error,
        steps=end.steps,
        rejected=end.rejected,
        unknowns=unknowns,
        wall_time=time.monotonic() - started,
        warnings=tuple(recorder.warned.values()),
    )


make_callable(__name__)

if __name__ == "__main__":
    sys.exit(main())
