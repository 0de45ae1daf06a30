"""What a run writes to: a result file, or the same file in memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.output.captions import label
from mfpde.output.integrity import grow, note, seal, words_sum
from mfpde.parallel import on_first

Array = NDArray[np.float64]
# One row of each of some datasets, by path.
Row = Mapping[str, float | Array]


class Sink(Protocol):
    """An HDF5 file that grows during a run; see `mfpde.output.hdf5.ResultFile` for what is promised of one on disk."""

    @property
    def comm(self) -> MPI.Intracomm:
        """All ranks of the run."""

    @property
    def path(self) -> Path:
        """Where it lies, or would."""

    def __enter__(self) -> Self:
        """Collective."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Collective."""

    def clear(self) -> None:
        """Collective. Forgets what has been written."""

    def attributes(self, values: Mapping[str, object], group: str = "/") -> None:
        """Collective. Sets attributes of a group."""

    def dataset(self, path: str, array: NDArray[Any], **attributes: Any) -> None:
        """Collective. Writes an array that rank 0 holds."""

    def record(self, values: Row) -> None:
        """Collective. Appends one row to each of the named datasets."""

    def field(self, path: str, shape: tuple[int, ...], index: NDArray[np.int64], values: Array) -> None:
        """Collective. Writes a distributed array, from the flat indices and values of each rank; in the place of an older one."""

    def change(self, action: Callable[[h5py.File], None], size: int = 0) -> None:
        """Collective. Runs an action on rank 0, which may add about `size` bytes to the open file."""

    def publish(self) -> None:
        """Collective. Makes what has been written visible."""


class MemoryFile:
    """The result file of a run in the memory of rank 0; a `Sink`.

    Args:
        comm: All ranks.
        attributes: Of the file's root.
    """

    def __init__(self, comm: MPI.Intracomm, attributes: Mapping[str, object]) -> None:
        self.comm, self.path = comm, Path("memory.h5")
        self._attributes = dict(attributes)
        self._rows: dict[str, list[NDArray[Any]]] = {}
        self._file: h5py.File | None = None
        self.image = b""
        self.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            if kind is None:
                self._flush()
                self._file.attrs["complete"] = True
                seal(self._file)
                self._file.flush()
                self.image = self._file.id.get_file_image()
            self._file.close()

    def clear(self) -> None:
        self._rows.clear()
        if self.comm.rank == 0:
            if self._file is not None:
                self._file.close()
            self._file = h5py.File("memory.h5", "w", driver="core", backing_store=False, libver=FORMAT)
            self._file.attrs.update({**self._attributes, "complete": False})

    def attributes(self, values: Mapping[str, object], group: str = "/") -> None:
        if self._file is not None:
            self._file.require_group(group).attrs.update(values)

    def dataset(self, path: str, array: NDArray[Any], **attributes: Any) -> None:
        if self._file is not None:
            self._flush()
            self._file.create_dataset(path, data=array).attrs.update(attributes)
            label(self._file, path)

    def record(self, values: Row) -> None:
        if self._file is not None:
            for path, value in values.items():
                self._rows.setdefault(path, []).append(np.array(value))

    def field(self, path: str, shape: tuple[int, ...], index: NDArray[np.int64], values: Array) -> None:
        parts = self.comm.gather((index.ravel(), values.ravel()))

        def write() -> None:
            assert parts is not None and self._file is not None
            whole = np.empty(int(np.prod(shape)))
            for where, own in parts:
                whole[where] = own
            self._file.pop(path, None)
            self._file.create_dataset(path, data=whole.reshape(shape))

        on_first(self.comm, write)

    def change(self, action: Callable[[h5py.File], None], size: int = 0) -> None:
        def flushed() -> None:
            self._flush()
            action(self._file)

        on_first(self.comm, flushed)

    def publish(self) -> None:
        pass

    def _flush(self) -> None:
        rows, self._rows = self._rows, {}
        append(self._file, rows)


# Rows of a growing dataset in a chunk.
CHUNK = 64
# Of HDF5: from this one on, its own structures have checksums.
FORMAT = ("v110", "v110")


def append(file: h5py.File, records: Mapping[str, list[NDArray[Any]]]) -> None:
    """Appends rows to the named datasets; those that are new are made and labelled."""
    known = {path for path in records if path in file}
    for path, rows in records.items():
        new = np.array(rows)
        if path in file:
            grow(file[path], new)
        else:
            made = file.create_dataset(path, data=new, maxshape=(None, *new.shape[1:]), chunks=(CHUNK, *new.shape[1:]))
            note(made, words_sum(new))
            label(file, path)
    if set(records) - known:
        seal(file)
