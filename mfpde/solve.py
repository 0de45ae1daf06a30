"""Solves the mean-field dynamics of a configuration file: `mpirun -n 8 python -m mfpde.solve CONFIG.toml`."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

import mfpde
from mfpde.errors import InputError, RunError


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    arguments, petsc_options = _arguments(sys.argv[1:])
    import petsc4py

    petsc4py.init(["mfpde", *petsc_options])
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    try:
        _solve(comm, arguments)
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


def _abort(comm, status: int, message: str) -> NoReturn:  # type: ignore[no-untyped-def]
    """One rank's failure ends all of them, rather than leaving them waiting."""
    print(f"mfpde: {message}", file=sys.stderr, flush=True)
    if comm.size > 1:
        comm.Abort(status)
    sys.exit(status)


def _arguments(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    ours, petsc = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(
        prog="python -m mfpde.solve",
        description="Solve the mean-field training dynamics of a two-layer network for the density of its neurons.",
        epilog="What follows -- goes to PETSc, e.g. -- -ts_rk_type 8vr -ts_monitor.",
    )
    parser.add_argument("config", nargs="?", type=Path, help="TOML file; without it the shipped default example runs")
    parser.add_argument("--output", metavar="OUT.h5", help="result file, instead of output.file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="overrides a key; may be repeated"
    )
    parser.add_argument("--version", action="version", version=mfpde.__version__)
    if int(os.environ.get("PMI_RANK", "0")) > 0:  # usage errors and help are said once
        parser.print_help = parser.print_usage = lambda *args, **kwargs: None  # type: ignore[method-assign]
        parser.error = lambda message: sys.exit(2)  # type: ignore[assignment, method-assign]
    return parser.parse_args(ours), petsc


def _solve(comm, arguments: argparse.Namespace) -> None:  # type: ignore[no-untyped-def]
    from mfpde.evolution.dynamics import MeanFieldFlow
    from mfpde.evolution.integrate import integrate
    from mfpde.output.hdf5 import ResultFile
    from mfpde.output.progress import Progress
    from mfpde.output.results import Recorder

    started = time.monotonic()
    config, problem = _problem(comm, arguments)
    path = Path(config.output.file)
    times = sorted({*config.record_times, *config.snapshot_times})
    with ResultFile(comm, path) as file:
        flow = MeanFieldFlow(comm, problem, config.discretization, config.parallel.mesh_ranks)
        recorder = Recorder(file, flow, config)
        with Progress(comm.rank, times[-1]) as bar:
            end = integrate(
                flow,
                times,
                config.discretization.tolerance,
                recorder.record,
                lambda step: bar.update(step.time, recorder.loss, step.steps),
            )
    unknowns = flow.unknowns
    picture = _plot(comm, path) if config.output.plot else None
    if comm.rank == 0:
        rows = [
            ("time", f"{end.time:g}"),
            ("loss", f"{recorder.first_loss:.10g} -> {recorder.loss:.10g}"),
            ("mass error", f"{recorder.mass_error:.1e}"),
            ("steps", f"{end.steps} ({end.rejected} rejected)"),
            ("unknowns", f"{unknowns}"),
            ("wall time", f"{time.monotonic() - started:.2f} s on {comm.size} rank{'s' * (comm.size > 1)}"),
            ("file", str(path)),
            *([("plot", str(picture))] if picture else []),
        ]
        from mfpde.output.progress import table

        for advice in recorder.warned.values():
            print(f"mfpde: warning: {advice}", file=sys.stderr)
        print(table(rows), flush=True)


def _problem(comm, arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Rank 0 reads and checks the configuration; the others get plain data."""
    from mfpde.problem.config import load
    from mfpde.problem.problem import build_problem

    result = error = None
    if comm.rank == 0:
        import json

        overrides = list(arguments.set)
        if arguments.output is not None:
            overrides.append(f"output.file={json.dumps(arguments.output)}")
        try:
            config = load(arguments.config, overrides)
            result = config, build_problem(config)
        except InputError as exception:
            error = str(exception)
    result, error = comm.bcast((result, error))
    if error is not None:
        raise InputError(error)
    return result


def _plot(comm, path: Path) -> Path | None:  # type: ignore[no-untyped-def]
    """The loss beside the result file, by rank 0."""
    if comm.rank != 0:
        return None
    from mfpde.output.plot import plot_loss

    return plot_loss(path, path.with_name(f"{path.stem}_loss.png"))


if __name__ == "__main__":
    sys.exit(main())
