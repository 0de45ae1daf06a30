"""Says what a network can learn of a polynomial, before any run: `python -m mfpde.learnability CONFIG.toml`."""

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from mfpde.command import program, run_command
from mfpde.errors import InputError
from mfpde.learnability.gap import FAMILIES
from mfpde.learnability.report import (
    LARGEST_DEGREE,
    LARGEST_P,
    ORDER,
    TRUNCATED,
    learnability,
    parse_directions,
    parse_subspace,
    target_along,
)
from mfpde.learnability.search import search, summary
from mfpde.learnability.text import render, subspace_text
from mfpde.parallel import on_first
from mfpde.problem.activation import parse_activation
from mfpde.problem.laws import parse_law
from mfpde.problem.target import parse_function, parse_target
from mfpde.version import __version__


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=program("learnability"),
        description="Say what a network can learn of a polynomial: reflective subspace, staircase, Taylor flow.",
    )
    parser.add_argument("config", nargs="?", type=Path, help="TOML file; its target and activation are used")
    parser.add_argument("--polynomial", metavar="H", help='h*, e.g. "z1 + z1*z2*z3"; up to z9')
    parser.add_argument("--activation", metavar="SIGMA", help='e.g. "tanh(u + 0.5)" or relu')
    parser.add_argument("--directions", metavar="ROWS", help='z_i as rows in R^d, e.g. "1, 0, 1; 0, 1, 1": V is found')
    parser.add_argument("--subspace", metavar="FORMS", help='test this S, e.g. "z2, z1 - z3"')
    parser.add_argument("--order", type=int, default=ORDER, help=f"largest order of the Taylor flow (default {ORDER})")
    parser.add_argument("--search", metavar="FAMILIES", help=f"search for gaps instead: {', '.join(FAMILIES)}, or all")
    parser.add_argument("--candidates", type=int, default=500, help="targets of each family (default 500)")
    parser.add_argument("--seed", type=int, default=0, help="of the families")
    parser.add_argument("--output", type=Path, default=Path("gap.h5"), help="of the search; resumed if it is there")
    parser.add_argument("--version", action="version", version=__version__)
    return run_command(parser, _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    if arguments.search:
        if not 1 <= arguments.candidates <= 10**6:
            raise InputError(f"--candidates: {arguments.candidates}; allowed: 1 to 1000000")
        families = list(FAMILIES) if arguments.search == "all" else [name.strip() for name in arguments.search.split(",")]
        rows = search(comm, arguments.output, families, arguments.candidates, arguments.seed)
        if comm.rank == 0:
            print(f"{summary(rows, arguments.seed)}\n\nfile  {arguments.output}", flush=True)
        return
    said = on_first(comm, lambda: _report(arguments))
    if comm.rank == 0:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the reader of our output, such as head, may leave
        print(said, flush=True)


def _report(arguments: argparse.Namespace) -> str:
    from mfpde.problem.config import load

    if not 1 <= arguments.order <= 64:
        raise InputError(f"--order: {arguments.order}; allowed: 1 to 64")
    config = load(arguments.config)
    if config.initial.b is not None:
        raise InputError("initial.b: what is said here is of networks without biases; allowed: without it")
    polynomial = arguments.polynomial or config.target.polynomial
    dimension = None if arguments.polynomial else config.target.subspace_dimension
    activation = parse_activation(arguments.activation or config.network.activation)
    name = "z"
    if arguments.directions:
        rows, rational = parse_directions(arguments.directions)
        name, target = "x", target_along(polynomial, rows, rational)
    elif config.target.function is not None and not arguments.polynomial:
        target = parse_function(config.target.function, dimension)
        target = target if target.energy is None else target.truncated(TRUNCATED)
    else:
        target = parse_target(polynomial, dimension, LARGEST_P, LARGEST_DEGREE)
    subspace = parse_subspace(arguments.subspace, target, name) if arguments.subspace else None
    report = learnability(target, activation, arguments.order, law=parse_law(config.initial.a))
    answer = "" if subspace is None else "\n\n" + subspace_text(report, arguments.subspace, name, subspace)
    return render(report, name) + answer


if __name__ == "__main__":
    sys.exit(main())
