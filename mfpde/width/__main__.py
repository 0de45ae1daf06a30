"""What networks of N neurons do: `mpirun -n 8 python -m mfpde.width CONFIG.toml --neurons 100`."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from mfpde.command import config_parser, load_problem, run_command


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    description = (
        "What a network of N neurons does in the training of a configuration: the mean E + c/N of its loss and the deviation "
        "s/sqrt(N) of one network, with their errors."
    )
    parser = config_parser("width", description)
    parser.add_argument("--neurons", type=int, metavar="N", help="say how far the expansion holds for N neurons, and draw theirs")
    parser.add_argument(
        "--accuracy", type=float, help="wanted error of c and s, in units of their largest values (default: 0.01)"
    )
    parser.add_argument("--batch", type=int, metavar="B", help="add the terms of one-pass SGD with B samples a step")
    parser.add_argument("--step", type=float, metavar="ETA", help="of steps of this length in time (default: particles.step)")
    parser.add_argument("--plot", action="store_true", help="draw E and the band of N neurons to PNG beside the result")
    return run_command(parser, _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    from mfpde.errors import InputError
    from mfpde.parallel import on_first
    from mfpde.paths import check_output, check_picture

    if arguments.neurons is not None and not 1 <= arguments.neurons <= LARGEST_N:
        raise InputError(f"--neurons: {arguments.neurons}; allowed: 1 to {LARGEST_N}")
    config, problem = load_problem(comm, arguments)
    path = Path(config.output.file).with_suffix("") if arguments.output is None else Path(arguments.output)
    path = path.with_name(f"{path.name}_width.h5") if arguments.output is None else path
    picture = path.with_name(f"{path.stem}_loss.png")

    def check_places() -> None:
        check_output(path, "--output")
        if arguments.plot:
            check_picture(picture, "--plot")

    on_first(comm, check_places)
    from mfpde.output.hdf5 import ResultFile
    from mfpde.width.calculate import ACCURACY, sgd_of, width_of
    from mfpde.width.file import write_result

    started = time.monotonic()
    with ResultFile(comm, path) as file:
        accuracy = ACCURACY if arguments.accuracy is None else arguments.accuracy
        found = width_of(comm, problem, accuracy, sgd_of(config, arguments.batch, arguments.step))
        write_result(file, problem, config, found, arguments.neurons, started)
    if comm.rank != 0:
        return
    from mfpde.progress import report, warn
    from mfpde.width.report import render

    files = {"file": path}
    if arguments.plot:
        from mfpde.output.plot import plot_loss

        files["plot"] = plot_loss(path, picture)
    for advice in (*problem.notices, *found.warnings, *filter(None, [found.caution(arguments.neurons or LARGEST_N)])):
        warn(advice)
    report(render(found, problem, arguments.neurons, time.monotonic() - started, comm.size, files))


# Neurons that may be asked for.
LARGEST_N = 10**12

if __name__ == "__main__":
    sys.exit(main())
