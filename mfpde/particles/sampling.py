"""Particles (a, v, r) of the initial law: independent, scrambled Sobol' points, or nodes of product Gauss rules.

    a ~ rho_a,   v = y / sqrt(d), y ~ N(0, I_p),   d r^2 ~ chi^2 with d - p degrees of freedom

Random and Sobol' particles are quantiles of points in the unit cube; they are drawn in blocks with a seed each, so that
a particle depends on its number alone, not on the ranks.
"""

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.problem.initial import Rule, quantile_of_a, quantile_of_r
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]

BLOCK = 4096
# Of a composite rule: points of one panel, and |y| beyond which the normal density (1e-15) is left out.
PANEL_POINTS, REACH = 8, 8.0


@dataclass(frozen=True)
class Particles:
    """Neurons and their weights: a (n), v (p, n), r (n), weight (n)."""

    a: Array
    v: Array
    r: Array
    weight: Array


def normal_rule(panels: int, points: int, reach: float = REACH) -> Rule:
    """Composite Gauss-Legendre rule of N(0, 1) on |y| <= `reach`, `points` a panel; one panel: Gauss-Hermite.

    A single Gauss-Hermite rule converges fastest while the flow map is close to linear in y (large d); panels stay
    accurate where it saturates (d ~ 10).
    """
    if panels == 1:
        from scipy.special import gamma

        y, w = np.polynomial.hermite_e.hermegauss(points)
        orthonormal = np.polynomial.hermite_e.hermevander(y, points - 1) / np.sqrt(gamma(np.arange(1.0, points + 1)))
        return Rule(y, w / w.sum(), orthonormal)
    x, w = np.polynomial.legendre.leggauss(points)
    width = 2 * reach / panels
    left = -reach + width * np.arange(panels)[:, None]
    y = (left + width * (x + 1) / 2).ravel()
    weight = np.tile(w, panels) * np.exp(-0.5 * y * y)
    return Rule(y, weight / weight.sum(), np.empty((0, 0)))


def gauss_axes(problem: Problem, v_rule: Rule) -> list[Rule]:
    """The rules of a, r and y_1..y_p whose product the Gauss particles are; a point start has one node y = 0."""
    y = v_rule if spread(problem) else Rule(np.zeros(1), np.ones(1), np.ones((1, 1)))
    return [problem.a_rule, problem.r_rule, *[y] * problem.p]


def gauss_particles(problem: Problem, v_rule: Rule, first: int = 0, last: int | None = None) -> Particles:
    """The particles [first, last) of the product rule `gauss_axes`, numbered with the last axis fastest."""
    axes = gauss_axes(problem, v_rule)
    shape = tuple(len(rule.nodes) for rule in axes)
    index = np.unravel_index(np.arange(first, int(np.prod(shape)) if last is None else last), shape)
    a, r, *y = (rule.nodes[i] for rule, i in zip(axes, index, strict=True))
    weight = np.prod([rule.weights[i] for rule, i in zip(axes, index, strict=True)], axis=0)
    return Particles(a, scale_of_v(problem) * np.array(y), r, weight)


def random_particles(problem: Problem, law: str, count: int, seed: tuple[int, int], first: int, last: int) -> Particles:
    """The particles [first, last) of `count` independent ones.

    Args:
        problem: Gives d, p and the law of w.
        law: Of a, as in `initial.a`.
        count: N; every particle has weight 1/N.
        seed: The seed and the number of the repetition.
        first, last: Which ones.
    """
    blocks = range(first // BLOCK, -(-last // BLOCK))
    drawn = [generator(seed, block).random((BLOCK, problem.p + 2)) for block in blocks]
    cube = np.concatenate([np.empty((0, problem.p + 2)), *drawn])[first - blocks.start * BLOCK :][: last - first]
    return _quantiles(problem, law, count, cube)


def sobol_particles(problem: Problem, law: str, count: int, seed: tuple[int, int], first: int, last: int) -> Particles:
    """The particles [first, last) of `count` = 2^m scrambled Sobol' points; arguments as for `random_particles`."""
    from scipy.stats.qmc import Sobol

    points = Sobol(problem.p + 2, scramble=True, seed=generator(seed, 0))
    if first:
        points.fast_forward(first)
    # The sampler wants to be asked for 2^m points; they are corners of a grid of 2^-30, moved to the centres of its cells.
    cube = points.random(1 << max(last - first - 1, 0).bit_length())[: last - first]
    return _quantiles(problem, law, count, cube + 2.0**-31)


def spread(problem: Problem) -> bool:
    """Whether v_0 has a density: at d = inf and for w = 0 it is the point 0."""
    return problem.d != inf and problem.w == "gaussian"


def scale_of_v(problem: Problem) -> float:
    """Standard deviation of a component of v_0."""
    return 1 / sqrt(problem.d) if spread(problem) else 0.0


def share(comm: MPI.Intracomm, count: int) -> tuple[int, int]:
    """The first and the last + 1 of this rank's particles out of `count`."""
    return count * comm.rank // comm.size, count * (comm.rank + 1) // comm.size


def generator(seed: tuple[int, int], block: int) -> np.random.Generator:
    """The random numbers of one block of one repetition; seed is (seed, repetition)."""
    return np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(seed[1], block)))


def _quantiles(problem: Problem, law: str, count: int, cube: Array) -> Particles:
    """Particles at points of the unit cube, shape (n, p + 2): coordinates of a, r, v."""
    from scipy.special import ndtri

    cube = np.maximum(cube, 2.0**-54)  # no infinite quantile
    a = quantile_of_a(law, cube[:, 0])
    r = np.zeros(len(cube)) if problem.w == "zero" else quantile_of_r(problem.d, problem.p, cube[:, 1])
    v = scale_of_v(problem) * ndtri(cube[:, 2:]).T
    return Particles(a, np.ascontiguousarray(v), r, np.full(len(cube), 1 / count))
