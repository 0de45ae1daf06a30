"""Reference cells of y ~ N(0, I_p), and their nodes: the finite elements that follow the flow.

The cells are boxes with semi-infinite outer ones, so they cover R^p; each holds the tensor product of the Gauss rules of
N(0, 1) restricted to its sides, so its nodes have positive masses that sum to the cell's, and are unisolvent for the
polynomials of degree n - 1 in each variable.  One cell has Gauss-Hermite nodes.  Where ranks share
the cells, a DOLFINx mesh owns and divides them; in it the unbounded ones end at a finite place.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisation.mesh import Mesh, tensor_mesh
from mfpde.problem.laws.normal import Normal
from mfpde.quadrature.rules import Rule, gauss_rule

Array = NDArray[np.float64]

# Where the DOLFINx mesh ends: the normal tail beyond is 1e-9, or the outermost edge lies there.
END = 6.0


@dataclass(frozen=True)
class Cells:
    """This rank's cells.

    Attributes:
        rules: One for each direction of y; all its panels have the same number of nodes.
        natural: Lexicographic numbers of this rank's cells, shape (cells,).
        y: Their nodes, shape (p, cells, nodes), the last direction fastest.
        mass: Masses of the nodes, shape (cells, nodes); sum 1 over all cells.
        mesh: The DOLFINx mesh that divides the cells, or None on a single rank.
    """

    rules: tuple[Rule, ...]
    natural: NDArray[np.int64]
    y: Array
    mass: Array
    mesh: Mesh | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Panels in each direction."""
        return tuple(len(rule.counts) for rule in self.rules)

    @property
    def nodes_shape(self) -> tuple[int, ...]:
        """Nodes of a cell in each direction."""
        return tuple(rule.counts[0] for rule in self.rules)

    @property
    def count(self) -> int:
        """Number of cells over all ranks of the mesh."""
        return prod(self.shape)


def point_cells(p: int) -> Cells:
    """The single node y = 0 of a law that starts in a point."""
    rule = Rule(np.zeros(1), np.ones(1), np.array([-np.inf, np.inf]), (1,), smooth=False)
    return Cells((rule,) * p, np.zeros(1, dtype=np.int64), np.zeros((p, 1, 1)), np.ones((1, 1)))


def normal_cells(comm: MPI.Intracomm, edges: tuple[tuple[float, ...], ...], counts: tuple[int, ...]) -> Cells:
    """Collective. The cells between given edges.

    Args:
        comm: The ranks that divide the cells.
        edges: Ends between the panels in each direction, ascending; none for a single panel.
        counts: Nodes of a panel in each direction.
    """
    law = Normal(0.0, 1.0)
    found: dict[tuple[tuple[float, ...], int], Rule] = {}
    for inner, n in zip(edges, counts, strict=True):
        if (inner, n) not in found:
            found[inner, n] = gauss_rule(law, (n,) * (len(inner) + 1), inner)
    rules = tuple(found[key] for key in zip(edges, counts, strict=True))
    shape = tuple(len(inner) + 1 for inner in edges)
    # A rank that has all cells needs no mesh to say which ones are its own.
    mesh = _mesh(comm, edges) if comm.size > 1 else None
    natural = np.arange(prod(shape), dtype=np.int64) if mesh is None else _numbers(mesh, edges, shape)
    panel = np.unravel_index(natural, shape)
    place = [_in_panels(rule.nodes, n, i) for rule, n, i in zip(rules, counts, panel, strict=True)]
    mass = [_in_panels(rule.weights, n, i) for rule, n, i in zip(rules, counts, panel, strict=True)]
    y, weights = (_tensor(parts) for parts in (place, mass))
    return Cells(rules, natural, y, np.ascontiguousarray(weights.prod(axis=0)), mesh)


def _in_panels(values: Array, n: int, panel: NDArray[np.int64]) -> Array:
    """Values at the nodes of the given panels, shape (cells, n)."""
    return values.reshape(-1, n)[panel]


def _tensor(parts: list[Array]) -> Array:
    """Tensor products in each cell, shape (p, cells, nodes)."""
    p, cells = len(parts), len(parts[0])
    shape = (cells, *(part.shape[1] for part in parts))
    out = np.empty((p, *shape))
    for q, part in enumerate(parts):
        out[q] = part.reshape(cells, *(part.shape[1] if i == q else 1 for i in range(p)))
    return out.reshape(p, cells, prod(shape[1:]))


def _mesh(comm: MPI.Intracomm, edges: tuple[tuple[float, ...], ...]) -> Mesh:
    """Collective. The DOLFINx mesh with these edges."""
    return tensor_mesh(
        comm, [(-max(END, -2 * inner[0]), *inner, max(END, 2 * inner[-1])) if inner else (-END, END) for inner in edges]
    )


def _numbers(mesh: Mesh, edges: tuple[tuple[float, ...], ...], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Lexicographic numbers of the cells that this rank owns."""
    p = len(edges)
    owned = mesh.topology.index_map(p).size_local
    middle = mesh.geometry.x[mesh.geometry.dofmaps[0][:owned]][:, :, :p].mean(axis=1)
    panels = [np.searchsorted(inner, middle[:, q]) for q, inner in enumerate(edges)]
    return np.asarray(np.ravel_multi_index(panels, shape), dtype=np.int64)
