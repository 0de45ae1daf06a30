"""When the loss of a result falls to a level: by the run's dense output, with the error that its estimated errors leave."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.flow import loss as truncated_loss
from mfpde.evolution.mean_field import MeanField
from mfpde.output.history import History

Array = NDArray[np.float64]

# Times in a step or a gap between records at which E is looked at.
LOOKS = 16


class Crossing(NamedTuple):
    """When the loss reaches a level for the first time.

    Attributes:
        time: inf if it is not reached.
        error: By how much the estimated error of the loss may move it: inf if the level may not be reached at all, nan if it is
            not reached, or no error was estimated.
    """

    time: float
    error: float


def crossing(file: h5py.File, history: History, level: float) -> Crossing:
    """When the loss of an open result file falls to `level` for the first time.

    Between two records E(t) comes from the mean field that the run kept at every step; where there is none (stages that are known
    by moments, PETSc's integrators, particles), from the records, and the error counts how far cubics are from straight lines.
    """
    parts = _parts(file, history)
    reached = _first(parts, 0.0, level)
    if not np.isfinite(reached) or history.error is None or np.isnan(history.error).any():
        return Crossing(reached, np.nan)
    return Crossing(reached, max(_first(parts, 1.0, level) - reached, reached - _first(parts, -1.0, level)))


# An interval, and E and its error there.
type _Part = tuple[float, float, Callable[[Array], Array], Callable[[Array], Array]]


def _parts(file: h5py.File, history: History) -> list[_Part]:
    """Intervals from the first record to the last one, each within a step or between two records."""
    from scipy.interpolate import PchipInterpolator

    times, records = history.times, history.loss
    stated = np.zeros_like(records) if history.error is None else history.error
    known = MeanField(file["field/time"][:], file["field/moments"][:]) if "field/time" in file else None
    offset = _offset(file, history)
    error_times, error = (times, stated)
    if "error/studied" in file:
        error_times, error = file["error/studied/time"][:], file["error/studied/estimate"][:]
    distinct = np.append(np.diff(times) > 0, True)  # at the start of a stage the record after it
    cubic = PchipInterpolator(times[distinct], records[distinct]) if distinct.sum() > 2 else None
    parts: list[_Part] = []
    for k, (low, high) in enumerate(pairwise(times.tolist())):
        if high <= low:
            continue
        ends = [low, high] if known is None else known.knots(low, high).tolist()
        for a, b in pairwise(ends):
            middle = (a + b) / 2
            if known is not None and _covers(known, middle):
                parts.append((a, b, _by_field(known, history.target, middle, offset), _bound(error_times, error)))
            else:
                line = _line(low, high, records[k], records[k + 1])
                parts.append((a, b, line, _beside(line, cubic, max(stated[k], stated[k + 1]))))
    return parts


def _covers(known: MeanField, time: float) -> bool:
    """Whether a step holds a time."""
    k = int(np.searchsorted(known.times[:, -1], time))
    return k < len(known.times) and bool(known.times[k, 0] <= time)


def _offset(file: h5py.File, history: History) -> Callable[[Array], Array]:
    """What the records of E have beside the loss of the run's modes, at any time."""
    beside = history.loss - truncated_loss(history.coefficients, history.target)
    if "error/studied" not in file:
        return lambda t: np.interp(t, history.times, beside)
    from scipy.interpolate import PchipInterpolator

    times, values = file["error/studied/time"][:], file["error/studied/correction"][:]
    distinct = np.append(np.diff(times) > 0, True)
    cubic = PchipInterpolator(times[distinct], values[distinct])
    constant = beside[0] - values[0]
    return lambda t: np.asarray(constant + cubic(t))


def _by_field(known: MeanField, target: Array, near: float, offset: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda times: np.array([truncated_loss(known(t, near), target) for t in times.tolist()]) + offset(times)


def _bound(times: Array, values: Array) -> Callable[[Array], Array]:
    """The larger one of the values beside each time."""

    def bound(t: Array) -> Array:
        right = np.clip(np.searchsorted(times, t), 1, len(times) - 1) if len(times) > 1 else np.zeros(len(t), dtype=int)
        return np.maximum(values[right], values[np.maximum(right - 1, 0)])

    return bound


def _line(low: float, high: float, first: float, last: float) -> Callable[[Array], Array]:
    return lambda t: first + (last - first) * (t - low) / (high - low)


def _beside(line: Callable[[Array], Array], cubic: Callable[[Array], Array] | None, error: float) -> Callable[[Array], Array]:
    return lambda t: np.full(len(t), error) if cubic is None else np.asarray(error + np.abs(cubic(t) - line(t)))


def _first(parts: list[_Part], share: float, level: float) -> float:
    """The first time at which E plus a share of its error is at most `level`; inf if there is none."""
    for low, high, E, error in parts:
        t = np.linspace(low, high, LOOKS)
        aim = level - share * float(error(t).max())
        below = np.flatnonzero(E(t) <= aim)
        if len(below):
            k = int(below[0])
            return low if k == 0 else _root(E, aim, float(t[k - 1]), float(t[k]))
    return float("inf")


def _root(E: Callable[[Array], Array], level: float, low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(lambda t: float(E(np.array([t]))[0]) - level, low, high, xtol=1e-14 * high))
