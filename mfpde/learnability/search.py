"""The search for gaps over families of targets: spread over ranks, kept in an HDF5 file, and resumed from it.

`/NAME/rows` of the file holds one row of whole numbers per candidate of the family NAME (its columns are named in the
attribute `columns`; -1 where it is still to be examined).  A candidate
is a function of its index and the seed, so the rows do not depend on the number of ranks, nor on interruptions.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.learnability.gap import COLUMNS, FAMILIES, ORDER, PER_SIGMA, SIGMAS, examine
from mfpde.learnability.polynomials import raw_monomials, text
from mfpde.progress import counter

Rows = NDArray[np.int64]
WIDTHS = (17, 8, 6, 4, 7, 11)
# Candidates of one rank between two writings of the file.
ROUND = 25


@dataclass(frozen=True)
class Count:
    """Candidates of a family that are not reflective for any S, as one activation sees them.

    Attributes:
        total: How many.
        filled: Whose Taylor flow fills V.
        late: Those among them, at an order beyond the uncancelled one, by at most `latest`.
        latest: Largest excess.
        stuck: Whose flow provably stays in a proper subspace; indices.
        undecided: Neither, up to `ORDER`; indices.
    """

    total: int
    filled: int
    late: int
    latest: int
    stuck: tuple[int, ...]
    undecided: tuple[int, ...]


def search(comm: Any, path: Path, families: Sequence[str], candidates: int, seed: int) -> dict[str, Rows]:
    """Collective. Examines the first `candidates` of each family, those in the file excepted, and returns all rows.

    Raises:
        InputError: On all ranks, if the file belongs to another search or cannot be written.
    """
    from mfpde.parallel import on_first

    rows: dict[str, Rows] = on_first(comm, lambda: _open(path, families, candidates, seed))
    pending = [(name, i) for name in families for i in np.flatnonzero(rows[name][:candidates, 0] < 0)]
    with counter(comm.rank, len(pending), "targets") as bar:
        for start in range(0, len(pending), ROUND * comm.size):
            now = pending[start : start + ROUND * comm.size]
            # Every size-th: neighbours cost about the same.
            mine = [(name, i, examine(FAMILIES[name](int(i), seed), 3).row) for name, i in now[comm.rank :: comm.size]]
            # A few dozen short rows, for the rank that writes.
            found = comm.gather(mine, root=0)
            if comm.rank == 0:
                for name, i, row in (item for part in found for item in part):
                    rows[name][i] = row
            on_first(comm, lambda: _write(path, rows, seed))
            bar.update(len(now))
    return dict(comm.bcast({name: rows[name][:candidates] for name in families}))


def count(rows: Rows, sigma: int) -> Count:
    """The statistics of a family for one of `SIGMAS`."""
    v, n = rows[:, 0], len(PER_SIGMA)
    span, order, invariant, uncancelled, proof = rows[:, 2 + n * sigma : 2 + n * (sigma + 1)].T
    ours = (invariant == v) & (v > 0)
    filled = ours & (span == v)
    excess = np.where(filled, order - uncancelled, 0)
    return Count(
        total=int(ours.sum()),
        filled=int(filled.sum()),
        late=int((excess > 0).sum()),
        latest=int(excess.max(initial=0)),
        stuck=tuple(np.flatnonzero(ours & ~filled & (proof == 1)).tolist()),
        undecided=tuple(np.flatnonzero(ours & ~filled & (proof == 0)).tolist()),
    )


def summary(rows: dict[str, Rows], seed: int, shown: int = 3) -> str:
    """What a search has found, as text."""
    lines = [
        f"{'family':<12}{'activation':<32}{'not reflective':>15}{'fill V':>8}{'late':>6}{'by':>4}{'stuck':>7}{'undecided':>11}"
    ]
    examples = []
    for name, table in rows.items():
        for k, sigma in enumerate(SIGMAS):
            c = count(table, k)
            label = sigma.label.removesuffix(", w = 0")
            numbers = (f"{c.total} of {len(table)}", c.filled, c.late, c.latest, len(c.stuck), len(c.undecided))
            columns = "".join(f"{n:>{width}}" for n, width in zip(numbers, WIDTHS, strict=True))
            lines.append(f"{name:<12}{label:<26}{columns}")
            for word, indices in (("stuck for ever", c.stuck), (f"undecided at s = {ORDER}", c.undecided)):
                for i in indices[:shown]:
                    polynomial = text(raw_monomials(FAMILIES[name](i, seed)))
                    examples.append(f"{word}: {name} {i}, {label}: {polynomial}")
    return "\n".join([*lines, "", *examples]).rstrip()


def _open(path: Path, families: Sequence[str], candidates: int, seed: int) -> dict[str, Rows]:
    for name in families:
        if name not in FAMILIES:
            raise InputError(f"--search: unknown family {name!r}; allowed: {', '.join(FAMILIES)}, or all")
    if not path.parent.is_dir():
        raise InputError(f"--output: {str(path)!r} has no directory {str(path.parent)!r}; allowed: a name in an existing one")
    found: dict[str, Rows] = {}
    if path.exists():
        try:
            with h5py.File(path) as file:
                if file.attrs.get("search") != _identity(seed):
                    raise InputError(f"--output: {str(path)!r} holds something else or another seed; allowed: another name")
                found = {name: file[name]["rows"][:] for name in file}
        except OSError:
            raise InputError(f"--output: {str(path)!r} is not an HDF5 file; allowed: a new name, or a search to resume") from None
    for name in families:
        old = found.get(name, np.empty((0, COLUMNS), dtype=np.int64))
        missing = max(0, candidates - len(old))
        found[name] = np.vstack((old, np.full((missing, COLUMNS), -1, dtype=np.int64)))
    _write(path, found, seed)
    return found


def _identity(seed: int) -> str:
    return f"seed {seed}, order {ORDER}: " + "; ".join(sigma.label for sigma in SIGMAS)


def _write(path: Path, rows: dict[str, Rows], seed: int) -> None:
    """A whole new file, renamed onto the old one: a reader, or a kill, finds one or the other."""
    new = path.with_name(f".{path.name}.new")
    try:
        with h5py.File(new, "w") as file:
            file.attrs.update(program="mfpde", search=_identity(seed), seed=seed)
            columns = ["dimension_v", "dimension_u", *(f"{part} ({sigma.label})" for sigma in SIGMAS for part in PER_SIGMA)]
            for name, table in rows.items():
                data = file.create_dataset(f"{name}/rows", data=table)
                data.attrs["columns"] = columns
        os.replace(new, path)
    except OSError as error:
        raise InputError(f"--output: cannot write {str(path)!r}: {error.strerror or error}; allowed: a writable place") from None
