"""What a result file holds of a run's neurons: the problem, the mean field, the rules of the elements, the snapshots."""

import tomllib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.elements.cells import point_cells
from mfpde.elements.rules import Rule, gauss_rule, in_directions
from mfpde.errors import InputError
from mfpde.evolution.mean_field import POINTS, MeanField
from mfpde.features.modes import Modes, hermite_modes
from mfpde.problem.config import config_of
from mfpde.problem.problem import Problem, build_problem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Snapshot:
    """The fields A, X, R, and with biases B, of one snapshot, on the tensor product of the rules: (fields, nodes of each)."""

    time: float
    values: Array


@dataclass(frozen=True)
class Run:
    """A run of the elements that follow the flow.

    Attributes:
        problem: That was solved.
        modes: The Hermite truncation.
        field: m(t); without steps where the run kept none.
        rules: Of a_0, with biases b_0, r_0^2 and every direction of y.
        snapshots: Of the neurons.
    """

    problem: Problem
    modes: Modes
    field: MeanField
    rules: tuple[Rule, ...]
    snapshots: tuple[Snapshot, ...]

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


def read_run(file: Any) -> Run:
    """The run of an open result file.

    Raises:
        InputError: If it holds no density of this kind.
    """
    if "resolution" not in file:
        raise InputError(f"{file.filename!r} holds no elements that follow the flow")
    problem = read_problem(file)
    alpha, radial = file["modes/alpha"][:], file["modes/radial"][:]
    modes = hermite_modes(problem.p, int((alpha.sum(axis=1) + 2 * radial).max()), int(radial.max()), problem.d)
    if len(modes) != len(radial):
        raise InputError(f"{file.filename!r} was written for other modes than this version knows")
    laws = problem.directions.items()
    rules = tuple(_rule(file["resolution"], "squared_radius" if name == "r" else name, law) for name, law in laws)
    if problem.w.is_point:
        rules = (*rules[: -problem.p], *point_cells(problem.p).rules)
    snapshots = file.get("slices/snapshots", {})
    found = tuple(_snapshot(snapshots[name], rules, problem.p) for name in sorted(snapshots))
    return Run(problem, modes, _field(file, modes), rules, found)


def read_problem(file: Any) -> Problem:
    """The problem of an open result file."""
    return build_problem(config_of(tomllib.loads(file.attrs["config"])))


def _rule(group: Any, name: str, law: Any) -> Rule:
    return gauss_rule(law, group[f"{name}_counts"][:].tolist(), group[f"{name}_edges"][1:-1].tolist())


def _field(file: Any, modes: Modes) -> MeanField:
    if "field" not in file:
        return MeanField(np.empty((0, POINTS)), np.empty((0, POINTS, len(modes))))
    return MeanField(file["field/time"][:], file["field/moments"][:])


def _snapshot(group: Any, rules: tuple[Rule, ...], p: int) -> Snapshot:
    X = np.moveaxis(group["X"][:], -1, 0)
    fields = (group["A"][:], *X, group["R"][:], *([group["B"][:]] if "B" in group else []))
    return Snapshot(float(group["time"][()]), np.array([in_directions(x, rules, p) for x in fields]))
