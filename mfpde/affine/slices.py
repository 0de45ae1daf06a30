"""What does not change during a run in the affine frame: the labels, the mesh, and each rank's part of both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.affine.frame import taper
from mfpde.affine.mesh import ReferenceMesh, box_mesh, read_mesh, reference_mesh
from mfpde.affine.transport import Transport
from mfpde.discretisation.grid import ProcessGrid, process_grid
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.labels import Labels

Array = NDArray[np.float64]

# Share of the half width at which the taper begins.
TAPER = 5 / 6


@dataclass(frozen=True)
class Slices:
    """What does not change during a run: the labels, the mesh, and this rank's part of both.

    Attributes:
        labels: All labels.
        grid: The process grid; `grid.slices` are the labels held here.
        mesh: The reference mesh, and `transport` on it.
        y: Coordinates of the nodes of owned cells, shape (p, cells, nodes).
        weight: Their quadrature weights, shape (cells, nodes).
    """

    labels: Labels
    grid: ProcessGrid
    mesh: ReferenceMesh
    transport: Transport
    y: Array
    weight: Array

    @property
    def label_weight(self) -> Array:
        """Weights of this rank's labels."""
        return self.labels.weight[self.grid.slices.start : self.grid.slices.stop]


def affine_slices(comm: MPI.Intracomm, problem: Problem, options: Discretization, labels: Labels, mesh_ranks: int) -> Slices:
    """Collective. Labels and the mesh of a configuration, divided over the ranks."""
    p, numbers = problem.p, problem.numbers(options)
    grid = process_grid(comm, len(labels), numbers.cells**p, mesh_ranks)
    if options.mesh is None:
        domain = box_mesh(grid.mesh_comm, p, numbers.cells, options.half_width, numbers.grading)
    else:
        domain = read_mesh(grid.mesh_comm, Path(options.mesh), p)
    mesh = reference_mesh(domain, numbers.degree, lambda y, half_width: taper(y, half_width, TAPER * half_width))
    transport = Transport(comm, mesh, len(grid.slices))
    owned = mesh.owned
    return Slices(
        labels, grid, mesh, transport, np.ascontiguousarray(mesh.y[:, :owned]), np.ascontiguousarray(mesh.weight[:owned])
    )
