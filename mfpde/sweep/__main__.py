"""Runs a sweep: `mpirun -n 8 python -m mfpde.sweep CONFIG.toml --vary 'input.dimension=[10, 100, inf]' --output sweep.h5`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mfpde.command import config_parser, run_command
from mfpde.errors import InputError, RunError, did_you_mean, quoted
from mfpde.parallel import on_first


def main() -> int:
    """Collective over all ranks. Runs the command line and returns the exit status."""
    parser = config_parser("sweep", "Solve a configuration for all combinations of some values, and draw the phase diagram.")
    parser.add_argument(
        "--vary", required=True, action="append", metavar="SECTION.KEY=[VALUES]", help="one axis; may be repeated"
    )
    parser.add_argument(
        "--level", type=float, default=0.5, help="of the loss, in units of that at t = 0, for time_to_level (0.5)"
    )
    parser.add_argument("--show", default="final_loss", metavar="NAME", help="what to draw: final_loss, time_to_level, ...")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin no further pass of a member after this time")
    parser.description = (
        f"{parser.description} The members are spread over the ranks; their results stay in the directory OUT beside OUT.h5, "
        "and those that are finished are not computed again."
    )
    return run_command(parser, _command)


def _command(comm: Any, arguments: argparse.Namespace) -> None:
    from mfpde.progress import remark, report
    from mfpde.sweep.axes import parse_axes
    from mfpde.sweep.picture import draw
    from mfpde.sweep.plane import collect, write
    from mfpde.sweep.runs import Member, Outcome, only_here, run_all

    name = f"{arguments.config.stem if arguments.config else 'staircase'}_sweep.h5"
    output = Path(name if arguments.output is None else arguments.output)
    axes = on_first(comm, lambda: parse_axes(arguments.vary))
    members = on_first(comm, lambda: _members(arguments, output, axes))

    def told(member: Member, outcome: Outcome) -> None:
        remark(f"{member.name}: {outcome.message or (f'{outcome.seconds:.1f} s' if outcome.seconds else 'kept')}")

    with only_here(comm, output):
        outcomes = run_all(comm, members, output.with_suffix("") / ".queue", arguments.budget, told)
        plane = on_first(comm, lambda: collect(axes, members, outcomes, arguments.level))
        failed = [outcome.message for outcome in outcomes if outcome.message]
        if len(failed) == len(members):
            raise RunError(f"all {len(members)} members failed; the first one: {failed[0]}")
        write(comm, output, plane, {"config": members[0].config.to_toml(), "level": arguments.level})

        def close() -> None:
            report(_table(plane, members))
            if arguments.show not in plane.values:
                raise InputError(f"--show: no member has {arguments.show!r}; allowed: {', '.join(plane.values)}")
            picture = draw(plane, arguments.show, output.with_suffix(".png"))
            report(f"written to {output}, {arguments.show} drawn to {picture}")

        on_first(comm, close)
    if failed:
        raise RunError(f"{len(failed)} of {len(members)} members failed, see /message in {output}; the first one: {failed[0]}")


def _members(arguments: argparse.Namespace, output: Path, axes: Any) -> Any:
    """All members, with their configurations checked, and the directory of their results."""
    import json

    from mfpde import formats
    from mfpde.paths import check_series, make_folder
    from mfpde.problem.config import load
    from mfpde.sweep.axes import member_name, members
    from mfpde.sweep.plane import shown_names
    from mfpde.sweep.runs import Member

    if arguments.show not in (known := shown_names()):
        hint = did_you_mean(arguments.show, known)
        raise InputError(f"--show: {quoted(arguments.show)}{hint}; allowed: {', '.join(known)}")
    if not 0 < arguments.level < 1:
        raise InputError(f"--level: {arguments.level:g}; allowed: between 0 and 1")
    check_series(output, "sweep")
    folder, found = output.with_suffix(""), []
    for index in members(axes):
        name = member_name(axes, index)
        varied = [axis.override(i) for axis, i in zip(axes, index, strict=True)]
        fixed = ["output.plot=false", f"output.file={json.dumps(str(folder / f'{name}.h5'))}"]
        config = load(arguments.config, [*arguments.set, *varied, *fixed])
        formats.names(config)
        found.append(Member(index, name, config))
    make_folder(output, [member.path for member in found])
    return found


def _table(plane: Any, members: Any) -> str:
    from mfpde.digits import credible
    from mfpde.progress import text_table

    head = [*(axis.name for axis in plane.axes), "final loss", "time to level", "seconds"]
    rows = []
    for member in members:
        at = member.index
        labels = [axis.labels[i] for axis, i in zip(plane.axes, at, strict=True)]
        if plane.messages[at]:
            rows.append([*labels, "failed", "", ""])
            continue
        loss, error = plane.values["final_loss"][at], plane.values["final_error"][at]
        reached, late = plane.values["time_to_level"][at], plane.values["time_to_level_error"][at]
        shown = credible(loss, error) if error == error else f"{loss:.6g}"
        when = "never" if reached == float("inf") else credible(reached, late) if late == late else f"{reached:.4g}"
        rows.append([*labels, shown, when, f"{plane.values['wall_time'][at]:.2f}"])
    return text_table(head, rows)


if __name__ == "__main__":
    sys.exit(main())
