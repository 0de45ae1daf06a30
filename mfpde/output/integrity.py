"""Checksums of a result file: what is read from it is what was written.

Each dataset has an attribute `checksum`, which any change of its values, its type or its shape changes:

    h(type, shape) + sum_n c_n x_n  mod 2^64,        c_n odd,

over the 64-bit words x_n of its values in their order.  A sum does not depend on who adds: rows are added as they come, and
ranks add the parts that they write.  The `checksum` of a group is a hash of its attributes and of the names of its members.
A file whose root has none was written before there were any, and is read as it is.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from math import prod

import h5py
import numpy as np
from numpy.typing import NDArray

NAME = "checksum"
# Attributes that are not part of it: itself, and whether the run came to its end.
APART = (NAME, "complete")
# Words of a dataset that are summed at once.
BLOCK = 1 << 18
MODULUS = 1 << 64


def words_sum(values: NDArray[np.generic], first: int = 0) -> int:
    """The sum of c_n x_n over the words of an array, the first of which has the number `first` of its dataset."""
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    words = np.frombuffer(raw.tobytes() + bytes(-len(raw) % 8), dtype=np.uint64) if len(raw) % 8 else raw.view(np.uint64)
    total = 0
    for start in range(0, len(words), BLOCK):
        part = words[start : start + BLOCK]
        total += placed_sum(part, np.arange(first + start, first + start + len(part), dtype=np.uint64))
    return total % MODULUS


def placed_sum(words: NDArray[np.generic], places: NDArray[np.generic]) -> int:
    """The sum of c_n x_n over words of 64 bits with their numbers n, of one shape."""
    c = places.astype(np.uint64).reshape(-1) * np.uint64(0x9E3779B97F4A7C15)
    c ^= c >> np.uint64(29)
    c |= np.uint64(1)
    return int((c * np.ascontiguousarray(words).reshape(-1).view(np.uint64)).sum(dtype=np.uint64))


def form(dataset: h5py.Dataset) -> int:
    """h(type, shape) of a dataset."""
    return _hash(f"{dataset.dtype.str} {dataset.shape}")


def note(dataset: h5py.Dataset, total: int) -> None:
    """Writes the checksum of a dataset whose words have the sum `total`."""
    dataset.attrs[NAME] = np.uint64((form(dataset) + total) % MODULUS)


def grow(dataset: h5py.Dataset, rows: NDArray[np.generic]) -> None:
    """Appends rows to a dataset of numbers of 64 bits, and to its checksum."""
    if NAME not in dataset.attrs:
        note(dataset, _content(dataset))
    before, old = int(dataset.attrs[NAME]) - form(dataset), len(dataset)
    dataset.resize(old + len(rows), axis=0)
    dataset[old:] = rows
    added = words_sum(rows.astype(dataset.dtype, copy=False), old * int(np.prod(dataset.shape[1:])))
    dataset.attrs.modify(NAME, np.uint64((form(dataset) + before + added) % MODULUS))


def seal(file: h5py.File) -> None:
    """Brings the checksums of all groups up to date, and gives one to each dataset that has none yet."""
    for _, item in _items(file):
        if isinstance(item, h5py.Group):
            value = np.uint64(_of_group(item))
            if item.attrs.get(NAME) != value:
                item.attrs[NAME] = value
        elif NAME not in item.attrs:
            note(item, _content(item))


def verify(file: h5py.File, passes_over: Callable[[str], bool] = lambda path: False) -> None:
    """Checks all checksums, but those of datasets that `passes_over` says so of, by their path.

    Raises:
        ValueError: If something is missing, or not what was written.
    """
    if NAME not in file.attrs:
        return
    for path, item in _items(file):
        noted = _noted(item)
        if noted is None:
            raise ValueError(f"{path} has lost its checksum, or is not of this file")
        if isinstance(item, h5py.Group):
            if noted != _of_group(item):
                raise ValueError(f"the attributes of {path}, or the names of what it holds, are not what was written")
        elif not passes_over(path):
            if item.dtype.kind != "O" and item.id.get_storage_size() < item.nbytes:
                raise ValueError(f"{path} has the shape {item.shape}, which is more than the file holds")
            if noted != (form(item) + _content(item)) % MODULUS:
                raise ValueError(f"{path} is not what was written")


def _noted(item: h5py.Group | h5py.Dataset) -> int | None:
    """The checksum that an object has; by HDF5's own calls, as a file has many."""
    if not h5py.h5a.exists(item.id, NAME.encode()):
        return None
    attribute, value = h5py.h5a.open(item.id, NAME.encode()), np.zeros((), dtype=np.uint64)
    if attribute.shape != () or attribute.dtype != value.dtype:
        return None
    attribute.read(value)
    return int(value)


def _items(group: h5py.Group, path: str = "/") -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """A group and all that is in it, by path."""
    yield path, group
    for name in group.id:  # by HDF5's own calls, as above
        inner, item = f"{path.rstrip('/')}/{name.decode(errors='surrogateescape')}", h5py.h5o.open(group.id, name)
        if isinstance(item, h5py.h5g.GroupID):
            yield from _items(h5py.Group(item), inner)
        elif isinstance(item, h5py.h5d.DatasetID):
            yield inner, h5py.Dataset(item)
        else:
            raise ValueError(f"{inner} is neither a group nor a dataset")


def _content(dataset: h5py.Dataset) -> int:
    """The sum over the words of a dataset; a part at a time, as it may be large."""
    kind, shape = dataset.dtype, dataset.shape
    if kind.kind == "O" or kind.itemsize != 8 or prod(shape) <= BLOCK:
        return words_sum(_plain(dataset[()]))
    row = prod(shape[1:])
    rows = max(1, BLOCK // max(row, 1))
    return sum(words_sum(dataset[first : first + rows], first * row) for first in range(0, shape[0], rows)) % MODULUS


def _plain(values: object) -> NDArray[np.generic]:
    """Numbers as they are; texts as bytes."""
    array = np.asarray(values)
    if array.dtype.kind not in "OU":
        return array
    texts = (text if isinstance(text, bytes) else str(text).encode(errors="surrogateescape") for text in array.ravel().tolist())
    return np.frombuffer(b"\0".join(texts), dtype=np.uint8)


def _of_group(group: h5py.Group) -> int:
    kept = group.attrs
    attributes = sorted((name, _described(kept[name])) for name in kept if name not in APART)
    return _hash(repr((attributes, sorted(group))))


def _described(value: object) -> object:
    if isinstance(value, h5py.Empty):
        return repr(value)
    array = np.asarray(value)
    return array.dtype.kind, array.shape, _plain(array).tobytes()


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest())
