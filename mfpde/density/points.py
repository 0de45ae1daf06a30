"""Points of the initial law that stand for its mass: sub-cells of (a_0, r_0, y) with their masses and representatives.

Slabs of equal mass in (a_0, r_0) come in mirrored pairs, at the quantiles u and 1 - u of a_0 and one quantile of r_0, so
that a symmetry of the flow is one of the picture; r_0 follows the golden section, so that few slabs cover both labels.
In each slab the sub-cells of y are boxes whose masses and conditional means are exact.  Slabs take turns with slightly
different ones: what is seen of a lattice then averages out, and two halves of the slabs give two renderings whose
difference says how far either is from the truth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.lagrangian import Nodes
from mfpde.problem.inner import InnerLaw
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]

# Beyond this the outermost sub-cells begin, of mass 3e-6.
REACH = 4.5
# Kinds of slabs, by their sub-cells of y.
GROUPS = 16
GOLDEN = (np.sqrt(5.0) - 1) / 2


@dataclass(frozen=True)
class Sampling:
    """How many sub-cells.

    Attributes:
        pairs: Of slabs.
        cells: Sub-cells in each direction of y, about; none for a point start.
    """

    pairs: int
    cells: tuple[int, ...]

    @property
    def count(self) -> int:
        """Of points."""
        return sum(2 * len(range(g, self.pairs, GROUPS)) * int(np.prod(self.of_group(g))) for g in range(GROUPS))

    def of_group(self, group: int) -> tuple[int, ...]:
        """Sub-cells in each direction for a group of slabs."""
        return tuple(n + (group + q * (group // 4)) % 4 for q, n in enumerate(self.cells))


@dataclass(frozen=True)
class Slabs:
    """Some slabs with the same sub-cells of y.

    Attributes:
        a, square: a_0 and r_0^2 of each, shapes (n,).
        y, mass: Per direction, the sub-cells' means and masses.
        share: Mass of a slab.
        half: Which of the two renderings they belong to.
    """

    a: Array
    square: Array
    y: tuple[Array, ...]
    mass: tuple[Array, ...]
    share: float
    half: int = 0

    @property
    def weight(self) -> Array:
        """Of the sub-cells of one slab, shape (S_1, ..., S_p), sum `share`."""
        out = np.array(self.share)
        for mass in self.mass:
            out = out[..., None] * mass
        return out

    @property
    def labels(self) -> tuple[Array, Array, Array]:
        """a_0 (n,), r_0^2 (n,) and y (p, n) of all sub-cells, the last direction of y fastest."""
        grid = np.array([x.ravel() for x in np.meshgrid(*self.y, indexing="ij")])
        a, square = (np.repeat(x, grid.shape[1]) for x in (self.a, self.square))
        return a, square, np.tile(grid, (1, len(self.a)))

    def nodes(self, law: InnerLaw) -> Nodes:
        """As neurons at t = 0."""
        return neurons(law, *self.labels, np.tile(self.weight.ravel(), len(self.a)))


def neurons(law: InnerLaw, a: Array, square: Array, y: Array, weight: Array | None = None) -> Nodes:
    """Neurons at t = 0 from their labels a_0 (n,), r_0^2 (n,), y (p, n); a point start has v = 0."""
    return Nodes(a, *law.placed(law.scale * y, np.sqrt(square)), np.ones(len(a)) if weight is None else weight)


def normal_cells(count: int, reach: float = REACH) -> tuple[Array, Array]:
    """Conditional means and masses of `count` cells of N(0, 1): equal ones in |y| < reach, and two outer ones."""
    from scipy.special import ndtr

    inner = np.linspace(-reach, reach, count - 1) if count > 2 else np.zeros(count - 1)
    edges = np.array([-np.inf, *inner, np.inf])
    # Differences of tails keep their digits on the left half; the right one is its mirror image.
    below = np.where(edges <= 0, ndtr(edges), ndtr(-edges))
    low, high = edges[:-1], edges[1:]
    mass = np.where(high <= 0, below[1:] - below[:-1], np.where(low >= 0, below[:-1] - below[1:], 1 - below[:-1] - below[1:]))
    density = np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    mean = (density[:-1] - density[1:]) / mass
    mass = (mass + mass[::-1]) / 2
    return (mean - mean[::-1]) / 2, mass / mass.sum()


def slabs(problem: Problem, sampling: Sampling, most: int) -> list[Slabs]:
    """All slabs of a sampling, in parts of at most about `most` points."""
    found = []
    for group in range(GROUPS):
        stretch = [1 + (group // 4) / (2 * n) for n in sampling.cells]
        parts = [normal_cells(n, REACH * x) for n, x in zip(sampling.of_group(group), stretch, strict=True)] or [
            (np.zeros(1), np.ones(1))
        ] * problem.p
        y, mass = zip(*parts, strict=True)
        number = np.arange(group, sampling.pairs, GROUPS)
        u = (number + 0.5) / (2 * sampling.pairs)
        a = np.stack([problem.a.quantile(u), problem.a.quantile(1 - u)], axis=1).ravel()
        square = np.repeat(problem.w.squared_radius.quantile((number + 0.5) * GOLDEN % 1), 2)
        length = 2 * max(1, most // (2 * int(np.prod([len(x) for x in y]))))  # mirrored ones stay together
        for first in range(0, len(a), length):
            part = slice(first, first + length)
            found.append(Slabs(a[part], square[part], tuple(y), tuple(mass), 1 / (2 * sampling.pairs), group % 2))
    return found


def sample(problem: Problem, count: int) -> tuple[Array, Array, Array]:
    """`count` points of the initial law, of equal mass: a_0 (n,), r_0^2 (n,), y (p, n); an additive recurrence."""
    from scipy.special import ndtri

    size = problem.p + 2
    root = 2.0
    for _ in range(64):  # x^(size + 1) = x + 1
        root = (1 + root) ** (1 / (size + 1))
    cube = (0.5 + np.arange(1, count + 1) * root ** -np.arange(1.0, size + 1)[:, None]) % 1
    y = np.zeros((problem.p, count)) if problem.w.is_point else ndtri(cube[2:])
    return problem.a.quantile(cube[0]), problem.w.squared_radius.quantile(cube[1]), y
