"""The result file: complete and readable at every moment, also when the run is killed.

All writing goes to a hidden working file beside the result; `publish` copies it and renames the copy onto the result,
so a reader sees a whole older or a whole newer file.  A lock, which the kernel drops when the process ends, keeps a
second run from writing the same file.  Fields are written collectively: each rank writes its own block of the
naturally ordered array, so no rank holds a whole field.
"""

import contextlib
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

from mfpde.errors import InputError, RunError
from mfpde.parallel import on_first

# Copying the file may take this share of the run's time.
PUBLISH_SHARE = 0.05
# Bytes that HDF5 may need for metadata beside the data of an action; rows of the history in a chunk.
ROOM, CHUNK = 1 << 16, 64


class ResultFile:
    """An HDF5 result that grows during a run; a context manager. Collective to open, close and write fields.

    Args:
        comm: All ranks of the run.
        path: The result file; replaced when the first records are published.

    Raises:
        InputError: On all ranks, if the file cannot be written or another run is writing it.
    """

    def __init__(self, comm: MPI.Intracomm, path: Path) -> None:
        self.comm = comm
        self.path = path
        self._work = path.with_name(f".{path.name}.part")
        self._copy = path.with_name(f".{path.name}.new")
        self._lock_path = path.with_name(f".{path.name}.lock")
        self._lock: Any = None
        self._records: dict[str, list[Any]] = {}
        self._recorded = False
        self._published, self._cost = time.monotonic(), 0.0
        self._on_first(self._open)

    def _on_first(self, action: Callable[[], Any]) -> Any:
        """Collective. Runs `action` on rank 0; what it raises because of the disk is raised on all ranks."""

        def guarded() -> Any:
            try:
                return action()
            except (OSError, RuntimeError) as error:
                reason = " ".join(str(getattr(error, "strerror", None) or error).split()).partition(" (file ")[0]
                raise InputError(
                    f"output.file: cannot write {str(self.path)!r}: {reason}; allowed: a writable place with enough room"
                ) from None

        return on_first(self.comm, guarded)

    def _open(self) -> None:
        if self.path.is_dir() or not self.path.parent.is_dir():
            what = "is a directory" if self.path.is_dir() else f"has no directory {str(self.path.parent)!r}"
            raise InputError(f"output.file: {str(self.path)!r} {what}; allowed: a file name in an existing directory")
        self._lock = self._lock_path.open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"output.file: {str(self.path)!r} is being written by another run; allowed: another name") from None
        self._create()

    def _create(self) -> None:
        with h5py.File(self._work, "w") as file:
            file.attrs.update(program="mfpde", complete=False)

    def restart(self) -> None:
        """Collective. Forgets what has been written: a better run begins. What was published stays until that publishes."""
        self._records.clear()
        self._recorded = False
        self._on_first(self._create)

    def __enter__(self) -> "ResultFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # An unexpected error may be on one rank alone: then nothing collective may follow.
        together = kind is None or issubclass(kind, InputError | RunError)
        try:
            if together and (kind is None or self._recorded):
                self._on_first(lambda: self._finish(complete=kind is None))
            elif self.comm.rank == 0 and self._recorded:
                self._finish(complete=False)
        except (InputError, OSError):
            if kind is None:
                raise
        finally:
            if self.comm.rank == 0 and self._lock is not None:
                for leftover in (self._work, self._copy, self._lock_path):
                    with contextlib.suppress(OSError):
                        leftover.unlink(missing_ok=True)
                self._lock.close()

    def _finish(self, complete: bool) -> None:
        with h5py.File(self._work, "a") as file:
            file.attrs["complete"] = complete
        self._publish()

    def attributes(self, values: Mapping[str, Any], group: str = "/") -> None:
        """Collective. Sets attributes of a group, by default of the file's root."""
        self._on_first(lambda: self._with_file(lambda file: file.require_group(group).attrs.update(values)))

    def dataset(self, path: str, array: NDArray[Any], **attributes: Any) -> None:
        """Collective. Writes an array that rank 0 holds."""

        def write(file: h5py.File) -> None:
            file.create_dataset(path, data=array).attrs.update(attributes)

        self._on_first(lambda: self._with_file(write, array.nbytes))

    def record(self, values: Mapping[str, Any]) -> None:
        """Collective. Appends one row to each of the named datasets, and publishes if that costs little."""
        self._recorded = True
        if self.comm.rank == 0:
            for path, value in values.items():
                self._records.setdefault(path, []).append(np.array(value))
        due = time.monotonic() - self._published > max(1.0, self._cost / PUBLISH_SHARE)
        if self.comm.bcast(due):
            self.publish()

    def publish(self) -> None:
        """Collective. Makes everything written so far visible in the result file."""
        self._on_first(self._publish)

    def _publish(self) -> None:
        start = time.monotonic()
        # Datasets grow by whole chunks.
        self._with_file(self._append, sum((len(rows) + CHUNK) * rows[0].nbytes for rows in self._records.values()))
        shutil.copyfile(self._work, self._copy)
        with self._copy.open("rb+") as file:
            os.fsync(file.fileno())
        self._copy.replace(self.path)
        self._published = time.monotonic()
        self._cost = self._published - start

    def _with_file(self, action: Callable[[h5py.File], Any], size: int = 0) -> Any:
        """Runs `action`, which adds about `size` bytes, on the working file.

        A full disk must be found before: HDF5 crashes on a file whose metadata it can no longer write.
        """
        self._check_room(size + ROOM)
        with h5py.File(self._work, "a") as file:
            return action(file)

    def _check_room(self, size: int) -> None:
        present = self._work.stat().st_size
        with self._work.open("rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), present, size)
            finally:
                os.ftruncate(file.fileno(), present)

    def _append(self, file: h5py.File) -> None:
        for path, rows in self._records.items():
            new = np.array(rows)
            if path in file:
                old = len(file[path])
                file[path].resize(old + len(new), axis=0)
                file[path][old:] = new
            else:
                file.create_dataset(path, data=new, maxshape=(None, *new.shape[1:]), chunks=(CHUNK, *new.shape[1:]))
        self._records.clear()

    def field(self, path: str, shape: tuple[int, ...], index: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Collective. Writes a distributed array.

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
        offset = self._on_first(lambda: self._with_file(lambda file: _reserve(file, path, shape), 8 * int(np.prod(shape))))
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
            raise InputError(
                f"output.file: cannot write {str(self.path)!r}: no room for the density; allowed: fewer output.snapshots"
            )
        natural.destroy()


def _reserve(file: h5py.File, path: str, shape: tuple[int, ...]) -> int:
    """The byte offset of a new contiguous dataset of doubles whose room is allocated now."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    file.require_group(str(Path(path).parent))
    space = h5py.h5s.create_simple(shape)
    dataset = h5py.h5d.create(file.id, path.encode(), h5py.h5t.NATIVE_DOUBLE, space, properties)
    return int(dataset.get_offset())
