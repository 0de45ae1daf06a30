"""Particle references of a configuration file: `mpirun -n 8 python -m mfpde.particles CONFIG.toml`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.command import config_parser, load_problem, run_command

if TYPE_CHECKING:
    from mfpde.particles.run import Summary
    from mfpde.width.answer import Width


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    description = "Move particles, or the neurons of a finite network, as the reference for mfpde.solve; see [particles]."
    return run_command(config_parser("particles", description), _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    from mfpde.particles.run import particles, predicted

    config, problem = load_problem(comm, arguments)
    summary, expansion = particles(comm, config, problem), predicted(comm, config, problem)
    if comm.rank != 0:
        return
    from mfpde.digits import credible
    from mfpde.progress import report, table, warn

    path, numbers = Path(config.output.file), config.particles
    band = f" +- {summary.band:.1e}" if numbers.repeats > 1 else ""
    if summary.error is None:
        shown = [f"{loss:.10g}" for loss in (summary.first_loss, summary.loss)]
    else:
        shown = [credible(summary.first_loss, summary.error[0]), credible(summary.loss, summary.error[-1])]
    rows = [
        ("method", numbers.sampling if numbers.method == "reduced" else numbers.method),
        ("particles", f"{summary.particles}" + (f", {numbers.repeats} repeats" if numbers.repeats > 1 else "")),
        ("loss", " -> ".join(shown) + band),
        *_deviation_rows(summary, expansion),
        ("steps", f"{summary.steps}"),
        ("wall time", f"{summary.wall_time:.2f} s on {comm.size} rank{'s' * (comm.size > 1)}"),
        ("file", str(path)),
    ]
    if config.output.plot:
        from mfpde.output.plot import plot_loss

        rows.append(("plot", str(plot_loss(path, path.with_name(f"{path.stem}_loss.png")))))
    for notice in problem.notices:
        warn(notice)
    report(table(rows))


def _deviation_rows(summary: "Summary", found: "Width | None") -> list[tuple[str, str]]:
    """What one run deviates by from the mean of all, and what the expansion in 1/N says of both."""
    from mfpde.digits import credible

    rows = [("deviation", f"{summary.deviation:.2e} of one run")] if summary.deviation == summary.deviation else []
    if found is not None:
        N = summary.particles
        error = float(found.loss_error[-1] + found.correction_error[-1] / N + (0.0 if found.sgd is None else found.sgd.error[-1]))
        mean, spread = credible(float(found.mean(N)[-1]), error), f"{found.spread(N)[-1]:.2e}"
        formula = "E + c/N" if found.sgd is None else "E + c/N + eta e + (eta/B) q"
        rows.append(("predicted", f"{formula} = {mean}, deviation {spread}     of infinitely many"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
