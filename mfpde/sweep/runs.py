"""Runs the members of a sweep, spread over the ranks: each group of ranks takes the next one when it is done with its own."""

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mfpde.discretisations import build_problem
from mfpde.errors import InputError, RunError, one_line
from mfpde.output.finished_runs import is_finished
from mfpde.parallel import on_first
from mfpde.solving import solve


@dataclass(frozen=True)
class Member:
    """One run of a sweep: its indices along the axes, name, configuration and file."""

    index: tuple[int, ...]
    name: str
    config: Any

    @property
    def path(self) -> Path:
        return Path(self.config.output.file)


@dataclass(frozen=True)
class Outcome:
    """How a member ended: its seconds (0 if it was kept), and why it failed, or ""."""

    seconds: float
    message: str


@contextmanager
def only_here(comm: Any, output: Path) -> Iterator[None]:
    """Collective. Within the block no other sweep can be of the same output; the kernel drops the lock when a process ends.

    Raises:
        InputError: On all ranks, if another one is.
    """
    place = output.with_suffix("") / ".lock"

    def take() -> TextIO:
        file = place.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise InputError(f"--output: {str(output)!r} is being written by another sweep; allowed: another name") from None
        return file

    lock = on_first(comm, take, share=False)
    try:
        yield
    finally:
        if lock is not None:
            place.unlink(missing_ok=True)
            lock.close()


def run_all(
    comm: Any,
    members: Sequence[Member],
    queue: Path,
    budget: float | None = None,
    told: Callable[[Member, Outcome], None] = lambda member, outcome: None,
) -> list[Outcome]:
    """Collective. Runs all members that are not finished; one that fails does not keep the others from going on.

    Args:
        comm: All ranks: as many groups as there are members, if there are ranks enough, work side by side.
        members: What to run.
        queue: A file that counts the members that were taken, in a place that all ranks see.
        budget: Seconds for the passes of one member, see `solve`.
        told: Called on one rank when a member is done.

    Returns:
        One outcome for each member, on all ranks.
    """
    groups = min(comm.size, len(members))
    group = comm.Split(comm.rank * groups // comm.size, comm.rank)
    on_first(comm, lambda: queue.write_text("0"), share=False)
    found: dict[int, Outcome] = {}
    while (number := on_first(group, lambda: _take(queue))) < len(members):
        found[number] = _run(group, members[number], budget)
        if group.rank == 0:
            told(members[number], found[number])
    merged = {number: outcome for part in comm.allgather(found) for number, outcome in part.items()}
    on_first(comm, lambda: queue.unlink(missing_ok=True))
    group.Free()
    return [merged[number] for number in range(len(members))]


def _take(queue: Path) -> int:
    """The number of the next member; every number is given once."""
    with queue.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        number = int(file.read())
        file.seek(0)
        file.write(str(number + 1))
        file.flush()
    return number


def _run(comm: Any, member: Member, budget: float | None) -> Outcome:
    """Collective over the group. Runs one member, unless its file holds its complete result."""
    start = time.monotonic()
    if on_first(comm, lambda: is_finished(member.path, member.config)):
        return Outcome(0.0, "")
    try:
        problem = on_first(comm, lambda: build_problem(member.config))
        solve(comm, member.config, problem, budget=budget, progress=False)
    except (InputError, RunError) as error:
        return Outcome(time.monotonic() - start, str(error))
    except Exception as error:
        if comm.size > 1:  # the other ranks may not know
            raise
        return Outcome(time.monotonic() - start, one_line(f"{type(error).__name__}: {error}"))
    return Outcome(time.monotonic() - start, "")
