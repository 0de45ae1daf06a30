"""The times at which the studies know E, placed by how fast E changes, and what is carried from them to others."""

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.accuracy.allowed import Allowed
from mfpde.discretisation.resolution import Resolution
from mfpde.discretisations import discretisation_of
from mfpde.evolution.flow import Interpolant, Step, loss
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.problem.stage import Stage, stage_times
from mfpde.training.training import AnyFlow, train

Array = NDArray[np.float64]

# Studied times beside those of at most as many records, more where errors are relative to E(t), which may fall over many decades;
# and records at which E is looked at.
STUDIED, STUDIED_RELATIVE, SCOUTED = 41, 101, 1000
# Loose tolerances of a time step, likewise.
TOLERANCE, TOLERANCE_RELATIVE = 1e-4, 1e-7
# Shares of the change of E, of its bend, of the time and of the number of the record in the distance of two studied times.
CHANGE, BEND, TIME, NUMBER = 0.25, 0.35, 0.2, 0.2

# Places in a gap between studied times at which interpolants are compared, and the rounding of a time relative to the last one.
INSIDE, NEAR = np.array([0.25, 0.5, 0.75]), 1e-12


class _Scout:
    """A witness that keeps E at records and at the ends of steps."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, bool]] = []

    def enter(self, flow: AnyFlow) -> None:
        pass

    def record(self, flow: AnyFlow, step: Step, vector: Array) -> None:
        self._see(flow, step.time, vector, True)

    def stepped(self, flow: AnyFlow, step: Step, inside: Interpolant | None) -> None:
        if inside is not None:
            self._see(flow, step.time, inside(step.time), False)

    def _see(self, flow: AnyFlow, time: float, vector: Array, due: bool) -> None:
        self.seen.append((time, float(loss(flow.moments(vector, time), flow.target, flow.beyond)), due))


def studied_times(
    problem: Problem, options: Discretization, coarse: Resolution, records: list[float], wanted: Allowed | None = None
) -> list[float]:
    """The times of the studies: records, all of them if they are few, and where E changes much between two of them ends of
    time steps, which are as dense as the solution asks for.

    Args:
        problem: What to solve.
        options: The discretisation.
        coarse: A resolution at which a run costs little.
        records: Record times over all stages, ascending.
        wanted: The error of E that is asked for; if it is relative to E, changes of log E count.

    Raises:
        RunError: If the run cannot go on.
    """
    chosen = np.unique(np.linspace(0, len(records) - 1, min(SCOUTED, len(records))).round().astype(int))
    scout = _Scout()
    flow = discretisation_of(problem, options, coarse).start(MPI.COMM_SELF, problem, options, coarse)
    relative = wanted is not None and wanted.relative > 0
    train(problem, flow, [records[k] for k in chosen], TOLERANCE_RELATIVE if relative else TOLERANCE, scout)
    seen = sorted(scout.seen, key=lambda found: found[0])
    time, E = np.array([t for t, _, _ in seen]), np.array([e for _, e, _ in seen])
    due = np.array([is_due for _, _, is_due in seen])
    if wanted is not None and relative:
        return _placed(time, np.log(wanted.at(E)), due, set(records), STUDIED_RELATIVE)
    return _placed(time, E, due, set(records))


def _placed(time: Array, E: Array, due: NDArray[np.bool_], records: set[float], studied: int = STUDIED) -> list[float]:
    """At most `studied` times beside those of as many records, equally far from one another."""
    gap = np.diff(time)
    change = np.where(gap > 0, np.abs(np.diff(E)), 0.0)  # where a stage begins E may jump
    slope = np.diff(E) * (gap > 0) / np.where(gap > 0, gap, 1.0)
    bend = np.abs(np.diff(slope, prepend=slope[:1]))
    # The root of the second derivative: straight lines then err equally in all gaps.
    bend = np.sqrt(np.maximum(bend, np.append(bend[1:], 0.0)) * gap)
    change, bend, lasts = (x / max(float(x.sum()), 1e-300) for x in (change, bend, gap))
    # Ends of steps where E changes much between two records.
    number = np.cumsum(due) - 1
    between = np.bincount(number[:-1], change)
    wanted = due | (between[np.minimum(number, len(between) - 1)] > 1 / studied)
    place = np.concatenate(([0.0], np.cumsum(CHANGE * change + BEND * bend + TIME * lasts)))
    place = (place + NUMBER * np.cumsum(due) / due.sum())[wanted]
    nearest = np.abs(place[:, None] - np.linspace(place[0], place[-1], studied)).argmin(axis=0)
    few = records if len(records) <= studied else set()
    return sorted({*few, *time[wanted][np.unique(nearest)].tolist()})


@dataclass(frozen=True)
class Places:
    """Where the records of some times lie among those of the studies, over all stages.

    Attributes:
        studied, records: Times of both, of each stage in turn, from its own start.
    """

    studied: tuple[Array, ...]
    records: tuple[Array, ...]

    @classmethod
    def of(cls, stages: tuple[Stage, ...], studied: list[float], records: list[float]) -> "Places":
        """Of the records of a run at these times."""
        pair = (stage_times(stages, times) for times in (studied, records))
        return cls(*(tuple(map(np.array, times)) for times in pair))

    def smooth(self, values: Array) -> tuple[Array, Array]:
        """Values at the records by cubics that keep maxima where they are, and how far these are from straight lines in the
        same gap between studied times, shapes (n,)."""
        from scipy.interpolate import PchipInterpolator

        found, far = [], []
        for x, at, f in self._by_stage(values):
            cubic = PchipInterpolator(x, f) if len(x) > 2 else lambda t, x=x, f=f: np.interp(t, x, f)
            inside = x[:-1, None] + np.diff(x)[:, None] * INSIDE
            off = np.abs(cubic(inside) - np.interp(inside, x, f)).max(axis=1)
            gap = np.clip(np.searchsorted(x, at) - 1, 0, len(off) - 1)
            studied = np.abs(at[:, None] - x).min(axis=1) <= NEAR * x[-1]
            found.append(cubic(at))
            far.append(np.where(studied, 0.0, off[gap]))
        return np.concatenate(found), np.concatenate(far)

    def bound(self, values: Array) -> Array:
        """At every record the larger one of the values at the studied times beside it, shape (n,)."""
        found = []
        for x, at, f in self._by_stage(values):
            slack = NEAR * x[-1]
            right, left = np.searchsorted(x, at - slack), np.searchsorted(x, at + slack, side="right") - 1
            found.append(np.maximum(f[np.minimum(right, len(x) - 1)], f[np.maximum(left, 0)]))
        return np.concatenate(found)

    def among_records(self, values: Array) -> tuple[Array, NDArray[np.bool_]]:
        """The other way: values of the records at the studied times, and at which of these there is a record."""
        found, known, before = [], [], 0
        for x, at in zip(self.studied, self.records, strict=True):
            found.append(np.interp(x, at, values[before : before + len(at)]))
            known.append(np.abs(at[:, None] - x).min(axis=0) <= NEAR * x[-1])
            before += len(at)
        return np.concatenate(found), np.concatenate(known)

    def _by_stage(self, values: Array) -> list[tuple[Array, Array, Array]]:
        parts = np.split(values, np.cumsum([len(x) for x in self.studied])[:-1])
        return list(zip(self.studied, self.records, parts, strict=True))
