"""Compares result files: `python -m mfpde.compare A.h5 B.h5 ... [--output PICTURE.png]`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mfpde.command import run_command
from mfpde.parallel import on_first


def main() -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mfpde.compare",
        description="Compare the loss and the Hermite coefficients of results of mfpde.solve and mfpde.particles with the first.",
        epilog="Two curves are compared at the records of the one that has fewer; the other is interpolated there, by a cubic "
        "spline if its records are dense enough, else by straight lines. The last column estimates the error of doing so.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.h5")
    parser.add_argument("--output", type=Path, default=Path("compare.png"), metavar="PICTURE.png")
    return run_command(parser, lambda comm, arguments: on_first(comm, lambda: _compare(arguments)))


def _compare(arguments: argparse.Namespace) -> Any:
    from mfpde.errors import InputError
    from mfpde.output.comparison import plot_comparison
    from mfpde.output.history import difference, probe, read_history
    from mfpde.output.paths import check_picture
    from mfpde.progress import text_table

    if len(arguments.files) < 2:
        raise InputError("compare: one file; allowed: two or more")
    check_picture(arguments.output, "--output")
    for path in filter(Path.is_file, arguments.files):
        probe(path)
    first, *others = histories = [read_history(path) for path in arguments.files]
    differences = [difference(other, first) for other in others]
    head = [f"against {first.path}", "max |dE|", "L2 of dE", "max |dm|", "L2 of dm", "interpolation"]
    rows = [
        [
            str(other.path),
            *(f"{x:.2e}" for x in (d.max_loss, d.l2_loss, d.max_coefficients, d.l2_coefficients)),
            f"{d.interpolation:.0e}" if d.interpolation else "none",
        ]
        for other, d in zip(others, differences, strict=True)
    ]
    print(text_table(head, rows))
    for history in histories:
        if not history.complete:
            print(f"{history.path} is still running, or ended early")
    print(f"drawn to {plot_comparison(histories, differences, arguments.output)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
