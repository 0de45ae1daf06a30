"""Memory: what a process holds, what is left for it, and a run that needs more is refused before it begins."""

import os
import resource
from math import inf
from pathlib import Path

from mpi4py import MPI

from mfpde.errors import RunError

# Doubles for each number of a state, in the method of order 8: its stages, and the tables of a right-hand side.  Measured were 42
# to 49, and in the affine frame 31.
VECTORS = 45
# Where a control group says how much it may hold and how much it does, in both versions of them.
GROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def held() -> int:
    """Bytes that this process holds."""
    try:
        return int((PROC / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def left() -> float:
    """Bytes that the machine, the control groups of this process and its own limit leave to it; inf where nothing says so."""
    return min(_of_machine(), _of_limit(), *map(_of_group, _folders()), inf)


def check_memory(comm: MPI.Intracomm, nodes: int, numbers: int) -> None:
    """Collective. Checks that there is room for a run.

    Args:
        comm: Its ranks.
        nodes: Its nodes over all ranks.
        numbers: Of each node that change with time.

    Raises:
        RunError: On all ranks, if a machine has less left than its ranks need.
    """
    machine = comm.Split_type(MPI.COMM_TYPE_SHARED)
    needed, free = 8 * VECTORS * nodes * numbers * machine.size / comm.size, left()
    machine.Free()
    lacking, needed, free = comm.allreduce((needed - free, needed, free), op=max)
    if lacking > 0:
        raise RunError(
            f"out of memory: {nodes} nodes need about {needed / 2**30:.2g} GB, and {free / 2**30:.2g} GB are left; allowed: "
            "fewer labels or cells (discretization.*), a larger accuracy, or more machines"
        )


def _of_machine() -> float:
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return inf


def _of_limit() -> float:
    """What `ulimit -v` leaves."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return inf
    try:
        return float(limit - int((PROC / "self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError):
        return float(limit)


def _folders() -> list[Path]:
    """Of the control groups of this process, as it sees them: of each version, its own and those above."""
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for _, kinds, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if kinds == "" or "memory" in kinds.split(","):
            root, own = CGROUP / kinds, Path(path.lstrip("/"))
            found += [root / folder for folder in (own, *own.parents)]
    return found


def _of_group(folder: Path) -> float:
    """What a control group leaves: memory that only keeps files can be given up."""
    for most, current, files in GROUPS:
        try:
            limit = int((folder / most).read_text())
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return float(limit - int((folder / current).read_text()) + int(kept.get(files, 0)))
        except (OSError, ValueError):  # not this version, or no limit
            continue
    return inf
