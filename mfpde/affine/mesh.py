"""The reference mesh in y and the discontinuous space of Gauss points on it.

The mesh covers the box |y_i| <= H (or is read from a file) with intervals, quadrilaterals or hexahedra; DOLFINx owns
it, its partition and its ghost cells.  On each cell the basis is the Lagrange basis of the tensor-product Gauss points,
which are also the quadrature points.  Node (i_1, .., i_p) has the number (i_1 n + i_2) n + i_3, n = degree + 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.affine.mesh_file import MeshFile, advise, read_mesh_file
from mfpde.discretisation.mesh import Mesh, tensor_mesh
from mfpde.errors import InputError
from mfpde.parallel import on_first

CELLS = ("point", "interval", "quadrilateral", "hexahedron")


@dataclass(frozen=True)
class GaussBasis:
    """Lagrange basis of the n = degree + 1 Gauss points of [0, 1].

    Attributes:
        points: The Gauss points, shape (n,).
        weights: Their weights, sum 1.
        differentiate: Derivative of basis function j at point i, [i, j].
        trace: Values of the basis functions at 0 and at 1, shape (2, n).
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    differentiate: NDArray[np.float64]
    trace: NDArray[np.float64]


def gauss_basis(degree: int) -> GaussBasis:
    """The basis of `degree` + 1 Gauss points, by barycentric interpolation."""
    x, w = np.polynomial.legendre.leggauss(degree + 1)
    x, w = (x + 1) / 2, w / 2
    gaps = x[:, None] - x + np.eye(len(x))
    barycentric = 1 / gaps.prod(axis=1)
    derivative = barycentric[None, :] / barycentric[:, None] / gaps
    np.fill_diagonal(derivative, 0.0)
    np.fill_diagonal(derivative, -derivative.sum(axis=1))
    at_ends = barycentric / (np.array([[0.0], [1.0]]) - x)
    return GaussBasis(x, w, derivative, at_ends / at_ends.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class ReferenceMesh:
    """Arrays of this rank's part of the mesh; owned cells come first, ghosts after them.

    Attributes:
        mesh: The DOLFINx mesh.
        degree: Degree of the discontinuous space.
        basis: The one-dimensional basis.
        owned: Number of owned cells.
        y: Node coordinates, shape (p, cells, nodes).
        weight: Quadrature weights times det J, shape (cells, nodes).
        inverse: Inverse Jacobian d xi_d / d y_q, shape (p, p, cells, nodes).
        taper: Factor in [0, 1] on each component of the velocity, 0 at the walls, shape (p, cells, nodes).
        sides: Face numbers 2 p cell + face of the two sides of each facet, shape (facets, 2).
        match: The second side's node at each node of the first, shape (facets, nodes per face).
        normal: n dS w out of the first side, shape (facets, nodes per face, p).
        wall: Face numbers on the boundary of the domain.
        outer: Owned cells that touch the boundary.
        half_width: max |y_i| over the mesh.
    """

    mesh: Mesh
    degree: int
    basis: GaussBasis
    owned: int
    y: NDArray[np.float64]
    weight: NDArray[np.float64]
    inverse: NDArray[np.float64]
    taper: NDArray[np.float64]
    sides: NDArray[np.int64]
    match: NDArray[np.int32]
    normal: NDArray[np.float64]
    wall: NDArray[np.int64]
    outer: NDArray[np.int64]
    half_width: float

    @property
    def p(self) -> int:
        return len(self.y)

    @property
    def cells(self) -> int:
        return int(self.y.shape[1])

    @property
    def nodes(self) -> int:
        return int(self.y.shape[2])


def box_mesh(comm: MPI.Intracomm, p: int, cells: int, half_width: float, grading: float) -> Mesh:
    """Collective. The DOLFINx mesh of [-H, H]^p with `cells` cells in each direction.

    The vertices lie at y = H sinh(g x) / sinh(g), x equally spaced on [-1, 1] and g the `grading`: fine where the mass
    is, coarse in the tails, which become heavy where the flow saturates.  g = 0 is uniform.
    """
    x = np.linspace(-1.0, 1.0, cells + 1)
    edges = (half_width * (np.sinh(grading * x) / np.sinh(grading) if grading > 0 else x)).tolist()
    return tensor_mesh(comm, [edges] * p)


def read_mesh(comm: MPI.Intracomm, path: Path, p: int) -> Mesh:
    """Collective. A mesh of intervals, quadrilaterals or hexahedra in R^p from an XDMF file; cells keep their numbers.

    Raises:
        InputError: On all ranks, if the file cannot be read, or its mesh cannot be used, see `mesh_file`.
    """
    import basix.ufl
    from dolfinx import mesh

    def read() -> MeshFile:
        found = read_mesh_file(path, p)
        if MPI.COMM_WORLD.rank == 0:
            advise(found)
        return found

    found = on_first(comm, read, share=False)
    element = basix.ufl.element("Lagrange", CELLS[p], 1, shape=(p,))
    nothing = np.empty((0, 2**p), dtype=np.int64), np.empty((0, p))
    cells, x = (found.cells, found.x) if found is not None else nothing
    partitioner = mesh.create_cell_partitioner(mesh.GhostMode.shared_facet, 2)
    return mesh.create_mesh(comm, cells, element, x, partitioner=partitioner)


Taper = Callable[[NDArray[np.float64], float], NDArray[np.float64]]


def reference_mesh(domain: Mesh, degree: int, taper: Taper = lambda y, half_width: np.ones_like(y)) -> ReferenceMesh:
    """Collective over the mesh. The arrays that the transport needs, from a DOLFINx mesh.

    Args:
        domain: The mesh.
        degree: Degree of the discontinuous space.
        taper: The factor on each component of the velocity, from node coordinates and max |y_i|.
    """
    import basix

    p = domain.topology.dim
    basis = gauss_basis(degree)
    cell_type = domain.basix_cell()
    element = basix.create_element(basix.ElementFamily.P, cell_type, 1)
    points, weights = _tensor(basis.points, p), _tensor(basis.weights, p).prod(axis=1)
    corners = domain.geometry.x[domain.geometry.dofmaps[0]][:, :, :p]
    shape = element.tabulate(1, points)[..., 0]
    y = np.ascontiguousarray(np.einsum("nv,cvq->qcn", shape[0], corners))
    jacobian = np.einsum("dnv,cvq->cnqd", shape[1:], corners)

    domain.topology.create_connectivity(p, p - 1)
    domain.topology.create_connectivity(p - 1, p)
    sides, wall = _facets(domain, _face_order(cell_type))
    face_points = [_face_points(basis.points, p, face) for face in range(2 * p)]
    place = np.stack([np.einsum("nv,cvq->cnq", element.tabulate(0, x)[0, ..., 0], corners) for x in face_points], axis=1)
    place = place.reshape(-1, *place.shape[2:])
    first, second = place[sides[:, 0]], place[sides[:, 1]]
    gaps = np.abs(first[:, :, None] - second[:, None]).max(axis=-1)
    match = gaps.argmin(axis=2)
    scale = np.abs(corners).max(initial=1.0)
    apart = bool(gaps.min(axis=2, initial=np.inf).max(initial=0.0) > 1e-10 * scale)
    if domain.comm.allreduce(apart, op=MPI.LOR):
        raise InputError("discretization.mesh: the mesh has facets that do not match; allowed: a conforming mesh")

    owned = domain.topology.index_map(p).size_local
    half_width = domain.comm.allreduce(float(np.abs(corners[:owned]).max(initial=0.0)), op=MPI.MAX)
    on_wall = wall // (2 * p)
    return ReferenceMesh(
        mesh=domain,
        degree=degree,
        basis=basis,
        owned=owned,
        y=y,
        weight=np.ascontiguousarray(weights * np.abs(np.linalg.det(jacobian))),
        inverse=np.ascontiguousarray(np.moveaxis(np.linalg.inv(jacobian), (2, 3), (0, 1))),
        taper=np.ascontiguousarray(taper(y, half_width)),
        sides=sides,
        match=match.astype(np.int32),
        normal=_normals(basis, element, corners, sides[:, 0], face_points, p),
        wall=wall,
        outer=np.unique(on_wall[on_wall < owned]),
        half_width=half_width,
    )


def _tensor(x: NDArray[np.float64], p: int) -> NDArray[np.float64]:
    """The p-fold tensor product of points, first direction slowest, shape (n^p, p)."""
    return np.stack(np.meshgrid(*[x] * p, indexing="ij"), axis=-1).reshape(-1, p)


def _face_points(x: NDArray[np.float64], p: int, face: int) -> NDArray[np.float64]:
    """Reference coordinates of the nodes of face 2 d + side, shape (n^(p-1), p)."""
    direction, side = divmod(face, 2)
    rest = _tensor(x, p - 1) if p > 1 else np.zeros((1, 0))
    return np.insert(rest, direction, float(side), axis=1)


def _face_order(cell_type: Any) -> NDArray[np.int64]:
    """Our number 2 d + side of each of DOLFINx's local facets."""
    import basix

    vertices = basix.geometry(cell_type)
    facets = basix.topology(cell_type)[-2]
    order = []
    for facet in facets:
        x = vertices[facet]
        direction = next(d for d in range(x.shape[1]) if np.ptp(x[:, d]) == 0)
        order.append(2 * direction + round(x[0, direction]))
    return np.array(order, dtype=np.int64)


def _facets(domain: Mesh, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Face numbers of both sides of the interior facets that touch an owned cell, and of the walls."""
    p = domain.topology.dim
    cell_facets = domain.topology.connectivity(p, p - 1).array.reshape(-1, 2 * p)
    number = 2 * p * np.arange(len(cell_facets))[:, None] + order
    by_facet = np.argsort(cell_facets, axis=None, kind="stable")
    facet = cell_facets.ravel()[by_facet]
    face = number.ravel()[by_facet]
    paired = np.flatnonzero(facet[1:] == facet[:-1])
    sides = np.stack((face[paired], face[paired + 1]), axis=1)
    owned = domain.topology.index_map(p).size_local
    alone = np.ones(len(face), dtype=bool)
    alone[paired] = alone[paired + 1] = False
    # A ghost's facets towards cells of other ranks look like walls; nothing is lifted from there, so they may be.
    touches = (sides < 2 * p * owned).any(axis=1)
    return sides[touches].astype(np.int64), np.concatenate((face[alone], sides[~touches].ravel())).astype(np.int64)


def _normals(
    basis: GaussBasis,
    element: Any,
    corners: NDArray[np.float64],
    face: NDArray[np.int64],
    face_points: list[NDArray[np.float64]],
    p: int,
) -> NDArray[np.float64]:
    """n dS w at the nodes of the given faces: the cofactor of the Jacobian times the reference normal."""
    weights = _tensor(basis.weights, p - 1).prod(axis=1) if p > 1 else np.ones(1)
    normal = np.empty((len(face), len(weights), p))
    for number, x in enumerate(face_points):
        here = np.flatnonzero(face % (2 * p) == number)
        direction, side = divmod(number, 2)
        jacobian = np.einsum("dnv,cvq->cnqd", element.tabulate(1, x)[1:, ..., 0], corners[face[here] // (2 * p)])
        cofactor = np.abs(np.linalg.det(jacobian))[..., None] * np.linalg.inv(jacobian)[:, :, direction, :]
        normal[here] = (2 * side - 1) * weights[:, None] * cofactor
    return normal
