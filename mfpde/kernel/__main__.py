"""The kernel matrix of a training strategy and the rate it proves: `python -m mfpde.kernel CONFIG.toml`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mfpde.command import config_parser, load_problem, run_command


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    description = (
        "Print and plot the spectrum of the kernel matrix with which the last stage of a training strategy learns, and its "
        "exact loss. Without CONFIG: Algorithm 1 of arXiv 2402.08948 for the shipped default example."
    )
    parser = config_parser("kernel", description)
    parser.add_argument("--integrate", action="store_true", help="solve the last stage by the time integrator as well")
    parser.add_argument("--once", action="store_true", help="do not measure the uncertainty by further runs")
    return run_command(parser, _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    staged = any(word.startswith("training.stages") for word in arguments.set)
    config, problem = load_problem(comm, arguments, () if arguments.config or staged else ("training.strategy=chen-ge",))
    from mfpde.kernel.study import integrator_difference, solve_kernel

    study = solve_kernel(comm, config, problem, not arguments.once)
    difference = integrator_difference(study, problem.numbers(config.discretization).tolerance) if arguments.integrate else None
    if comm.rank != 0:
        return
    from mfpde.kernel.report import render
    from mfpde.output.plot import plot_kernel
    from mfpde.progress import report, warn

    path = Path(config.output.file)
    rows = []
    if difference is not None:
        rows.append(("integrator", f"differs from the exact coefficients by at most {difference:.1e}"))
    rows.append(("file", str(path)))
    if config.output.plot:
        rows.append(("plot", str(plot_kernel(path, path.with_name(f"{path.stem}_kernel.png")))))
    for advice in study.warnings:
        warn(advice)
    report(render(study, problem, rows))


if __name__ == "__main__":
    sys.exit(main())
