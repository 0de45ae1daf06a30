"""What a result file holds of the density: a map that pushes the initial law forward, or masses at points."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.evolution.mean_field import FieldShift, MeanField
from mfpde.features.protocol import Basis
from mfpde.problem.problem import Problem
from mfpde.quadrature.rules import Rule

Array = NDArray[np.float64]


class PointMasses(Protocol):
    """A density that is known at some times, as masses at points."""

    @property
    def p(self) -> int:
        """Dimension of V."""

    @property
    def times(self) -> tuple[float, ...]:
        """At which it is known."""

    def points(self, number: int) -> Iterator[tuple[Array, Array]]:
        """(a, v_1, ..., v_p, r), shape (p + 2, n), and masses (n,) at the time of this number, in parts."""


@dataclass(frozen=True)
class Snapshot:
    """The fields A, X, R, and with biases B, of one snapshot, on the tensor product of the rules: (fields, nodes of each)."""

    time: float
    values: Array


@dataclass(frozen=True)
class PushForward:
    """A run whose neurons can be followed from any point of the initial law.

    Attributes:
        problem: That was solved.
        modes: The Hermite truncation.
        field: m(t); without steps where the run kept none.
        rules: Rules of a_0, with biases b_0, r_0^2 and every direction of y.
        snapshots: Snapshots of the neurons.
        shift: What m(t) lacks; None where the run's error was not estimated.
    """

    problem: Problem
    modes: Basis
    field: MeanField
    rules: tuple[Rule, ...]
    snapshots: tuple[Snapshot, ...]
    shift: FieldShift | None = None

    @property
    def p(self) -> int:
        """Dimension of V."""
        return self.problem.p

    @property
    def times(self) -> tuple[float, ...]:
        """Times of the snapshots."""
        return tuple(snapshot.time for snapshot in self.snapshots)

    @property
    def end(self) -> float:
        """Up to when the density is known."""
        last = self.snapshots[-1].time if self.snapshots else 0.0
        return min(density_end(self.problem), max(self.field.end, last))

    def snapshot(self, time: float) -> Snapshot | None:
        """The snapshot at a time, if there is one."""
        slack = 1e-9 * max(self.end, 1e-300)
        return next((snapshot for snapshot in self.snapshots if abs(snapshot.time - time) <= slack), None)

    def at(self, time: float | None) -> float:
        """The time, by default the last one.

        Raises:
            InputError: If the density is not known then.
        """
        if time is None:
            return self.end
        if not len(self.field.times) and self.snapshot(time) is None and any(self.problem.stages[0].trains):
            known = ", ".join(f"{snapshot.time:g}" for snapshot in self.snapshots)
            raise InputError(
                f"time {time:g}: the file has no mean field (written with -ts_* options); allowed: {known or 'none'}"
            )
        if not 0 <= time <= self.end * (1 + 1e-9):
            raise InputError(f"time {time:g}: allowed: from 0 to {self.end:g}, while there is a density")
        return min(time, self.end)


def density_end(problem: Problem) -> float:
    """Until copies of neurons are averaged there is a density of single ones."""
    for stage in problem.stages:
        if stage.average > 1 or stage.by_moments:
            return stage.start
    return problem.stages[-1].start + problem.stages[-1].duration
