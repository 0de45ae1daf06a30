"""Points of the initial law that stand for its mass: sub-cells of (a_0, r_0, y) with their masses and representatives.

Slabs of equal mass in (a_0, r_0) come in pairs, at the quantiles u and 1 - u of a_0 and one quantile of r_0, with sub-cells of y
that are mirrored in y_1: the symmetry a, v_1 -> -a, -v_1 of a target that is odd in z1 is one of the picture, exactly.  r_0
follows the golden section, and b_0 the root of 2, so that few slabs cover all labels.  The sub-cells of y are products of
intervals of equal width and two outer ones in each direction, with exact masses and conditional means.  Slabs take turns with
shifted ones: what is seen of a lattice then averages out, and two halves of the slabs give two renderings whose difference says
how far either is from the truth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.passive import labels_at, neurons
from mfpde.neurons import Nodes
from mfpde.problem.inner import InnerLaw
from mfpde.problem.problem import Problem
from mfpde.quadrature.rules import outer

Array = NDArray[np.float64]

# Beyond this the outermost sub-cells begin, of mass 3e-6.
REACH = 4.5
# Kinds of slabs, by the shifts of their sub-cells of y.
GROUPS = 64
GOLDEN = (np.sqrt(5.0) - 1) / 2


@dataclass(frozen=True)
class Sampling:
    """How many sub-cells.

    Attributes:
        pairs: Pairs of slabs.
        cells: Sub-cells in each direction of y, about; none for a point start.
    """

    pairs: int
    cells: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of points."""
        return 2 * self.pairs * int(np.prod(self.cells, initial=1))


@dataclass(frozen=True)
class Slabs:
    """Some slabs with the same sub-cells of y.

    Attributes:
        a, square, b: a_0 and r_0^2, and with biases b_0, of each, shapes (n,).
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
    b: Array | None = None

    @property
    def weight(self) -> Array:
        """Weights of the sub-cells of one slab, shape (S_1, ..., S_p), sum `share`."""
        return outer(self.mass, self.share)

    @property
    def of_each(self) -> tuple[Array, ...]:
        """a_0, with biases b_0, and r_0^2 of each slab, shapes (n,)."""
        return (self.a, self.square) if self.b is None else (self.a, self.b, self.square)

    @property
    def labels(self) -> Array:
        """a_0, with biases b_0, r_0^2 and y of all sub-cells, a row each, the last direction of y fastest."""
        grid = np.array([x.ravel() for x in np.meshgrid(*self.y, indexing="ij")])
        return np.concatenate(([np.repeat(x, grid.shape[1]) for x in self.of_each], np.tile(grid, (1, len(self.a)))))

    def nodes(self, law: InnerLaw) -> Nodes:
        """As neurons at t = 0."""
        return neurons(law, self.labels, np.tile(self.weight.ravel(), len(self.a)))


def normal_cells(count: int, shift: float = 0.0) -> tuple[Array, Array]:
    """Conditional means and masses of `count` cells of N(0, 1): equal ones in |y| < REACH, and two outer ones.

    Args:
        count: At least 1.
        shift: Shift of the inner ends, in widths of a cell.
    """
    from scipy.special import ndtr

    inner = np.linspace(-REACH, REACH, count - 1) if count > 2 else np.zeros(count - 1)
    if count > 2:
        inner = inner + shift * 2 * REACH / (count - 2)
    edges = np.array([-np.inf, *inner, np.inf])
    # Differences of tails keep their digits on both sides.
    tail = np.where(edges <= 0, ndtr(edges), ndtr(-edges))
    low, high = edges[:-1], edges[1:]
    mass = np.where(high <= 0, tail[1:] - tail[:-1], np.where(low >= 0, tail[:-1] - tail[1:], 1 - tail[:-1] - tail[1:]))
    density = np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    return (density[:-1] - density[1:]) / mass, mass / mass.sum()


def slabs(problem: Problem, sampling: Sampling, most: int) -> list[Slabs]:
    """All slabs of a sampling, in parts of at most about `most` points."""
    found = []
    length = max(1, most // int(np.prod(sampling.cells, initial=1)))
    for group in range(GROUPS):
        shifts = (0.5 + group * np.sqrt((2.0, 3.0, 7.0))[: len(sampling.cells)]) % 1 - 0.5
        parts = [normal_cells(n, x) for n, x in zip(sampling.cells, shifts, strict=True)] or [
            (np.zeros(1), np.ones(1))
        ] * problem.p
        number = np.arange(group, sampling.pairs, GROUPS)
        u = (number + 0.5) / (2 * sampling.pairs)
        square = problem.w.squared_radius.quantile((number + 0.5) * GOLDEN % 1)
        b = None if problem.b is None else problem.b.quantile((number + 0.5) * np.sqrt(2.0) % 1)
        for a in (problem.a.quantile(u), problem.a.quantile(1 - u)):
            y, mass = zip(*parts, strict=True)
            for first in range(0, len(a), length):
                part = slice(first, first + length)
                of_b, share = None if b is None else b[part], 1 / (2 * sampling.pairs)
                found.append(Slabs(a[part], square[part], tuple(y), tuple(mass), share, group % 2, of_b))
            parts[0] = -parts[0][0][::-1], parts[0][1][::-1]
    return found


def sample(problem: Problem, count: int) -> Array:
    """`count` points of the initial law, of equal mass: rows as `Slabs.labels`; an additive recurrence."""
    size = len(problem.directions)
    root = 2.0
    for _ in range(64):  # x^(size + 1) = x + 1
        root = (1 + root) ** (1 / (size + 1))
    cube = (0.5 + np.arange(1, count + 1) * root ** -np.arange(1.0, size + 1)[:, None]) % 1
    return labels_at(problem, cube)
