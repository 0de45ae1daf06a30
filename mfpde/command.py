"""What the command lines share: arguments, the configuration on all ranks, and how errors end a job."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import mfpde
from mfpde.errors import InputError, RunError
from mfpde.parallel import on_first


def run_command(parser: argparse.ArgumentParser, body: Callable[[Any, argparse.Namespace], None]) -> int:
    """Collective over all ranks. Parses the command line, runs `body(comm, arguments)` and returns the exit status.

    Status 0; 2 for bad input and 1 for a run that cannot go on, with one line on rank 0's standard error; an unexpected
    error on any rank ends all of them.
    """
    arguments, petsc_options = _parse(parser, sys.argv[1:])
    import petsc4py

    petsc4py.init(["mfpde", *petsc_options])
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    try:
        body(comm, arguments)
    except (InputError, RunError) as error:
        # Raised on all ranks alike: an orderly end, and one line.
        if comm.rank == 0:
            print(f"mfpde: {error}", file=sys.stderr, flush=True)
        comm.Barrier()
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        _abort(comm, 130, "interrupted")
    except Exception as error:
        import traceback

        traceback.print_exc()
        _abort(comm, 1, f"rank {comm.rank}: {type(error).__name__}: {error}")
    return 0


def _abort(comm: Any, status: int, message: str) -> NoReturn:
    """One rank's failure ends all of them, rather than leaving them waiting."""
    print(f"mfpde: {message}", file=sys.stderr, flush=True)
    if comm.size > 1:
        comm.Abort(status)
    sys.exit(status)


def config_parser(module: str, description: str) -> argparse.ArgumentParser:
    """A parser for `python -m mfpde.MODULE [CONFIG.toml] [--output OUT.h5] [--set section.key=value ...]`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m mfpde.{module}",
        description=description,
        epilog="What follows -- goes to PETSc, e.g. -- -ts_rk_type 8vr -ts_monitor.",
    )
    parser.add_argument("config", nargs="?", type=Path, help="TOML file; without it the shipped default example")
    parser.add_argument("--output", metavar="OUT.h5", help="result file, instead of output.file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="overrides a key; may be repeated"
    )
    parser.add_argument("--version", action="version", version=mfpde.__version__)
    return parser


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    ours, petsc = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    if int(os.environ.get("PMI_RANK", "0")) > 0:  # usage errors and help are said once
        parser.print_help = parser.print_usage = lambda *args, **kwargs: None  # type: ignore[method-assign]
        parser.error = lambda message: sys.exit(2)  # type: ignore[method-assign]
    return parser.parse_args(ours), petsc


def load_problem(comm: Any, arguments: argparse.Namespace, overrides: tuple[str, ...] = ()) -> Any:
    """Collective. The configuration and the problem of a `config_parser`'s arguments, on all ranks.

    Args:
        comm: All ranks; the first one reads and checks, the others get plain data.
        arguments: Of the command line.
        overrides: Further "section.key=value", which win.

    Raises:
        InputError: On all ranks, for the first thing that is wrong.
    """
    from mfpde.problem.config import load
    from mfpde.problem.problem import build_problem

    def read() -> Any:
        import json

        output = [] if arguments.output is None else [f"output.file={json.dumps(arguments.output)}"]
        config = load(arguments.config, [*arguments.set, *output, *overrides])
        return config, build_problem(config)

    return on_first(comm, read)
