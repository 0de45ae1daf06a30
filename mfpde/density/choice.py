"""Which map to draw a density by: the cheapest that is measured to be accurate.

A few points of the initial law are followed by themselves in the run's own time steps; interpolation, and longer time
steps, are held to them.  What moves by a share of a bin h takes at most twice that share of its mass to other bins, so

    2 E min(1, sum over the axes |Theta_h - Theta| / h)

bounds what a map's error changes of a picture, in L1.
"""

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.density.maps import Direct, Interpolated, InY, Map, interpolant, matrix, refined_rules, sizes
from mfpde.density.points import GROUPS, Sampling, Slabs, sample, slabs
from mfpde.discretisation.reading import CHECKED, check_followed
from mfpde.discretisation.recorded import PushForward
from mfpde.errors import RunError
from mfpde.evolution.passive import Passive, neurons, stacked, tensor_nodes
from mfpde.neurons import Nodes

Array = NDArray[np.float64]

# Points that errors are measured at; slabs and points in each, where only y is interpolated; a map's share of the error.
TRIALS, IN_Y_TRIALS, MAP_SHARE = 256, (16, 16), 0.5
# Nodes of an interpolant that cost nothing to speak of, that are followed at most, and in a slab.
FEW_NODES, MOST_NODES, MOST_IN_Y = 20_000, 300_000, 5_200
# Points of a slab in a chunk.
CHUNK = 200_000


@dataclass(frozen=True)
class Ruler:
    """Measures by how many bins points are apart.

    Attributes:
        comm: Ranks that have to agree.
        index: Coordinates of (A, X, R), or (A, X, R, B).
        width: Width of a bin in each of them.
        accuracy: Wanted L1 error.
    """

    comm: MPI.Intracomm
    index: tuple[int, ...]
    width: Array
    accuracy: float

    def moved(self, one: Array, other: Array) -> float:
        """Collective. An upper bound of the L1 distance between the pictures of equal masses at two sets of points."""
        change = np.abs(one - other)[list(self.index)] / self.width[:, None]
        return float(self.comm.allreduce(2 * np.minimum(1.0, change.sum(axis=0)).mean(), op=MPI.MAX))


@dataclass(frozen=True)
class Trial:
    """Points that are followed by themselves to measure by.

    Attributes:
        nodes: At t = 0: TRIALS of the initial law, and then those of a coarse `Sampling` for the range.
        start: Labels of the first ones, rows as `Slabs.labels`.
        values: Where all of them are, shape (coordinates, n).
    """

    nodes: Nodes
    start: Array
    values: Array

    @property
    def measured(self) -> Array:
        return self.values[:, :TRIALS]


def check_field(run: PushForward, time: float) -> None:
    """Follows a few nodes of a snapshot, the last one up to a time, and compares.

    Raises:
        InputError: If they go elsewhere than the run's did: the density would be that of another problem.
    """
    before = [snapshot for snapshot in run.snapshots if 0 < snapshot.time <= min(time, run.field.end) * (1 + 1e-9)]
    if not before or not len(run.field.times):
        return
    snapshot = before[-1]
    every = tensor_nodes(run.problem, run.rules)
    some = np.unique(np.linspace(0, len(every.a) - 1, CHECKED).astype(np.int64))
    start = every.part(some)
    there = snapshot.values.reshape(len(snapshot.values), -1)[:, some]
    followed = stacked(Passive(run.problem, run.modes, run.field, snapshot.time)(start))
    check_followed(stacked(start), followed, there, snapshot.time)


def follow_trial(run: PushForward, time: float) -> Trial:
    """Follows the trial points; without a mean field, they come from the snapshot."""
    problem = run.problem
    start = sample(problem, TRIALS)
    outer = Sampling(GROUPS, () if problem.w.is_point else ({1: 16, 2: 10, 3: 6}[min(problem.p, 3)],) * problem.p)
    labels = np.concatenate([start, *(part.labels for part in slabs(problem, outer, CHUNK))], axis=1)
    nodes = neurons(problem.w, labels)
    snapshot = run.snapshot(time)
    if len(run.field.times):
        values = stacked(Passive(problem, run.modes, run.field, time)(nodes))
    elif snapshot is not None:
        values = Interpolated(run.rules, snapshot.values).at(labels)
    else:
        values = stacked(nodes)  # nothing has moved
    return Trial(nodes, start, values)


