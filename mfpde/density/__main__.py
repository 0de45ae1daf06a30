"""The density of a run in one or two coordinates: `python -m mfpde.density FILE.h5 --axes v1,v2 [--time T] [--plot]`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mfpde.command import program, run_command
from mfpde.version import __version__


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=program("density"),
        description="The density of the neurons in one or two of a, v1, v2, ..., r, b, at any time of a run, with its L1 error.",
    )
    parser.add_argument("file", type=Path, help="result of mfpde.solve")
    parser.add_argument("--axes", default="v1,v2", metavar="X[,Y]", help="coordinates: a, v1, v2, ..., r, b (default: v1,v2)")
    parser.add_argument("--time", type=float, help="of the training; by default the end")
    parser.add_argument("--bins", metavar="N[,N]", help="bins of each axis (default: 200)")
    parser.add_argument("--accuracy", type=float, help="wanted L1 error (default: 2e-2)")
    parser.add_argument("--output", type=Path, metavar="D.h5", help="write the density there")
    parser.add_argument("--plot", action="store_true", help="draw it to PNG beside the file")
    parser.add_argument("--paraview", action="store_true", help="write all snapshots for ParaView instead, beside the file")
    parser.add_argument("--mesh", action="store_true", help="with --paraview: the elements that move as well")
    parser.add_argument("--version", action="version", version=__version__)
    return run_command(parser, _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    from mfpde.density.marginal import ACCURACY, density
    from mfpde.density.report import advice, report, write
    from mfpde.errors import InputError
    from mfpde.parallel import on_first
    from mfpde.paths import check_output
    from mfpde.progress import table, warn

    try:
        bins = None if arguments.bins is None else [int(word) for word in arguments.bins.split(",")]
    except ValueError:
        raise InputError(f"--bins {arguments.bins!r}: allowed: one or two numbers, such as 200 or 200,100") from None
    if arguments.paraview or arguments.mesh:
        from mfpde.density.paraview import write_series

        files = write_series(comm, arguments.file, arguments.mesh, bins)
        if comm.rank == 0:
            print(table([(name, str(path)) for name, path in files.items()]), flush=True)
        return
    axes = arguments.axes.replace(" ", "").split(",")
    if arguments.output is not None:
        on_first(comm, lambda: check_output(arguments.output, "--output", "density"))
    accuracy = ACCURACY if arguments.accuracy is None else arguments.accuracy
    found = density(arguments.file, axes, arguments.time, bins or [200], accuracy, comm)

    def finish() -> None:
        files = {}
        if arguments.output is not None:
            write(found, arguments.output)
            files["file"] = arguments.output
        if arguments.plot:
            from mfpde.density.picture import plot_density

            stem = (arguments.output or arguments.file).with_suffix("")
            picture = stem.with_name(f"{stem.name}_{'_'.join(axes)}.png")
            files["plot"] = plot_density(arguments.file, picture, [found])
        print(report(found, files), flush=True)
        if (text := advice(found, accuracy)) is not None:
            warn(text)

    on_first(comm, finish, share=False)


if __name__ == "__main__":
    sys.exit(main())
