"""Particle references of a configuration file: `mpirun -n 8 python -m mfpde.particles CONFIG.toml`."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfpde.command import config_parser, load_problem, run_command


@dataclass(frozen=True)
class Summary:
    """How a particle run ended.

    Attributes:
        first_loss, loss: Mean over the repeats at the first and last record; `band` the half width of the 95% interval.
        particles: How many there are: with Gauss nodes the product nearest to what was asked for.
        steps: Of the last repeat.
        wall_time: In seconds.
    """

    first_loss: float
    loss: float
    band: float
    particles: int
    steps: int
    wall_time: float


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    description = "Move particles, or the neurons of a finite network, as the reference for mfpde.solve; see [particles]."
    return run_command(config_parser("particles", description), _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    config, problem = load_problem(comm, arguments)
    summary = particles(comm, config, problem)
    if comm.rank != 0:
        return
    from mfpde.output.progress import table

    path, numbers = Path(config.output.file), config.particles
    band = f" +- {summary.band:.1e}" if numbers.repeats > 1 else ""
    rows = [
        ("method", numbers.sampling if numbers.method == "reduced" else numbers.method),
        ("particles", f"{summary.particles}" + (f", {numbers.repeats} repeats" if numbers.repeats > 1 else "")),
        ("loss", f"{summary.first_loss:.10g} -> {summary.loss:.10g}{band}"),
        ("steps", f"{summary.steps}"),
        ("wall time", f"{summary.wall_time:.2f} s on {comm.size} rank{'s' * (comm.size > 1)}"),
        ("file", str(path)),
    ]
    if config.output.plot:
        from mfpde.output.plot import plot_loss

        rows.append(("plot", str(plot_loss(path, path.with_name(f"{path.stem}_loss.png")))))
    print(table(rows), flush=True)


def particles(comm: Any, config: Any, problem: Any) -> Summary:
    """Collective. Runs all repeats of the configuration's [particles] and writes the result file.

    Raises:
        InputError: On all ranks, if the method does not fit the problem or the result cannot be written.
        RunError: On all ranks, if a run cannot go on; the file keeps the records up to then.
    """
    from mfpde.errors import InputError
    from mfpde.features.modes import hermite_modes
    from mfpde.output.hdf5 import ResultFile
    from mfpde.output.progress import Progress
    from mfpde.output.repeats import RepeatRecorder
    from mfpde.studies.methods import METHODS

    if len(problem.stages) > 1:
        raise InputError("training.stages: particles train in one stage; allowed: no stages, and no training.strategy")
    started = time.monotonic()
    numbers = config.discretization
    modes = hermite_modes(problem.p, numbers.hermite_degree, numbers.radial_degree, problem.d)
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
    return Summary(recorder.first_loss, recorder.loss, recorder.band, outcome.count, outcome.steps, time.monotonic() - started)


def _with_progress(record: Callable[..., None], bar: Any, offset: float) -> Callable[..., None]:
    count = 0

    def both(when: float, loss: float, moments: Any) -> None:
        nonlocal count
        record(when, loss, moments)
        count += 1
        bar.update(offset + when, loss, count)

    return both


if __name__ == "__main__":
    sys.exit(main())
