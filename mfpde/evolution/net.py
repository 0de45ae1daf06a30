"""Nodes of a scrambled Sobol' net of the initial law.

What the law consists of points in is no direction of the net: every combination of such points has the net of the others, so
that atoms cost no accuracy.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.passive import neurons
from mfpde.neurons import Nodes
from mfpde.problem.laws import Law
from mfpde.problem.problem import Problem
from mfpde.quadrature.nets import scrambled_net

Array = NDArray[np.float64]

# Of all scrambles: a result can be computed again.
SEED = 20_240_208
# Atoms of a law that multiply the nodes; of more, the net takes quantiles.
MOST_ATOMS = 8


def net_nodes(problem: Problem, points: int, scramble: int = 0, first: int = 0, last: int | None = None) -> Nodes:
    """The nodes [first, last) of a net at t = 0, numbered by combination of atoms, then by point; all if not said.

    Args:
        problem: Gives the initial law.
        points: Of the net, a power of two.
        scramble: Number of the scramble.
        first, last: Which nodes.
    """
    split, spread = _directions(problem)
    combinations = list(product(*(range(len(atoms[0])) for atoms in split.values())))
    number = np.arange(first, points * len(combinations) if last is None else last)
    seed = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(scramble,)))
    cube = scrambled_net(len(spread), seed, 0, points)[:, number % points] if spread else np.empty((0, len(number)))
    which = np.array(combinations, dtype=np.int64).reshape(len(combinations), -1)[number // points]
    weight = np.full(len(number), 1.0 / points)
    rows: dict[str, Array] = {name: law.quantile(u) for (name, law), u in zip(spread.items(), cube, strict=True)}
    for (name, (values, masses)), k in zip(split.items(), which.T, strict=True):
        rows[name] = values[k]
        weight *= masses[k]
    zero = np.zeros(len(number))
    return neurons(problem.w, np.array([rows.get(name, zero) for name in problem.directions]), weight)


def node_count(problem: Problem, points: int) -> int:
    """The number of all nodes of a net of so many points."""
    return points * int(np.prod([len(values) for values, _ in _directions(problem)[0].values()]))


def spread_directions(problem: Problem) -> int:
    """The number of directions of a net."""
    return len(_directions(problem)[1])


def _directions(problem: Problem) -> tuple[dict[str, tuple[Array, Array]], dict[str, Law]]:
    """The directions of few atoms, with these, and those of the net, with their laws, by name; y of a point start is neither."""
    split: dict[str, tuple[Array, Array]] = {}
    spread: dict[str, Law] = {}
    for name, law in (problem.label_laws if problem.w.is_point else problem.directions).items():
        if (atoms := law.atoms) is not None and len(atoms[0]) <= MOST_ATOMS:
            split[name] = atoms
        else:
            spread[name] = law
    return split, spread
