"""The elements that follow the flow: labels and reference cells, and each rank's part of both."""

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisation.grid import ProcessGrid, process_grid
from mfpde.moving.cells import Cells, normal_cells, point_cells
from mfpde.neurons import Nodes
from mfpde.problem.inner import InnerLaw
from mfpde.quadrature.labels import Labels

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Elements:
    """Labels and reference cells, and this rank's part of both.

    Attributes:
        labels: All labels.
        cells: This rank's cells, the same for each of its slices.
        grid: The process grid; `grid.slices` are the labels held here.
    """

    labels: Labels
    cells: Cells
    grid: ProcessGrid

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, cells and nodes of a cell on this rank."""
        return len(self.grid.slices), *self.cells.mass.shape

    @property
    def label_weight(self) -> Array:
        """Weights of this rank's labels."""
        return self.labels.weight[self.grid.slices.start : self.grid.slices.stop]

    def nodes(self, law: InnerLaw) -> Nodes:
        """This rank's nodes at t = 0, v = y / sqrt(d) or with it on the sphere, numbered by slice, cell and node."""
        labels = self.labels.nodes[self.grid.slices.start : self.grid.slices.stop].T
        a, r, *b = (np.repeat(x, self.cells.mass.size) for x in labels)
        weight = np.outer(self.label_weight, self.cells.mass.ravel()).ravel()
        v = np.tile(law.scale * self.cells.y.reshape(len(self.cells.y), -1), (1, len(self.grid.slices)))
        return Nodes(a, *law.placed(v, r), weight, *b)


def make_elements(
    comm: MPI.Intracomm, labels: Labels, edges: tuple[tuple[float, ...], ...], counts: tuple[int, ...], mesh_ranks: int = 0
) -> Elements:
    """Collective. Elements with the given panels of y, divided over the ranks: slices first, then cells.

    Args:
        comm: All ranks.
        labels: All labels.
        edges: Ends between the panels of each direction of y.
        counts: Nodes of a panel in each direction; 1 throughout, with no edges, is the point y = 0.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.
    """
    count = int(np.prod([len(inner) + 1 for inner in edges]))
    grid = process_grid(comm, len(labels), count, mesh_ranks)
    is_point = count == 1 and set(counts) == {1}
    cells = point_cells(len(edges)) if is_point else normal_cells(grid.mesh_comm, edges, counts)
    return Elements(labels, cells, grid)
