"""What the command lines share: arguments, the configuration on all ranks, and how errors end a job."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.early import launched
from mfpde.errors import InputError, RunError, one_line, quoted
from mfpde.parallel import on_first
from mfpde.progress import log_failed, speak
from mfpde.version import __version__

if TYPE_CHECKING:
    from mpi4py import MPI

    from mfpde.problem.problem import Problem
    from mfpde.problem.sections import Config


def run_command(parser: argparse.ArgumentParser, body: Callable[[MPI.Intracomm, argparse.Namespace], None]) -> int:
    """Collective over all ranks. Parses the command line, runs `body(comm, arguments)` and returns the exit status.

    Status 0; 2 for bad input and 1 for a run that cannot go on, 129, 130 and 143 for one that SIGHUP, SIGINT or SIGTERM ended,
    with one line on standard error; an error on any rank ends all of them within seconds.
    """
    arguments, petsc_options = _parse(parser, sys.argv[1:])
    prepare_streams()
    if not _has_folder():
        return 2
    import petsc4py

    # Its handlers of signals would take the place of ours.
    petsc4py.init(["mfpde", "-no_signal_handler", *petsc_options])
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a write that fails is handled below
    from mpi4py import MPI

    from mfpde.interrupts import GRACE, Interrupted, abort, pending, signals_noted, stop_early
    from mfpde.parallel import any_failed
    from mfpde.petsc import check_options, unused_options

    comm = MPI.COMM_WORLD
    with signals_noted(comm):

        def checked() -> None:
            stop_early(comm)
            check_options(petsc_options)
            quiet, log = getattr(arguments, "quiet", False), getattr(arguments, "log", None)
            on_first(comm, lambda: _check_log(log, arguments))
            on_first(comm, lambda: speak(0, quiet, log))
            if comm.rank > 0:
                speak(comm.rank, quiet, log)
            body(comm, arguments)

        status, message = outcome(checked)
        if message is not None and pending():  # what a signal brings down with it, such as the compiler, is not the reason
            interrupted = Interrupted(pending())
            status, message = interrupted.status, message if status == interrupted.status else str(interrupted)
        anywhere = any_failed(comm, message is not None, GRACE)
        if anywhere is None:  # the others are elsewhere, waiting for this rank
            abort(comm, status, f"rank {comm.rank}: {message}")
        if anywhere:
            outcomes = comm.allgather((status, message))
            status = max(status for status, _ in outcomes)
            message = next(message for _, message in outcomes if message is not None)
        failed: int = comm.bcast(int(log_failed()) if comm.rank == 0 else 0)
        status = max(status, failed)
        if comm.rank == 0:
            advice = [f"warning: {text}" for text in unused_options(petsc_options)] if not anywhere else [message]
            for text in filter(None, advice):
                say(text)
        comm.Barrier()
    return status


def outcome(body: Callable[[], None]) -> tuple[int, str | None]:
    """Runs `body`; the exit status, and what to say if it raised anything: "" for nothing."""
    from mfpde.interrupts import Interrupted

    try:
        body()
    except InputError as error:
        return 2, str(error)
    except RunError as error:
        return 1, str(error)
    except Interrupted as error:
        return error.status, str(error)
    except BrokenPipeError:  # the reader of our output, such as head, has left
        leave_output()
        return 0, ""
    except MemoryError as error:
        return 1, f"out of memory: {error}"
    except OSError as error:
        leave_output()
        name = f" {error.filename!r}" if error.filename else ""
        return 1, f"cannot read or write{name}: {error.strerror or error}"
    except Exception as error:
        import traceback

        traceback.print_exc()
        return 1, f"{type(error).__name__}: {error}"
    return 0, None


def _check_log(log: Path | None, arguments: argparse.Namespace) -> None:
    """Raises InputError if a log would be appended to a file that the command reads or writes, or to any result."""
    if log is None:
        return
    others = [Path(path) for name in ("config", "output", "restart") if (path := getattr(arguments, name, None)) is not None]
    for other in others:
        if os.path.realpath(other) == os.path.realpath(log):
            raise InputError(f"--log: {str(log)!r} is a file that the command reads or writes itself; allowed: one of its own")
    if log.suffix in (".h5", ".toml"):
        raise InputError(f"--log: {str(log)!r} is the name of a result or a configuration; allowed: such as run.log")


def leave_output() -> None:
    """What is still to be written to standard output goes nowhere, if it can go where it should."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _has_folder() -> bool:
    """Whether the working directory is still there; MPI and PETSc ask for it."""
    try:
        os.getcwd()
    except OSError as error:
        if not launched():
            say(f"there is no working directory: {error.strerror}; allowed: one that has not been deleted")
        return False
    return True


def say(text: str) -> None:
    """One line on standard error, if anybody still listens there."""
    with suppress(OSError):
        print(f"mfpde: {one_line(text)}", file=sys.stderr, flush=True)


def prepare_streams() -> None:
    """Standard streams that take what is written: also closed ones, and those of a locale without the letters."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file opened, such as the result, would be standard output
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def program(module: str) -> str:
    """What a command's help calls it, as it was called: `mfpde MODULE` or `python -m mfpde.MODULE`."""
    return sys.argv[0] if sys.argv[0] == f"mfpde {module}" else f"python -m mfpde.{module}"


def config_parser(module: str, description: str) -> argparse.ArgumentParser:
    """A parser for `python -m mfpde.MODULE [CONFIG.toml] [--output OUT.h5] [--set section.key=value ...]`."""
    parser = argparse.ArgumentParser(
        prog=program(module),
        description=description,
        epilog="What follows -- goes to PETSc, e.g. -- -ts_rk_type 8vr -ts_monitor.",
    )
    parser.add_argument("config", nargs="?", type=Path, help="TOML file; without it the shipped default example")
    parser.add_argument("--output", metavar="OUT.h5", help="result file, instead of output.file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="overrides a key, also without its section; may be repeated",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but warnings and errors")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append what is said, with its time, to a file")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    ours, petsc = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    if launched():  # not the first: usage errors and help are said once
        parser.print_help = parser.print_usage = lambda *args, **kwargs: None  # type: ignore[method-assign]
        parser.error = lambda message: sys.exit(2)  # type: ignore[method-assign]
    return parser.parse_args(ours), petsc


def load_problem(
    comm: MPI.Intracomm,
    arguments: argparse.Namespace,
    overrides: tuple[str, ...] = (),
    place: str | None = None,
    base: dict[str, Any] | None = None,
) -> tuple[Config, Problem]:
    """Collective. The configuration and the problem of a `config_parser`'s arguments, on all ranks.

    Args:
        comm: All ranks; the first one reads and checks, the others get plain data.
        arguments: Of the command line.
        overrides: Further "section.key=value", which win.
        place: The result file, instead of what the arguments say; its directory may be still to come.
        base: The sections that the overrides change, instead of those of a file.

    Raises:
        InputError: On all ranks, for the first thing that is wrong.
    """
    from mfpde.discretisations import build_problem
    from mfpde.paths import check_output
    from mfpde.problem.config import config_of, load

    def read() -> tuple[Config, Problem]:
        import json

        file = arguments.output if place is None else place
        if any("\ud800" <= letter <= "\udfff" for letter in file or ""):
            raise InputError(f"--output: {quoted(file)} is not UTF-8; allowed: names that are")
        output = [] if file is None else [f"output.file={json.dumps(file)}"]
        changes = [*arguments.set, *overrides, *output]
        config = load(arguments.config, changes) if base is None else config_of(base, changes)
        if place is None:
            check_output(Path(config.output.file), "output.file")
        return config, build_problem(config)

    return on_first(comm, read)
