"""Runs a convergence study: `mpirun -n 8 python -m mfpde.converge CONFIG.toml --vary cells --values 4 8 16`."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.command import config_parser, load_problem, run_command
from mfpde.errors import InputError, did_you_mean
from mfpde.parallel import on_first

if TYPE_CHECKING:
    from mpi4py import MPI

    from mfpde.problem.problem import Problem
    from mfpde.problem.sections import Config


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    parser = config_parser("converge", "Run a series of configurations and measure the order at which their error falls.")
    parser.add_argument("--vary", required=True, metavar="NAME", help="cells, degree, a_nodes, r_nodes, hermite_degree, ...")
    parser.add_argument("--values", required=True, nargs="+", metavar="VALUE")
    parser.add_argument(
        "--reference",
        default="finest",
        metavar="REFERENCE",
        help="finest (the finest member), characteristics, network (population gradient), or a result file",
    )
    parser.add_argument("--run", choices=("solve", "particles"), help="the program of the members, if not the usual one")
    parser.description = f"{parser.description} The members' results stay beside OUT.h5 and are not computed again."
    return run_command(parser, _command)


@dataclass(frozen=True)
class _Member:
    """A run of the series: its value as given, the program, its configuration and problem."""

    value: str
    program: str
    config: "Config"
    problem: "Problem"

    @property
    def path(self) -> Path:
        return Path(self.config.output.file)


def _command(comm: "MPI.Intracomm", arguments: argparse.Namespace) -> None:
    from mfpde.converge.study import VARIED, refine
    from mfpde.output.history import read_history
    from mfpde.paths import check_series, make_folder

    on_first(comm, lambda: _check(arguments))
    varied = VARIED[arguments.vary]
    values = refine(arguments.values, varied.falling)
    name = f"{arguments.config.stem if arguments.config else 'staircase'}_{arguments.vary}.h5"
    output = Path(name if arguments.output is None else arguments.output)
    program = arguments.run or varied.run

    def member(value: str, file: str, program: str, *overrides: str) -> _Member:
        place = str(output.with_suffix("") / file)
        fixed = ("output.plot=false", "discretization.accuracy=false", "discretization.relative_accuracy=false")
        config, problem = load_problem(comm, arguments, (f"{varied.key}={value}", *fixed, *overrides), place)
        return _Member(value, program, config, problem)

    # Everything is read and checked before anything runs.
    on_first(comm, lambda: check_series(output, "study"))
    members = [member(value, f"{arguments.vary}_{value}.h5", program) for value in values]
    reference = _reference(arguments.reference, members[-1], member)
    runs = [*members, *([reference] if isinstance(reference, _Member) else [])]
    on_first(comm, lambda: _check_reference(reference, output, members[-1]))
    on_first(comm, lambda: make_folder(output, [run.path for run in runs]))
    for one in runs:
        _run(comm, one)
    target = reference or members.pop()
    path = target if isinstance(target, Path) else target.path
    against, *histories = on_first(comm, lambda: [read_history(x) for x in (path, *(one.path for one in members))])
    _report(comm, arguments, output, members, histories, against)


def _check(arguments: argparse.Namespace) -> None:
    from mfpde.converge.study import VARIED

    if arguments.vary not in VARIED:
        hint = did_you_mean(arguments.vary, VARIED)
        raise InputError(f"--vary: unknown {arguments.vary!r}{hint}; allowed: {', '.join(VARIED)}")
    for value in arguments.values:
        try:
            positive = float(value) > 0 and (float(value) < inf or arguments.vary == "dimension")
        except ValueError:
            positive = False
        if not positive:
            raise InputError(f"--values: {value!r}; allowed: positive numbers, for dimension also inf")
    if len({float(value) for value in arguments.values}) < 2:
        raise InputError("--values: allowed: at least two different ones")
    named = VARIED[arguments.vary].references
    if arguments.reference not in ("finest", *named) and not Path(arguments.reference).is_file():
        allowed = ", ".join(("finest", *named))
        raise InputError(
            f"--reference: {arguments.reference!r} is neither a file nor a reference for {arguments.vary}; "
            f"allowed: {allowed}, or a result file"
        )


def _reference(name: str, finest: _Member, member: Callable[..., _Member]) -> _Member | Path | None:
    """None for the finest member, a path, or a further member."""
    from mfpde.converge.study import reference_overrides
    from mfpde.discretisation.resolution import given_resolution, make_labels

    if name == "finest":
        return None
    if name not in ("characteristics", "network"):
        return Path(name)
    problem = finest.problem
    labels = len(make_labels(problem, given_resolution(problem, finest.config.discretization)))
    overrides = reference_overrides(name, labels, problem.p, not problem.w.is_point)
    return member(finest.value, f"{name}.h5", "particles", *overrides)


def _check_reference(reference: Any, output: Path, finest: _Member) -> None:
    """A result file given as the reference can be compared with the members, and is not the study itself."""
    from mfpde.output.history import read_history

    if not isinstance(reference, Path):
        return
    history = read_history(reference)
    p = len(history.modes[0][0])
    if p != finest.problem.p:
        raise InputError(f"--reference: {str(reference)!r} has p = {p}; allowed: p = {finest.problem.p}, as the members have")
    if history.times[0] > finest.config.record_times[-1]:
        raise InputError(f"--reference: {str(reference)!r} begins at t = {history.times[0]:g}, after the end of the members")
    if output.exists() and output.samefile(reference):
        raise InputError(f"--reference: {str(reference)!r} is the study itself; allowed: another file")


def _run(comm: "MPI.Intracomm", member: _Member) -> None:
    """Collective. Runs a member unless its file holds the complete result of the same configuration."""
    import time

    from mfpde.output.finished_runs import is_finished
    from mfpde.particles.run import particles
    from mfpde.progress import remark
    from mfpde.solving import solve

    finished = on_first(comm, lambda: is_finished(member.path, member.config, member.program))
    start = time.monotonic()
    if not finished:
        (solve if member.program == "solve" else particles)(comm, member.config, member.problem)
    if comm.rank == 0:
        what = "kept" if finished else f"{time.monotonic() - start:.1f} s"
        remark(f"{member.path.stem}: {what}")


def _report(
    comm: "MPI.Intracomm", arguments: argparse.Namespace, output: Path, members: Any, histories: Any, against: Any
) -> None:
    """Collective. Prints the table, and writes the study's file and figure."""
    import numpy as np

    from mfpde.converge.picture import plot_study
    from mfpde.converge.study import VARIED, error_of, fit, orders
    from mfpde.output.hdf5 import ResultFile
    from mfpde.progress import report, text_table

    varied = VARIED[arguments.vary]
    rows = [error_of(history, against) for history in histories]
    values = np.array([float(member.value) for member in members])
    repeated = any(row.uncertainty > 0 for row in rows)
    errors = np.array([row.bias if varied.bias and repeated else row.largest for row in rows])
    q, line = orders(values, errors, varied.falling), fit(values, errors, varied.falling)
    seconds = np.array([history.seconds for history in histories])
    with ResultFile(comm, output, kind="study") as file:
        file.attributes({"vary": arguments.vary, "reference": arguments.reference, "fit": str(line), "order": line.order})
        file.attributes({"config": members[0].config.to_toml(), "spectral": line.spectral, "rate": line.rate})
        columns = {"value": values, "error": errors, "order": q, "seconds": seconds}
        columns |= {name: np.array([getattr(row, name) for row in rows]) for name in ("largest", "l2", "bias", "uncertainty")}
        for name, column in columns.items():
            file.dataset(f"/{name}", column)
    if comm.rank == 0:
        head = [arguments.vary, "max |dE|", "L2 of dE", *(["bias", "+-"] if repeated else []), "order", "seconds"]
        table = [
            [member.value, f"{row.largest:.2e}", f"{row.l2:.2e}"]
            + ([f"{row.bias:.2e}", f"{row.uncertainty:.0e}"] if repeated else [])
            + ["" if np.isnan(order) else f"{order:.2f}", f"{second:.2f}"]
            for member, row, order, second in zip(members, rows, q, seconds, strict=True)
        ]
        picture = plot_study(values, errors, line, varied.falling, arguments.vary, output.with_suffix(".png"))
        what = "bias" if varied.bias and repeated else "max |dE|"
        report(text_table(head, table))
        report(f"{line} in {arguments.vary} ({what} against {arguments.reference}: {against.path})")
        report(f"written to {output}, drawn to {picture}")


if __name__ == "__main__":
    sys.exit(main())
