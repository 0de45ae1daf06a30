"""The DOLFINx mesh of a product of intervals: it owns cells and divides them over the ranks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from mfpde.problem.problem import Problem

# Dimensions of a mesh.
LARGEST_MESHED_P = 3
# A dolfinx.mesh.Mesh; DOLFINx is loaded where it is needed.
type Mesh = Any


def tensor_mesh(comm: MPI.Intracomm, edges: Sequence[Sequence[float]]) -> Mesh:
    """Collective. The DOLFINx mesh of the boxes between the given edges, ascending in each direction."""
    from dolfinx import mesh

    ghosts, p, cells = mesh.GhostMode.shared_facet, len(edges), [len(x) - 1 for x in edges]
    low, high = np.zeros(p), np.array(cells, dtype=float)
    if p == 1:
        domain = mesh.create_interval(comm, cells[0], [low[0], high[0]], ghost_mode=ghosts)
    elif p == 2:
        domain = mesh.create_rectangle(comm, [low, high], cells, mesh.CellType.quadrilateral, ghost_mode=ghosts)
    else:
        domain = mesh.create_box(comm, [low, high], cells, mesh.CellType.hexahedron, ghost_mode=ghosts)
    x = domain.geometry.x
    for q, places in enumerate(edges):  # the vertices were made at whole numbers
        x[:, q] = np.asarray(places)[np.rint(x[:, q]).astype(int)]
    return domain


def mesh_refusal(problem: Problem) -> str | None:
    """Why no mesh of R^p carries the density of a problem; None if one does, or if v starts in a point."""
    if problem.p <= LARGEST_MESHED_P or problem.w.is_point:
        return None
    return (
        f"input.dimension: {problem.d:g} with p = {problem.p}, and finite elements in v exist for p = 1 to {LARGEST_MESHED_P}; "
        'allowed with this target: discretization.nodes = "net", dimension = inf, or initial.w = "zero"'
    )
