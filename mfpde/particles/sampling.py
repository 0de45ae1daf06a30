"""Particles (a, v, r) of the initial law: independent, scrambled Sobol' points, or nodes of product Gauss rules.

    a ~ rho_a,   v = y / sqrt(d), y ~ N(0, I_p),   d r^2 ~ chi^2 with d - p degrees of freedom,   with biases b ~ rho_b

Random and Sobol' particles are quantiles of points in the unit cube; they are drawn in blocks with a seed each, so that
a particle depends on its number alone, not on the ranks.
"""

import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.passive import labels_at, neurons
from mfpde.neurons import Nodes
from mfpde.problem.laws.normal import Normal
from mfpde.problem.laws.point import Point
from mfpde.problem.problem import Problem
from mfpde.quadrature.labels import Labels
from mfpde.quadrature.nets import scrambled_net
from mfpde.quadrature.rules import Rule, gauss_rule

Array = NDArray[np.float64]

BLOCK = 4096
# Of a composite rule: points of one panel, and |y| beyond which the normal density (1e-15) is left out.
PANEL_POINTS, REACH = 8, 8.0


def normal_rule(panels: int, points: int, reach: float = REACH) -> Rule:
    """Composite Gauss-Legendre rule of N(0, 1) on |y| <= `reach`, `points` a panel; one panel: Gauss-Hermite.

    A single Gauss-Hermite rule converges fastest while the flow map is close to linear in y (large d); panels stay
    accurate where it saturates (d ~ 10).
    """
    if panels == 1:
        return gauss_rule(Normal(0.0, 1.0), (points,))
    x, w = np.polynomial.legendre.leggauss(points)
    edges = np.linspace(-reach, reach, panels + 1)
    y = (edges[:-1, None] + np.diff(edges)[:, None] * (x + 1) / 2).ravel()
    weight = np.tile(w, panels) * np.exp(-0.5 * y * y)
    return Rule(y, weight / weight.sum(), edges, (points,) * panels)


def gauss_axes(problem: Problem, labels: Labels, v_rule: Rule) -> list[Rule]:
    """The rules of a, with biases b, r^2 and y_1..y_p whose product the Gauss particles are; a point start has one node y = 0."""
    y = gauss_rule(Point(0.0), (1,)) if problem.w.is_point else v_rule
    return [*labels.rules.values(), *[y] * problem.p]


def gauss_particles(problem: Problem, labels: Labels, v_rule: Rule, first: int = 0, last: int | None = None) -> Nodes:
    """The particles [first, last) of the product rule `gauss_axes`, numbered with the last axis fastest."""
    axes = gauss_axes(problem, labels, v_rule)
    shape = tuple(len(rule) for rule in axes)
    index = np.unravel_index(np.arange(first, int(np.prod(shape)) if last is None else last), shape)
    rows = np.array([rule.nodes[i] for rule, i in zip(axes, index, strict=True)])
    weight = np.prod([rule.weights[i] for rule, i in zip(axes, index, strict=True)], axis=0)
    return neurons(problem.w, rows, weight)


def random_particles(problem: Problem, count: int, seed: tuple[int, int], first: int, last: int) -> Nodes:
    """The particles [first, last) of `count` independent ones.

    Args:
        problem: Gives p and the initial law.
        count: N; every particle has weight 1/N.
        seed: The seed and the number of the repetition.
        first, last: Which ones.
    """
    blocks = range(first // BLOCK, -(-last // BLOCK))
    size = len(problem.directions)
    drawn = [generator(seed, block).random((BLOCK, size)) for block in blocks]
    cube = np.concatenate([np.empty((0, size)), *drawn])[first - blocks.start * BLOCK :][: last - first]
    return _quantiles(problem, count, cube)


def sobol_particles(problem: Problem, count: int, seed: tuple[int, int], first: int, last: int) -> Nodes:
    """The particles [first, last) of `count` = 2^m scrambled Sobol' points; arguments as for `random_particles`."""
    return _quantiles(problem, count, scrambled_net(len(problem.directions), generator(seed, 0), first, last).T)


def generator(seed: tuple[int, int], block: int) -> np.random.Generator:
    """The random numbers of one block of one repetition; seed is (seed, repetition)."""
    return np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(seed[1], block)))


def _quantiles(problem: Problem, count: int, cube: Array) -> Nodes:
    """Particles at points of the unit cube, shape (n, p + 2 or p + 3): coordinates of a, r, v, and with biases b."""
    cube = np.maximum(cube, 2.0**-54)  # no infinite quantile
    return neurons(problem.w, labels_at(problem, cube.T), np.full(len(cube), 1 / count))
