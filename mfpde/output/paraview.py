"""Snapshots for ParaView: all slices together in physical coordinates v = M + L y, as VTKHDF written by DOLFINx.

Each DG node owns the part of its cell whose edges are the cumulative Gauss weights, so a cell's value times its volume
is the node's mass: integrating `density` in ParaView gives exactly the mass of the finite-element density.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.affine import AffineFlow
from mfpde.evolution.flow import StageFlow

Array = NDArray[np.float64]


def write_snapshot(path: Path, flow: StageFlow, vector: Array, time: float) -> None:
    """Collective. Writes the density of v of all slices (labels' weights included) to `path`.

    A point start has no density: nothing is written.

    Args:
        path: The file, with suffix .vtkhdf.
        flow: The flow that the state belongs to.
        vector: The state.
        time: Of the state.
    """
    if not isinstance(flow, AffineFlow):
        return
    state = flow.layout.views(vector)
    q = state.q.copy()
    flow.slices.transport.limit(q, flow.grid.mesh_comm)
    import basix.ufl
    from dolfinx import mesh
    from dolfinx.io import vtkhdf

    p = flow.problem.p
    corners = _parts(flow)
    L = flow.frames(state)
    v = np.einsum("sij,cnkj->scnki", L, corners) + state.M[:, None, None, None]
    points = np.ascontiguousarray(v.reshape(-1, p))
    comm = flow.grid.comm
    before = comm.scan(len(points)) - len(points)
    cells = before + np.arange(len(points), dtype=np.int64).reshape(-1, 2**p)
    element = basix.ufl.element("Lagrange", flow.mesh.mesh.basix_cell().name, 1, shape=(p,))
    label = flow.slices.label_weight
    density = label[:, None, None] * q / np.abs(np.linalg.det(L))[:, None, None]
    # No cell has a neighbour, so each may stay where it is.
    domain = mesh.create_mesh(comm, cells, element, points, partitioner=_stay)
    order = domain.topology.original_cell_index - (before >> p)
    vtkhdf.write_mesh(path, domain)
    vtkhdf.write_cell_data(path, domain, density.ravel()[order], time)


def _stay(comm, n, cell_types, cells):  # type: ignore[no-untyped-def]
    """Every cell's destination is the rank that made it."""
    from dolfinx.graph import adjacencylist

    count = sum(len(c) // 2**d for c, d in zip(cells, [_dimension(t) for t in cell_types], strict=True))
    return adjacencylist(np.full((count, 1), comm.rank, dtype=np.int32))._cpp_object


def _dimension(cell_type) -> int:  # type: ignore[no-untyped-def]
    from dolfinx.mesh import CellType

    return {CellType.interval: 1, CellType.quadrilateral: 2, CellType.hexahedron: 3}[cell_type]


def _parts(flow: AffineFlow) -> Array:
    """Corners in y of each node's part of its cell, in DOLFINx's order, shape (cells, nodes, 2^p, p)."""
    import basix

    mesh = flow.mesh
    p, n = mesh.p, mesh.degree + 1
    edges = np.concatenate(([0.0], np.cumsum(mesh.basis.weights)))
    node = np.indices([n] * p).reshape(p, -1).T
    corner = basix.geometry(mesh.mesh.basix_cell())  # (2^p, p) of 0 and 1
    reference = edges[node[:, None, :] + corner.astype(int)]
    element = basix.create_element(basix.ElementFamily.P, mesh.mesh.basix_cell(), 1)
    shape = element.tabulate(0, reference.reshape(-1, p))[0, ..., 0]
    x = mesh.mesh.geometry.x[mesh.mesh.geometry.dofmaps[0][: mesh.owned]][:, :, :p]
    return np.asarray(np.einsum("nv,cvq->cnq", shape, x).reshape(mesh.owned, len(node), len(corner), p))
