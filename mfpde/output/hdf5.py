"""The result file: complete and readable at every moment, also when the run is killed.

All writing goes to a hidden working file beside the result; `publish` makes a copy and renames it onto the result, so a
reader sees a whole older or a whole newer file.  Copying a large file is dear: then the file that a publication replaces
is kept, under a hidden name, and the next but one is made from it by appending the records that it lacks.  A lock, which
the kernel drops when the process ends, keeps a second run from writing the same file.  Fields are written collectively:
each rank writes its own block of the naturally ordered array, so no rank holds a whole field.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.interrupts import GRACE, deferred, stop_together
from mfpde.output.captions import label, provenance
from mfpde.output.integrity import note, placed_sum, seal
from mfpde.output.sink import CHUNK, FORMAT, Row, append
from mfpde.parallel import any_failed, on_first
from mfpde.paths import Kind, check_output

# Publishing may take this share of the run's time, but waits no longer than so many seconds: half of the second that may be
# lost, as the records of the wait are lost as well if the run is killed while they are written.
PUBLISH_SHARE, LONGEST_WAIT = 0.05, 0.5
# Bytes that HDF5 may need for metadata beside the data of an action.
ROOM = 1 << 16
# Bytes of a file that is not copied again for every publication.
LARGE = 1 << 24

Rows = dict[str, list[NDArray[Any]]]


class ResultFile:
    """An HDF5 result that grows during a run; a context manager. Collective to open, close and write fields.

    Records last: whatever ends the run, kill -9 included, at most one record or the records of one second are lost,
    whichever are more, and the file at `path` is whole, with all records before them.  (Where copying the whole file takes
    more than a second, which happens after a snapshot, or always if there are no hard links: those of twice the time that
    this takes.)  Against a power failure the file is synced as often as that costs 5% of the time.  While it is open,
    SIGINT, SIGTERM and SIGHUP wait for the end of a step, see `mfpde.interrupts`.

    Args:
        comm: All ranks of the run.
        path: The result file; replaced when the first records are published. A link is followed.
        kind: Of one run, of a convergence study, or of a sweep.

    Raises:
        InputError: On all ranks, if the file cannot be written or another run is writing it.
    """

    def __init__(self, comm: MPI.Intracomm, path: Path, kind: Kind = "result") -> None:
        self.comm = comm
        self.path = path
        self._on_first(lambda: check_output(path, "output.file", kind))
        self.path = path = Path(os.path.realpath(path))
        self._work, self._copy, self._old, self._lock_path = (
            path.with_name(f".{path.name}.{kind}") for kind in ("part", "new", "old", "lock")
        )
        self._records: Rows = {}
        self._recorded = False
        self._published, self._cost = -LONGEST_WAIT, 0.0
        self._synced, self._sync_cost = 0.0, 0.0
        # Whether the published file differs from the working one by records alone; those that the kept copy lacks.
        self._alike = False
        self._missing: Rows | None = None
        with contextlib.ExitStack() as waiting:
            if comm.rank > 0:  # a signal to it alone would end rank 0 while that opens the file
                waiting.enter_context(deferred())
            self._on_first(lambda: self._open(waiting))
            self._waiting = waiting.pop_all()

    @property
    def _leftovers(self) -> tuple[Path, ...]:
        return self._work, self._copy, self._old, self._lock_path

    def _on_first[T](self, action: Callable[[], T]) -> T:
        """Collective. Runs `action` on rank 0; what it raises because of the disk is raised on all ranks."""

        def guarded() -> T:
            try:
                return action()
            except (OSError, RuntimeError) as error:
                reason = " ".join(str(getattr(error, "strerror", None) or error).split()).partition(" (file ")[0]
                raise InputError(
                    f"output.file: cannot write {str(self.path)!r}: {reason}; allowed: a writable place with enough room"
                ) from None

        return on_first(self.comm, guarded)

    def _open(self, waiting: contextlib.ExitStack) -> None:
        self._lock = self._lock_path.open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise InputError(f"output.file: {str(self.path)!r} is being written by another run; allowed: another name") from None
        waiting.enter_context(deferred(*self._leftovers))
        for leftover in (self._work, self._copy, self._old):  # of a killed run; readers may still have them open
            leftover.unlink(missing_ok=True)
        self._create()

    def _create(self) -> None:
        with h5py.File(self._work, "w", libver=FORMAT) as file:
            file.attrs.update({**provenance(self.comm.size), "complete": False})

    def clear(self) -> None:
        """Collective. Forgets what has been written: a better run begins. What was published stays until that publishes."""
        self._records.clear()
        self._recorded, self._alike, self._missing = False, False, None
        self._on_first(self._create)

    def __enter__(self) -> "ResultFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # An error may be on one rank alone: then nothing collective may follow.
        failed = any_failed(self.comm, kind is not None, GRACE)
        try:
            if failed is not None and (not failed or self._recorded):
                self._on_first(lambda: self._finish(complete=not failed))
            elif self.comm.rank == 0 and self._recorded:
                self._finish(complete=False)
        except (InputError, OSError, RuntimeError):
            if kind is None:
                raise
        finally:
            if self.comm.rank == 0:
                for leftover in self._leftovers:
                    with contextlib.suppress(OSError):
                        leftover.unlink(missing_ok=True)
                self._lock.close()
            self._waiting.close()
        if failed is False:
            stop_together(self.comm)

    def _finish(self, complete: bool) -> None:
        with h5py.File(self._work, "a", libver=FORMAT) as file:
            file.attrs["complete"] = complete
        self._alike, self._missing, self._sync_cost = False, None, 0.0
        self._publish()

    def attributes(self, values: Mapping[str, object], group: str = "/") -> None:
        """Collective. Sets attributes of a group, by default of the file's root."""
        self._on_first(lambda: self._with_file(lambda file: file.require_group(group).attrs.update(values)))

    def dataset(self, path: str, array: NDArray[Any], **attributes: Any) -> None:
        """Collective. Writes an array that rank 0 holds."""

        def write(file: h5py.File) -> None:
            file.create_dataset(path, data=array).attrs.update(attributes)
            label(file, path)

        self._on_first(lambda: self._with_file(write, array.nbytes))

    def record(self, values: Row) -> None:
        """Collective. Appends one row to each of the named datasets, and publishes unless that was done just before."""
        self._recorded = True
        self._on_first(lambda: self._record(values))

    def _record(self, values: Row) -> None:
        for path, value in values.items():
            self._records.setdefault(path, []).append(np.array(value))
        # A file that takes longer to copy shares the time with the run.
        wait = max(min(LONGEST_WAIT, self._cost / PUBLISH_SHARE), self._cost)
        if time.monotonic() - self._published >= wait:
            self._publish()

    def change(self, action: Callable[[h5py.File], None], size: int = 0) -> None:
        """Collective. Runs an action, which may add about `size` bytes, on rank 0's working file."""
        self._on_first(lambda: self._with_file(action, size))

    def publish(self) -> None:
        """Collective. Makes everything written so far visible in the result file."""
        self._recorded = True
        self._on_first(self._publish)

    def _publish(self) -> None:
        start = time.monotonic()
        rows, self._records = self._records, {}
        self._append(self._work, rows, sealed=self._alike)
        if not (self._missing is not None and self._caught_up(rows)):
            self._copy.unlink(missing_ok=True)  # not rewritten: a reader may have it open
            shutil.copyfile(self._work, self._copy)
        self._sync()
        self._missing = None
        kept = self._alike and self._work.stat().st_size > LARGE and self._keep_replaced()
        self._copy.replace(self.path)
        if kept:
            self._old.replace(self._copy)
            self._missing = rows
        self._alike = True
        self._published = time.monotonic()
        self._cost = self._published - start

    def _caught_up(self, rows: Rows) -> bool:
        """Whether the kept copy could be given the records that it lacks; a reader that has it open forbids it."""
        assert self._missing is not None
        missing = {path: self._missing.get(path, []) + rows.get(path, []) for path in {**self._missing, **rows}}
        try:
            self._append(self._copy, missing)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            return False
        return True

    def _keep_replaced(self) -> bool:
        try:
            self._old.unlink(missing_ok=True)
            os.link(self.path, self._old)
        except OSError:  # no hard links here: the file is copied each time
            return False
        return True

    def _sync(self) -> None:
        start = time.monotonic()
        if start - self._synced >= self._sync_cost / PUBLISH_SHARE:
            with self._copy.open("rb+") as file:
                os.fsync(file.fileno())
            self._synced = time.monotonic()
            self._sync_cost = self._synced - start

    def _with_file[T](self, action: Callable[[h5py.File], T], size: int = 0) -> T:
        """Runs `action`, which adds about `size` bytes, on the working file."""
        self._alike, self._missing = False, None
        return _with_room(self._work, action, size)

    def _append(self, path: Path, records: Rows, sealed: bool = True) -> None:
        def act(file: h5py.File) -> None:
            append(file, records)
            if not sealed:
                seal(file)

        # Datasets grow by whole chunks.
        size = sum((len(rows) + CHUNK) * rows[0].nbytes for rows in records.values() if rows)
        _with_room(path, act, size)

    def field(self, path: str, shape: tuple[int, ...], index: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Collective. Writes a distributed array, in the place of an older one of that name.

        Args:
            path: Name of the dataset.
            shape: Shape of the whole array.
            index: Flat indices of this rank's values in the whole array, each index on exactly one rank.
            values: This rank's values, the shape of `index`.
        """
        from petsc4py import PETSc

        natural = PETSc.Vec().createMPI(int(np.prod(shape)), comm=self.comm)
        natural.setValues(index.ravel().astype(PETSc.IntType), values.ravel())
        natural.assemble()
        total = self.comm.allreduce(placed_sum(values, index))
        offset = self._on_first(lambda: self._reserved(path, shape, total))
        handle = MPI.File.Open(self.comm, str(self._work), MPI.MODE_WRONLY)
        block = natural.getArray(readonly=True)
        status = MPI.Status()
        written = 0
        with contextlib.suppress(MPI.Exception):
            handle.Write_at_all(offset + 8 * natural.getOwnershipRange()[0], block, status)
            written = status.Get_count(MPI.DOUBLE)
        handle.Close()
        whole = self.comm.allreduce(written == len(block), op=MPI.LAND)
        if not whole:
            self._on_first(lambda: self._with_file(lambda file: file.pop(path)))
            raise InputError(
                f"output.file: cannot write {str(self.path)!r}: no room for the density; allowed: fewer output.snapshots"
            )
        natural.destroy()

    def _reserved(self, path: str, shape: tuple[int, ...], total: int) -> int:
        """Where in the working file a distributed array with this sum of its words is to be written."""
        present = self._with_file(lambda file: path in file and file[path].shape == shape)
        size = 0 if present else 8 * int(np.prod(shape))
        return int(self._with_file(lambda file: _reserve(file, path, shape, total), size))


def _with_room[T](path: Path, action: Callable[[h5py.File], T], size: int) -> T:
    """Runs `action`, which adds about `size` bytes, on a file.

    A full disk must be found before: HDF5 crashes on a file whose metadata it can no longer write.
    """
    present = path.stat().st_size
    with path.open("rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), present, size + ROOM)
        finally:
            os.ftruncate(file.fileno(), present)
    with h5py.File(path, "a", libver=FORMAT) as file:
        return action(file)


def _reserve(file: h5py.File, path: str, shape: tuple[int, ...], total: int) -> int:
    """The byte offset of a contiguous dataset of doubles whose room is allocated now, if not before."""
    if path in file:
        if file[path].shape == shape:
            note(file[path], total)
            return int(file[path].id.get_offset())
        del file[path]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    file.require_group(str(Path(path).parent))
    space = h5py.h5s.create_simple(shape)
    dataset = h5py.h5d.create(file.id, path.encode(), h5py.h5t.NATIVE_DOUBLE, space, properties)
    note(file[path], total)
    return int(dataset.get_offset())
