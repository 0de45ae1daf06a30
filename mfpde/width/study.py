"""c(t) and s(t) to a wanted accuracy: how fine the rules, the modes and the steps have to be, and what is left as their error.

Each direction of the initial law is refined by itself, on rules that are coarse in the others, until c and s stand still.  The
main run has the levels that were found, or coarser ones where these are too dear; what it lacks, and modes up to K + 4, K + 8, ..
and sectors up to l + 1, is added from runs on the coarse rules, as corrections that are doubted by half.  What the levels do
together, beyond what each of them does by itself, is an error as well.
"""

from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mfpde.accuracy.estimate import widened
from mfpde.accuracy.truncation import radial_degree
from mfpde.evolution.flow import packed
from mfpde.moving.discretisation import MovingElements
from mfpde.neurons import Nodes
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.progress import LOG
from mfpde.quadrature.panels import Panels
from mfpde.width.course import legs
from mfpde.width.evolution import Curves, Evolution
from mfpde.width.fields import Truncation
from mfpde.width.rules import ladders, resolution, size

Array = NDArray[np.float64]

# Nodes of the main run, whose cost grows with their square, and of a study; and how many cost next to nothing.
LARGEST, LARGEST_STUDY, CHEAP = 300, 400, 48
# Doublings of the steps; those of the main run are once more twice as many.
DOUBLINGS, FINER = 6, 2.0
# K and L of the studies; K of the main run, at d = inf or of a point start, where modes cost little, and its L; steps from there
# to what they lack, and the largest K by p.
STUDIED_K, STUDIED_L, MAIN_K, POINT_K, MAIN_L, MORE_K, MORE_L = 4, 1, 6, 10, 4, 4, 1
LARGEST_K = {1: 18, 2: 14, 3: 10}
# What a correction from coarse rules may be wrong by, as a share of it; of modes, where that is what the rules do to it, and what
# is left beyond the last step in units of this.
DOUBT, OF_RULES = 0.5, 0.1
# s is measured against E h*^2 / 2 where it vanishes by symmetry.
LEAST = 1e-3


@dataclass(frozen=True)
class Estimate:
    """c and s with their errors, at the ends of all steps.

    Attributes:
        curves: The answer.
        error: Of E, c and s, shape (3, records).
        parts: The error of c by source: directions of the initial law, what they do together, modes, time; shapes (records,).
        resolution: What was used, in words.
        panels: Of the main run, by direction.
        truncation: Of the main run.
        refinement: Of the steps.
        reached: The largest error of c and s, in units of their largest values.
        settled: Whether that is what was wanted.
    """

    curves: Curves
    error: Array
    parts: dict[str, Array]
    resolution: str
    panels: dict[str, Panels]
    truncation: Truncation
    refinement: float
    reached: float
    settled: bool


def nodes_of(problem: Problem, panels: dict[str, Panels]) -> Nodes:
    """The nodes of a product rule at t = 0, all of them."""
    flow = MovingElements().start(MPI.COMM_SELF, problem, Discretization(), resolution(problem, panels))
    return flow.nodes(packed(flow))


