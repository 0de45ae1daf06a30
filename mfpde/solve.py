"""Solves the mean-field dynamics of a configuration file: `mpirun -n 8 python -m mfpde.solve CONFIG.toml`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mfpde.callable import make_callable
from mfpde.command import config_parser, load_problem, run_command
from mfpde.parallel import on_first

if TYPE_CHECKING:
    from mpi4py import MPI

    from mfpde.output.protocol import Summary as Summary
    from mfpde.solving import solve as solve


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    description = "Solve the mean-field training dynamics of a two-layer network for the density of its neurons."
    parser = config_parser("solve", description)
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin no further pass for the accuracy after this time")
    parser.add_argument(
        "--restart", type=Path, metavar="FILE.h5", help="go on from the last checkpoint of a result, in its place or in --output"
    )
    return run_command(parser, _command)


def _command(comm: MPI.Intracomm, arguments: argparse.Namespace) -> None:
    restart = None
    if arguments.restart is None:
        config, problem = load_problem(comm, arguments)
    else:
        from mfpde.output.checkpoint import read_checkpoint
        from mfpde.output.restart import stored

        restart = on_first(comm, lambda: read_checkpoint(arguments.restart, probed=True))
        base = stored(restart.config, restart.path) if arguments.config is None else None
        config, problem = load_problem(comm, arguments, base=base)
    from mfpde.solving import solve

    summary = solve(comm, config, problem, budget=arguments.budget, restart=restart)
    if comm.rank != 0:
        return
    from mfpde.progress import report, table, warn

    rows = [
        ("time", f"{summary.time:g}"),
        *([("continued", f"{restart.path}, from t = {restart.time:g}, step {restart.count}")] if restart is not None else []),
        *_loss_rows(summary, restart is not None),
        *([("beyond", f"{summary.beyond:.4g} of the loss is of the target beyond the Hermite degree")] if summary.beyond else []),
        *summary.rows,
        ("mass error", f"{summary.mass_error:.1e}"),
        ("steps", f"{summary.steps} ({summary.rejected} rejected)"),
        ("unknowns", f"{summary.unknowns}"),
        ("wall time", f"{summary.wall_time:.2f} s on {comm.size} rank{'s' * (comm.size > 1)}"),
        ("file", str(Path(config.output.file))),
        *((name, str(path)) for name, path in summary.files.items()),
    ]
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
        ("accuracy", f"{found.reached_text} over the whole run, {found.wanted.text(found.unit)} asked for"),
        ("resolution", f"{last.resolution}     {chosen}" + (f", {count} passes" if count > 1 else "")),
    ]


def __getattr__(name: str) -> object:
    """`solve` and `Summary`, loaded at first use: PETSc must have its options before what uses it is imported."""
    if name not in ("solve", "Summary"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mfpde import solving

    return vars(solving)[name]


make_callable(__name__, calls="mfpde.solving")

if __name__ == "__main__":
    sys.exit(main())
