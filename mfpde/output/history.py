"""Curves read back from result files, and their differences at common times.

Two curves are compared at the records of the one that has fewer of them; the denser one is carried there: as it is where
it has the same records, else by a cubic spline if its records are dense enough for that, which means that the spline
through every second one meets the others twice as well as straight lines do, else (few records, noise) by straight lines.
"""

import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.output.integrity import verify

Array = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """The curves of one result file.

    Attributes:
        path: The file.
        config: Its configuration as TOML text.
        complete: Whether the run came to its end.
        times, loss: Records, shape (n,).
        coefficients: m_i, shape (n, modes).
        modes: (alpha, j) of each column.
        target: h_i, shape (modes,).
        band: Lower and upper ends of the confidence interval of the loss, shape (2, n), or None for a single run.
        runs: The loss of each repeat, shape (repeats, n); one row for a single run.
        seconds: Wall time of the run, all repeats together, and studies and passes for its accuracy.
        error: Estimated error of the loss, shape (n,): of repeated runs half the width of the band; None if there is none.
        coefficients_error: Of each coefficient, shape (n, modes); None likewise.
    """

    path: Path
    config: str
    complete: bool
    times: Array
    loss: Array
    coefficients: Array
    modes: tuple[tuple[tuple[int, ...], int], ...]
    target: Array
    band: Array | None
    runs: Array
    seconds: float
    error: Array | None = None
    coefficients_error: Array | None = None


def read_history(path: Path) -> History:
    """The curves of a result file.

    Raises:
        InputError: If there is no such file, or it holds no records.
    """
    with open_result(path) as file:
        return read_open(path, file)


def read_text(path: Path) -> History:
    """The curve of a text file with two columns, time and loss, or three, with the error of the loss: lines that begin with
    a letter or # say something else.  It has no modes.

    Raises:
        InputError: If it cannot be read so.
    """
    allowed = "allowed: two or three columns, time, loss and its error, with ascending times"
    try:
        lines = [line.replace(",", " ").replace(";", " ").split("#")[0] for line in path.read_text().splitlines()]
        rows = [[float(word) for word in line.split()] for line in lines if line.strip() and not line.strip()[0].isalpha()]
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {_reason(error)}; {allowed}") from None
    if len(rows) < 2 or {len(row) for row in rows} not in ({2}, {3}):
        raise InputError(f"{str(path)!r} has no columns of two or more numbers; {allowed}")
    times, loss, *errors = np.array(rows).T
    if not np.isfinite(rows).all() or (np.diff(times) <= 0).any():
        raise InputError(f"{str(path)!r} has times that do not ascend, or numbers that are not finite; {allowed}")
    none = np.empty((len(times), 0))
    return History(path, "", True, times, loss, none, (), np.empty(0), None, loss[None], 0.0, errors[0] if errors else None)


# What only some read: the state of a checkpoint; the neurons at some times; the mean field of all steps.
BULK = ("/checkpoint/", "/slices/snapshots/", "/field/")


@contextmanager
def open_result(path: Path, bulk: Sequence[str] = ()) -> Iterator[h5py.File]:
    """A result file, open for reading within the block.

    Args:
        path: The file.
        bulk: Those of `BULK` that are read as well, and whose checksums are looked at.

    Raises:
        InputError: If there is no such file, it holds no records, or what the block reads from it is missing or damaged.
    """
    unread = tuple(group for group in BULK if group not in bulk)
    with open_unverified(path) as file:
        check_history(file)
        verify(file, lambda name: name.startswith(unread))
        yield file


@contextmanager
def open_unverified(path: Path) -> Iterator[h5py.File]:
    """The same of which only is known that mfpde wrote it; what is missing within the block is said in one line."""
    check_file(path)
    try:
        with h5py.File(path) as file:
            if str(file.attrs.get("program")) != "mfpde" or "history/loss" not in file:
                raise InputError(f"{str(path)!r} holds no records of mfpde")
            yield file
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
        MemoryError,
    ) as error:
        if h5py.is_hdf5(path):
            raise InputError(f"{str(path)!r} is damaged, or no result of mfpde: {_reason(error)}") from None
        raise InputError(f"{str(path)!r} is not an HDF5 file: {_reason(error)}") from None