class Study:
    """Finds c and s of a problem.

    Args:
        comm: All ranks, which share the sources of every run.
        problem: What to solve.
        accuracy: Wanted error of c and s over the whole run, in units of their largest values.
    """

    def __init__(self, comm: MPI.Intracomm, problem: Problem, accuracy: float) -> None:
        self.comm, self.problem, self.accuracy = comm, problem, accuracy
        self.ladders = ladders(problem)
        self.thin = {name: levels[0] for name, levels in self.ladders.items()}
        self.refinement = 1.0
        least = problem.target.least_degree
        K, L = max(least, STUDIED_K), STUDIED_L
        self.studied = Truncation(K, min(1, radial_degree(problem, K, LEAST)), L)

    def run(self, panels: dict[str, Panels], truncation: Truncation, refinement: float = 1.0) -> Curves:
        """Collective. One run."""
        nodes, steps = nodes_of(self.problem, panels), legs(self.problem, self.refinement * refinement)
        return Evolution(self.problem, truncation, nodes, steps).run(self.comm)

    def find(self) -> Estimate:
        """Collective. c and s, with their errors."""
        base = self.run(self.thin, self.studied)
        self.scale = np.array([self.problem.target.unit, *self._sizes(base)])
        share = self.accuracy / (len(self.ladders) + 2)
        base, of_time = self._steps(base, share)
        studies = {name: self._direction(name, base, share) for name in self.ladders}
        level = self._levels(studies)
        chosen = {name: self.ladders[name][number] for name, number in level.items()}
        main = self.truncation()
        coarse = rows(self.run(self.thin, main))
        beyond, last, widest = self._modes(main, coarse, share)
        corrections = {"modes": beyond, "time": np.zeros_like(beyond)}
        errors = {"modes": OF_RULES * np.abs(beyond) + DOUBT * np.abs(last), "time": of_time / FINER**3}
        for name, tables in studies.items():
            corrections[name] = tables[-1] - tables[level[name]]
            last = tables[-1] - tables[-2] if len(tables) > 1 else np.zeros_like(beyond)
            errors[name] = DOUBT * (np.abs(corrections[name]) + np.abs(last))
        LOG.info(f"width: {size(chosen)} nodes, K = {main.K}, sectors up to l = {main.L}")
        best = self.run(chosen, main, FINER)
        # What the levels do together, less what each of them does by itself.
        alone = sum((tables[level[name]] - tables[0] for name, tables in studies.items()), np.zeros_like(coarse))
        errors["together"] = DOUBT * np.abs(self._thinned(best, FINER) - coarse - alone)
        values = rows(best) + sum(self._finer(correction) for correction in corrections.values())
        parts = {name: _wide(np.abs(self._finer(error))) for name, error in errors.items()}
        error = np.sum([*parts.values()], axis=0)
        loss, correction, deviation = values
        curves = replace(best, loss=loss, correction=correction, deviation=np.abs(deviation))
        reached = self._distance(error)
        words = ", ".join(f"{panels} of {name}" for name, panels in chosen.items())
        text = f"{size(chosen)} nodes ({words}), K = {main.K} and {widest}, l <= {main.L}, {len(best.time) - 1} steps"
        by_source = {name: part[1] for name, part in parts.items()}
        return Estimate(curves, error, by_source, text, chosen, main, self.refinement * FINER, reached, reached <= self.accuracy)

    def truncation(self) -> Truncation:
        """Of the main run."""
        problem, point = self.problem, self.problem.w.is_point
        K = max(problem.target.least_degree, POINT_K if point else MAIN_K)
        return Truncation(K, radial_degree(problem, K, LEAST), K if point else MAIN_L)

    def _most(self) -> int:
        """The largest K of all."""
        known = self.problem.target.known_degree
        wanted = max(LARGEST_K[self.problem.p], (POINT_K if self.problem.w.is_point else MAIN_K) + MORE_K)
        return max(wanted if known is None else min(wanted, known), self.problem.target.least_degree + MORE_K)

    def _modes(self, main: Truncation, first: Array, share: float) -> tuple[Array, Array, int]:
        """Collective. What higher modes and one more sector change on coarse rules, the last change, and the largest K."""
        K, now = main.K, first
        while True:
            before, K = now, min(K + MORE_K, self._most())
            now = rows(self.run(self.thin, Truncation(K, radial_degree(self.problem, K, LEAST), main.L + MORE_L)))
            if self._distance(now - before) * DOUBT <= share or self._most() == K:
                return now - first, now - before, K

    def _sizes(self, curves: Curves) -> tuple[float, float]:
        unit = self.problem.target.unit
        return max(float(np.abs(curves.correction).max()), LEAST * unit), max(float(curves.deviation.max()), LEAST * unit)

    def _distance(self, difference: Array) -> float:
        """The largest difference of c and s in units of their sizes."""
        return float((np.abs(difference[1:]).max(axis=1) / self.scale[1:]).max())

    def _steps(self, base: Curves, share: float) -> tuple[Curves, Array]:
        """Collective. Doubles the steps until c and s stand still; the base run with them, and what the next doubling changes."""
        for _ in range(DOUBLINGS):
            finer = self.run(self.thin, self.studied, 2.0)
            change = self._thinned(finer, 2.0) - rows(base)
            if self._distance(change) <= share:
                return base, np.abs(change)
            base, self.refinement = finer, 2 * self.refinement
        return base, np.tile(self.scale[:, None], len(base.time))

    def _thinned(self, curves: Curves, refinement: float) -> Array:
        """E, c and s of a run with more steps at the records of the studies."""
        every = int(refinement)
        counts = [leg.steps + 1 for leg in legs(self.problem, self.refinement * refinement)]
        parts = np.split(rows(curves), np.cumsum(counts)[:-1], axis=1)
        return np.concatenate([part[:, ::every] for part in parts], axis=1)

    def _finer(self, values: Array) -> Array:
        """Values at the records of the studies, carried to those of the main run."""
        coarse, fine = (legs(self.problem, self.refinement * more) for more in (1.0, FINER))
        parts = np.split(values, np.cumsum([leg.steps + 1 for leg in coarse])[:-1], axis=1)
        return np.concatenate(
            [CubicSpline(a.times, part, axis=1)(b.times) for a, b, part in zip(coarse, fine, parts, strict=True)], axis=1
        )

    def _direction(self, name: str, base: Curves, share: float) -> list[Array]:
        """Collective. E, c and s at each level of a direction, until they stand still; the others are coarse."""
        found = [rows(base)]
        for panels in self.ladders[name][1:]:
            if size({**self.thin, name: panels}) > LARGEST_STUDY:
                break
            found.append(rows(self.run({**self.thin, name: panels}, self.studied)))
            if self._distance(found[-1] - found[-2]) <= share:
                break
        return found

    def _nodes(self, level: dict[str, int]) -> int:
        """Nodes of the product of some levels."""
        return size({name: self.ladders[name][number] for name, number in level.items()})

    def _levels(self, studies: dict[str, list[Array]]) -> dict[str, int]:
        """Levels of the main run: the last of each study, the last but one where that is not cheap, less where it is too dear."""
        level = {name: len(tables) - 1 for name, tables in studies.items()}
        if self._nodes(level) > CHEAP:
            level = {name: max(0, number - 1) for name, number in level.items()}
        while self._nodes(level) > LARGEST:
            lost = {
                name: self._distance(studies[name][-1] - studies[name][number - 1])
                for name, number in level.items()
                if number > 0
            }
            level[min(lost, key=lambda name: lost[name])] -= 1
        return level


def rows(curves: Curves) -> Array:
    """E, c and s, shape (3, records)."""
    return np.stack((curves.loss, curves.correction, curves.deviation))


def _wide(part: Array) -> Array:
    return np.array([widened(row) for row in part])
