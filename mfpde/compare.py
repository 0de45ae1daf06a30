"""Compares result files: `python -m mfpde.compare A.h5 B.h5 ... [--output PICTURE.png]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mfpde.callable import make_callable
from mfpde.command import program, run_command
from mfpde.parallel import on_first
from mfpde.version import __version__

if TYPE_CHECKING:
    from mfpde.output.history import Difference, History


class WithHistory(Protocol):
    """What has the curves of a run, such as a `mfpde.Result`."""

    @property
    def history(self) -> History:
        """The curves."""


def compare(one: WithHistory | str | Path, other: WithHistory | str | Path) -> Difference:
    """Difference of E and of the coefficients of two results, `one` minus `other`, at the records of the one that has fewer.

    Args:
        one, other: Results, or files: of this package, or texts with the columns time, loss and perhaps the error of the loss.

    Raises:
        InputError: If a file cannot be read, or the two have nothing in common.
    """
    from mfpde.output.history import difference

    curves = [_read(Path(x)) if isinstance(x, str | Path) else x.history for x in (one, other)]
    return difference(*curves)


def _read(path: Path) -> History:
    """The curves of a result file, or of a text."""
    import h5py

    from mfpde.output.history import check_file, probe, read_history, read_text

    if path.is_file() and path.suffix in TEXT and not h5py.is_hdf5(path):
        return read_text(path)
    check_file(path)
    probe(path)
    return read_history(path)


def main() -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=program("compare"),
        description="Compare the loss and the Hermite coefficients of results of mfpde.solve and mfpde.particles with the first.",
        epilog="A file that is no HDF5 file is read as text: two columns, time and loss, or a third with the error of the loss, "
        "such as a run of your own; time is steps times the learning rate, with the gradient of each of N neurons times N. Two "
        "curves are compared at the records of the one that has fewer; the other is interpolated there, by a cubic "
        "spline if its records are dense enough, else by straight lines. The last column estimates the error of doing so.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--output", type=Path, default=Path("compare.png"), metavar="PICTURE.png")
    parser.add_argument("--version", action="version", version=__version__)
    return run_command(parser, lambda comm, arguments: on_first(comm, lambda: _compare(arguments)))


def _compare(arguments: argparse.Namespace) -> Any:
    from mfpde.errors import InputError
    from mfpde.output.comparison import plot_comparison
    from mfpde.output.history import difference
    from mfpde.paths import check_picture
    from mfpde.progress import text_table

    if len(arguments.files) < 2:
        raise InputError("compare: one file; allowed: two or more")
    check_picture(arguments.output, "--output")
    histories = [_read(path) for path in arguments.files]
    first, *others = histories
    differences = [difference(other, first) for other in others]
    head = [f"against {first.path}", "max |dE|", "L2 of dE", "max |dm|", "L2 of dm", "interpolation"]
    rows = [
        [
            str(other.path),
            *("" if x != x else f"{x:.2e}" for x in (d.max_loss, d.l2_loss, d.max_coefficients, d.l2_coefficients)),
            f"{d.interpolation:.0e}" if d.interpolation else "none",
        ]
        for other, d in zip(others, differences, strict=True)
    ]
    print(text_table(head, rows))
    for other, d in zip(others, differences, strict=True):
        print(_verdict(other.path, first.path, d, [h.path for h in (first, other) if h.error is None]))
    for history in histories:
        if not history.complete:
            print(f"{history.path} is still running, or ended early")
    print(f"drawn to {plot_comparison(histories, differences, arguments.output)}", flush=True)


def _verdict(one: Path, other: Path, difference: Any, silent: list[Path]) -> str:
    """Whether two results differ by more than their errors; only by how much if one of them says nothing of its own."""
    if silent:
        worst = float(difference.times[abs(difference.loss).argmax()])
        told = "say nothing of their errors" if len(silent) > 1 else "says nothing of its error"
        most = f"{one} and {other} differ by at most {difference.max_loss:.2g}, at t = {worst:.4g}"
        return f"{most}; no verdict, as {' and '.join(map(str, silent))} {told}"
    if difference.excess > 1:
        worst = float(difference.times[(abs(difference.loss) / (difference.error + difference.interpolation + 1e-300)).argmax()])
        return f"{one} differs from {other} by {difference.excess:.2g} times their errors, most at t = {worst:.4g}"
    return f"{one} agrees with {other} within their errors: at most {difference.excess:.2g} times"


# Suffixes of files that may be text.
TEXT = ("", ".txt", ".dat", ".csv", ".tsv")

make_callable(__name__)

if __name__ == "__main__":
    sys.exit(main())