def choose_steps(run: PushForward, ruler: Ruler, time: float, trial: Trial) -> tuple[Passive, float]:
    """Collective. As few time steps as follow the trial points well, and the error that they make."""
    own = trial.nodes.part(slice(TRIALS))
    if len(run.field.times):
        for together in (6, 4, 3, 2):
            passive = Passive(run.problem, run.modes, run.field, time, together)
            try:
                error = ruler.moved(stacked(passive(own)), trial.measured)
            except RunError:  # so long a step is not stable
                continue
            if error <= ruler.accuracy / 20:
                return passive, error
    return Passive(run.problem, run.modes, run.field, time), 0.0


def choose_map(run: PushForward, ruler: Ruler, time: float, trial: Trial, passive: Passive) -> tuple[Map, float]:
    """Collective. The map to draw by, and the L1 error that it brings."""
    problem = run.problem
    snapshot = run.snapshot(time)
    wanted, rules = MAP_SHARE * ruler.accuracy, run.rules
    found = None if snapshot is None else Interpolated(rules, snapshot.values)
    if not len(run.field.times):
        if found is None:  # nothing has moved
            return Direct(problem, passive), 0.0
        return found, 2 * float(found.tails(ruler.index, ruler.width).sum())
    first = True
    while found is not None or sizes(rules) <= MOST_NODES:
        if found is None:
            found = interpolant(ruler.comm, problem, passive, rules)
        error = ruler.moved(found.at(trial.start), trial.measured)
        if error <= (wanted if sizes(rules) > FEW_NODES else wanted / 10):
            return found, error
        tails = found.tails(ruler.index, ruler.width)
        if not tails.any():
            break
        # Where there is much to spare, coarser: the next measurement says whether that was too much.
        change = [1 if tail > tails.max() / 4 else -1 if tail < wanted / 50 and first else 0 for tail in tails]
        rules, found, first = refined_rules(problem, rules, change), None, False
    own, labels = run.rules, len(run.rules) - problem.p
    while not problem.w.is_point and sizes(own[labels:]) <= MOST_IN_Y:
        in_y = InY(problem, passive, own[labels:])
        error = ruler.moved(*_compare(run, in_y))
        if error <= wanted:
            return in_y, error
        own = refined_rules(problem, own, [*[0] * labels, *[1] * problem.p])
    return Direct(problem, passive), 0.0


def _compare(run: PushForward, in_y: InY) -> tuple[Array, Array]:
    """Points of a few slabs by interpolation in y, and as they are followed."""
    problem = run.problem
    a, *b, square = labels = sample(problem, TRIALS)[: -problem.p, : IN_Y_TRIALS[0]]
    y = sample(problem, IN_Y_TRIALS[1])[-problem.p :]
    places, weights = tuple(rule.nodes for rule in in_y.rules), tuple(rule.weights for rule in in_y.rules)
    nodes = Slabs(a, square, places, weights, 1.0, b=b[0] if b else None)
    values = stacked(in_y.passive(nodes.nodes(problem.w))).reshape(-1, len(a), *(len(rule) for rule in in_y.rules))
    values = np.broadcast_to(values[:, :, None], (*values.shape[:2], y.shape[1], *values.shape[2:]))
    for rule, x in zip(in_y.rules, y, strict=True):
        values = np.einsum("kn,cskn...->csk...", matrix(rule, x), values)
    n = y.shape[1]
    start = neurons(problem.w, np.concatenate((np.repeat(labels, n, axis=1), np.tile(y, len(a)))))
    return values.reshape(len(values), -1), stacked(in_y.passive(start))