def check_file(path: Path) -> None:
    """Checks that there is a file, and no pipe, on which reading would wait.

    Raises:
        InputError: If not.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        raise InputError(f"no file {str(path)!r}") from None
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise InputError(f"{str(path)!r} is {kind}, and no file")


def probe(path: Path) -> None:
    """Reads a file in a process of its own: on a damaged one HDF5 may crash, or never return.

    Raises:
        InputError: If it does.
    """
    try:
        done = subprocess.run([sys.executable, "-c", PROBE, path], capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(f"{str(path)!r} is damaged: HDF5 does not come to an end with it") from None
    if done.returncode < 0:
        raise InputError(f"{str(path)!r} is damaged: HDF5 crashes on it")


# Seconds for reading what is not bulk; what else is wrong is said by `open_result`.
PATIENCE = 8.0
PROBE = """
import sys, h5py
def read(name, item):
    dict(item.attrs)
    if isinstance(item, h5py.Dataset) and item.nbytes < 1 << 20:
        item[()]
try:
    with h5py.File(sys.argv[1]) as file:
        dict(file.attrs)
        file.visititems(read)
except Exception:
    pass
"""


def check_history(file: h5py.File) -> None:
    """Raises ValueError unless the records have the shapes that they must have."""
    history, modes = file["history"], len(file["modes/radial"])
    n = len(history["time"])
    shapes = {
        "history/time": (n,),
        "history/loss": (n,),
        "history/mass": (n,),
        "history/coefficients": (n, modes),
        "target/coefficients": (modes,),
        "modes/radial": (modes,),
    }
    for name, shape in shapes.items():
        if file[name].shape != shape or file[name].dtype.kind not in "fiu":
            raise ValueError(f"/{name} has the shape {file[name].shape}, not {shape}")
    if n == 0 or modes == 0 or file["modes/alpha"].ndim != 2 or len(file["modes/alpha"]) != modes:
        raise ValueError("there are no records, or no modes")


def _reason(error: Exception) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__


def read_open(path: Path, file: h5py.File) -> History:
    """The curves of a result file that is open."""
    history = file["history"]
    alpha, radial = file["modes/alpha"][:].tolist(), file["modes/radial"][:].tolist()
    loss = history["loss"][:]
    repeats = sorted(file.get("repeats", ()))
    found = loss_error(file)
    return History(
        path=path,
        config=file.attrs["config"],
        complete=bool(file.attrs["complete"]),
        times=history["time"][:],
        loss=loss,
        coefficients=history["coefficients"][:],
        modes=tuple((tuple(a), j) for a, j in zip(alpha, radial, strict=True)),
        target=file["target/coefficients"][:],
        band=np.array([history["loss_low"][:], history["loss_high"][:]]) if "loss_low" in history else None,
        seconds=float((file[f"repeats/{repeats[-1]}"] if repeats else history)["wall_time"][-1]) + _other_seconds(file),
        runs=np.array([file[f"repeats/{name}/loss"][:] for name in repeats]) if repeats else loss[None],
        error=None if found is None else found[0],
        coefficients_error=file["error/coefficients"][:] if "error/coefficients" in file else None,
    )


def _other_seconds(file: h5py.File) -> float:
    """What a run to an accuracy took beside its last main run, to which the records belong."""
    passes = np.reshape(file["error"].attrs.get("seconds", []) if "error" in file else [], (-1, 3))
    return float(passes.sum() - passes[-1:, 1].sum())


def loss_error(file: h5py.File) -> tuple[Array, str] | None:
    """How far /history/loss of an open result file is from the truth at every record, shape (n,), and what says so."""
    history = file["history"]
    if "loss_low" in history:  # repeated particle runs
        return (history["loss_high"][:] - history["loss_low"][:]) / 2, "95% interval of the mean"
    if "error/estimate" in file and file["error/estimate"].shape == history["loss"].shape:
        return file["error/estimate"][:], "estimated error"
    return None


def read_columns(file: h5py.File) -> dict[str, NDArray[Any]]:
    """Every scalar of /history of an open result file, by name, shapes (n,)."""
    group = file["history"]
    return {name: group[name][:] for name in group if group[name].ndim == 1 and group[name].dtype.kind in "fiu"}


def interpolate(times: Array, values: Array, at: Array) -> tuple[Array, float]:
    """Values (n, ...) at `times` carried to times `at` inside them, and an estimate of the largest error of doing so."""
    near = np.minimum(np.searchsorted(times, at - _slack(times)), len(times) - 1)
    if (np.abs(times[near] - at) <= _slack(times)).all():
        return values[near], 0.0
    linear, cubic = (_left_out(times, values, smooth) for smooth in (False, True))
    if cubic < linear / 2:
        return _spline(times, values, at), cubic / 16  # halving the spacing divides a cubic spline's error by 16
    return _straight(times, values, at), linear / 4


def _left_out(times: Array, values: Array, smooth: bool) -> float:
    """How far the interpolant through every second record misses the others, root mean square."""
    kept, others = times[::2], times[1 : 2 * (len(times[::2]) - 1) : 2]
    if len(kept) < (4 if smooth else 2):
        return np.inf
    guess = _spline(kept, values[::2], others) if smooth else _straight(kept, values[::2], others)
    return float(np.sqrt(((guess - values[1 : 2 * (len(kept) - 1) : 2]) ** 2).mean()))


def _spline(times: Array, values: Array, at: Array) -> Array:
    from scipy.interpolate import CubicSpline

    return np.asarray(CubicSpline(times, values)(at))


def _straight(times: Array, values: Array, at: Array) -> Array:
    right = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    share = (at - times[right - 1]) / (times[right] - times[right - 1])
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return (1 - share) * values[right - 1] + share * values[right]


def _slack(times: Array) -> float:
    return 1e-9 * float(times[-1])


@dataclass(frozen=True)
class Difference:
    """What two histories differ by on their common interval.

    Attributes:
        times: Where they are compared: the records there of the file that has fewer.
        loss: Difference of E, shape (n,).
        error: The sum of what the two say of their errors there, shape (n,); None if neither says anything.
        max_loss, l2_loss: Its largest value, and the square root of the integral of its square.
        max_coefficients, l2_coefficients: Likewise for the coefficients of their common modes; nan if a file has none.
        interpolation: Estimated error of the interpolation of E.
    """

    times: Array
    loss: Array
    max_loss: float
    l2_loss: float
    max_coefficients: float
    l2_coefficients: float
    interpolation: float
    error: Array | None = None

    @property
    def excess(self) -> float:
        """The largest ratio of the difference to the errors, that of the interpolation included; nan without errors."""
        if self.error is None:
            return float("nan")
        return float((np.abs(self.loss) / np.maximum(self.error + self.interpolation, 1e-300)).max())


def difference(one: History, other: History) -> Difference:
    """How far `one` is from `other`.

    Raises:
        InputError: If they have no time or no mode in common, or different dimensions p of V.
    """
    first, last = max(one.times[0], other.times[0]), min(one.times[-1], other.times[-1])
    if last < first:
        raise InputError(f"{str(one.path)!r} and {str(other.path)!r} have no time in common")
    if one.modes and other.modes and len(one.modes[0][0]) != len(other.modes[0][0]):
        raise InputError(f"{str(one.path)!r} and {str(other.path)!r} have different p: there is nothing to compare")
    inside = [h.times[(h.times >= first - _slack(h.times)) & (h.times <= last + _slack(h.times))] for h in (one, other)]
    times = np.clip(min(inside, key=len), first, last)
    (mine, error), (theirs, further) = (interpolate(h.times, h.loss, times) for h in (one, other))
    loss = mine - theirs
    known = [np.interp(times, h.times, h.error) for h in (one, other) if h.error is not None]
    total = sum(known[1:], known[0]) if known else None
    common = [(i, other.modes.index(mode)) for i, mode in enumerate(one.modes) if mode in other.modes]
    if not common:
        size, l2 = float(np.abs(loss).max()), _l2(times, loss**2)
        return Difference(times, loss, size, l2, np.nan, np.nan, max(error, further), total)
    columns = np.array(common).T
    pair = [interpolate(h.times, h.coefficients[:, k], times)[0] for h, k in zip((one, other), columns, strict=True)]
    moments = pair[0] - pair[1]
    return Difference(
        times,
        loss,
        float(np.abs(loss).max()),
        _l2(times, loss**2),
        float(np.abs(moments).max()),
        _l2(times, (moments**2).sum(axis=1)),
        max(error, further),
        total,
    )


def _l2(times: Array, square: Array) -> float:
    return float(np.sqrt(np.trapezoid(square, times)))
