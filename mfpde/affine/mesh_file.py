"""A mesh from an XDMF file, as plain arrays, with everything checked that the solver relies on.

The reader of DOLFINx trusts a file: an index out of range aborts MPI, and cells that overlap corrupt memory.  So the file
is read and checked here, once, on one rank.  What is required of the cells, where `x_c` maps the unit cube to cell c:

- as many directions as p, straight, with det dx_c of one sign: neither degenerate nor folded;
- conforming: neighbours share a whole facet, by its vertices, and lie on its two sides; nothing overlaps;
- connected, and large enough: they hold the initial law, int exp(-|y|^2 / 2) dy / (2 pi)^(p/2) = 1.
"""

from dataclasses import dataclass
from math import pi
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.progress import warn

Array = NDArray[np.float64]
Cells = NDArray[np.int64]

NAMES = ("", "intervals", "quadrilaterals", "hexahedra")
KINDS = {"polyline": 1, "quadrilateral": 2, "hexahedron": 3}
# Vertices of a cell in the tensor order of DOLFINx, from the order of XDMF; facets 2 d + side by vertices in that order.
ORDER = ([0], [0, 1], [0, 1, 3, 2], [0, 1, 3, 2, 4, 5, 7, 6])
CONVERT = (
    "Gmsh makes such meshes (Mesh.RecombineAll = 1, Mesh.SubdivisionAlgorithm = 1 for quadrilaterals, 2 for hexahedra), "
    "and meshio converts them to XDMF"
)
# Mass of the initial law that a mesh may leave out: more is advised against, or refused.
ADVISED, REFUSED = 1e-6, 1e-3


@dataclass(frozen=True)
class MeshFile:
    """Vertices (n, p), and cells by their vertices in DOLFINx's order, (cells, 2^p); advice, or ""."""

    x: Array
    cells: Cells
    advice: str


def read_mesh_file(path: Path, p: int) -> MeshFile:
    """The mesh of an XDMF file, checked.

    Raises:
        InputError: For the first thing that is wrong with it.
    """
    if "\0" in str(path) or not path.is_file():
        raise InputError(f"discretization.mesh: no file {str(path)!r}; allowed: an XDMF mesh file")
    try:
        x, cells = _read(path, p)
        outside = _check(x, cells, p)
    except _MeshError as error:
        raise InputError(f"discretization.mesh: {str(path)!r} {error}") from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError, ElementTree.ParseError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"discretization.mesh: cannot read {str(path)!r} ({reason}); allowed: an XDMF mesh file") from None
    advice = (
        f"the mesh {str(path)!r} leaves out {outside:.1e} of the initial law: let it cover |y_i| <= 6"
        if outside > ADVISED
        else ""
    )
    return MeshFile(x, cells, advice)


class _MeshError(Exception):
    """What is wrong with a mesh: a sentence about it."""


def _read(path: Path, p: int) -> tuple[Array, Cells]:
    root = ElementTree.parse(path).getroot()
    grid = next((g for g in root.iter("Grid") if g.find("Topology") is not None and g.find("Geometry") is not None), None)
    if grid is None:
        raise _MeshError("has no Grid with a Topology and a Geometry; allowed: an XDMF mesh file")
    topology, geometry = grid.find("Topology"), grid.find("Geometry")
    assert topology is not None and geometry is not None
    kind = topology.get("TopologyType", topology.get("Type", ""))
    columns = {"X": 1, "XY": 2, "XYZ": 3}.get(geometry.get("GeometryType", geometry.get("Type", "XYZ")))
    corners = int(topology.get("NodesPerElement", 2**p))
    if KINDS.get(kind.lower()) != p or corners != 2**p:
        raise _MeshError(f"has cells {kind!r} of {corners} nodes; allowed for p = {p}: straight {NAMES[p]}. {CONVERT}")
    if columns is None or columns < p:
        raise _MeshError(
            f"has the geometry {geometry.get('GeometryType')!r}; allowed for p = {p}: XY or XYZ, at least {p} of them"
        )
    x = _numbers(path, geometry).astype(np.float64).reshape(-1, columns)
    numbers = _numbers(path, topology)
    if len(x) == 0 or numbers.size == 0:
        raise _MeshError("has no cells; allowed: at least one")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise _MeshError(f"has coordinates that are not finite, vertex {bad[0]}: {x[bad[0]]}")
    if (x[:, p:] != x[0, p:]).any():
        raise _MeshError(f"is not flat: the coordinates beyond the first {p} vary; allowed: a mesh in {p} directions")
    cells = numbers.astype(np.int64).reshape(-1, corners)
    if (cells != numbers.reshape(cells.shape)).any():
        raise _MeshError("has vertex numbers that are no integers")
    wrong = np.flatnonzero(((cells < 0) | (cells >= len(x))).any(axis=1))
    if len(wrong):
        raise _MeshError(
            f"is damaged: cell {wrong[0]} has the vertices {cells[wrong[0]].tolist()}; allowed: 0 to {len(x) - 1}, as there are "
            f"{len(x)} vertices"
        )
    used, cells = np.unique(cells[:, ORDER[p]], return_inverse=True)
    return np.ascontiguousarray(x[used, :p]), cells.reshape(-1, corners).astype(np.int64)


def _numbers(path: Path, parent: ElementTree.Element) -> NDArray[np.generic]:
    item = parent.find("DataItem")
    text = "" if item is None else (item.text or "").strip()
    form = "" if item is None else item.get("Format", "XML")
    if form == "XML":
        return np.array(text.split(), dtype=np.float64)
    if form != "HDF":
        raise _MeshError(f"has data of the format {form!r}; allowed: XML or HDF")
    name, _, dataset = text.rpartition(":")
    heavy = path.parent / name
    if not heavy.is_file():
        raise _MeshError(f"refers to the file {str(heavy)!r}, which does not exist")
    with h5py.File(heavy) as file:
        return np.asarray(file[dataset][()]).ravel()


def _check(x: Array, cells: Cells, p: int) -> float:
    """Raises for the first thing that is wrong; the mass of the initial law that lies outside."""
    from scipy.spatial import cKDTree

    corners = x[cells]
    size = np.linalg.norm(np.ptp(corners, axis=1), axis=1)
    _check_shapes(corners, size)
    near = cKDTree(x).query_pairs(1e-9 * float(size.min()), output_type="ndarray")
    if len(near):
        raise _MeshError(
            f"does not conform: it has {len(near)} pairs of vertices at the same place, such as {x[near[0, 0]]}; allowed: cells "
            "that share their vertices (Gmsh: Coherence Mesh)"
        )
    outward, boundary, pairs = _check_neighbours(corners, cells, p)
    _check_overlap(corners, size, np.concatenate((corners.mean(axis=1), boundary + 1e-6 * outward)), p)
    _check_connected(pairs, len(cells))
    outside = 1.0 - _mass(corners, size, p)
    if outside > REFUSED:
        raise _MeshError(
            f"holds only {100 * (1 - outside):.4g}% of the initial law, a standard Gaussian about y = 0; allowed: a mesh that "
            "covers about |y_i| <= 6, without holes"
        )
    return outside


def _check_shapes(corners: Array, size: Array) -> None:
    p = corners.shape[2]
    points = _grid(np.linspace(0, 1, 2 if p < 3 else 3), p)
    determinants = [np.linalg.det(_jacobian(block, points)) for block in np.array_split(corners, 1 + len(corners) // 10_000)]
    low, high = (np.concatenate([end(block, axis=1) for block in determinants]) for end in (np.min, np.max))
    flat = np.flatnonzero(np.minimum(np.abs(low), np.abs(high)) <= 1e-12 * size**p)
    folded = np.flatnonzero(low * high < 0)
    for bad, what in ((folded, "folded or inverted in itself"), (flat, "degenerate: at a corner it has no volume")):
        if len(bad):
            raise _MeshError(f"has {len(bad)} bad cells; cell {bad[0]}, about y = {corners[bad[0]].mean(axis=0)}, is {what}")


def _check_neighbours(corners: Array, cells: Cells, p: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """Vectors out of the boundary facets, as long as their cell is deep, and these facets' centres, both (facets, p);
    the pairs of neighbours."""
    facets = _facets(p)
    keys = np.sort(cells[:, facets].reshape(-1, facets.shape[1]), axis=1)
    owner = np.repeat(np.arange(len(cells)), len(facets))
    _, number, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    number = number.ravel()
    if count.max() > 2:
        first = int(np.flatnonzero(count[number] > 2)[0])
        raise _MeshError(f"has overlapping cells: cell {owner[first]} shares a facet with more than one other")
    by_number = np.argsort(number, kind="stable")
    pairs = by_number[np.flatnonzero(number[by_number][1:] == number[by_number][:-1])[:, None] + [0, 1]]
    middle = corners[:, facets].mean(axis=2).reshape(-1, p)
    outward = (corners[:, facets] - corners[:, _opposite(facets, p)]).mean(axis=2).reshape(-1, p)
    normal = _normal(corners[:, facets].reshape(-1, facets.shape[1], p))
    sides = np.sign((normal * outward).sum(axis=1))[pairs]
    # The normals of two sides may point either way: compare with the same one.
    second = np.sign((normal[pairs[:, 0]] * outward[pairs[:, 1]]).sum(axis=1))
    bad = np.flatnonzero(sides[:, 0] * second >= 0)
    if len(bad):
        one, other = owner[pairs[bad[0]]]
        raise _MeshError(f"is folded, or its cells overlap: cells {one} and {other} lie on the same side of their common facet")
    alone = np.flatnonzero(count[number] == 1)
    return outward[alone], middle[alone], owner[pairs]


def _check_connected(pairs: NDArray[np.int64], cells: int) -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(cells, cells))
    parts = connected_components(graph, directed=False)[0]
    if parts > 1:
        raise _MeshError(f"is not connected by facets: it has {parts} parts; allowed: one, whose cells share their vertices")


def _check_overlap(corners: Array, size: Array, points: Array, p: int) -> None:
    """Raises if a point lies in a cell, other than the one whose centre it is: cells' centres come first."""
    from scipy.spatial import cKDTree

    tree, facets = cKDTree(points), _facets(p)
    faces = corners[:, facets]
    middle, normal = faces.mean(axis=2), _normal(faces.reshape(-1, facets.shape[1], p)).reshape(-1, len(facets), p)
    centre = corners.mean(axis=1)
    normal *= np.sign((normal * (middle - centre[:, None])).sum(axis=2))[..., None]
    for begin in range(0, len(corners), 4096):
        block = slice(begin, begin + 4096)
        found = tree.query_ball_point(centre[block], size[block])
        cell = begin + np.repeat(np.arange(len(found)), [len(near) for near in found])
        point = np.concatenate([np.asarray(near, dtype=np.int64) for near in found])
        cell, point = cell[point != cell], point[point != cell]
        depth = (normal[cell] * (points[point][:, None] - middle[cell])).sum(axis=2).max(axis=1)
        inside = np.flatnonzero(depth < -1e-8 * size[cell])
        if len(inside):
            where = points[point[inside[0]]]
            raise _MeshError(
                f"has cells that overlap or do not conform: near y = {where} cell {cell[inside[0]]} and another one meet, but do "
                "not share a whole facet"
            )


def _mass(corners: Array, size: Array, p: int) -> float:
    """The integral of the standard Gaussian over the cells."""
    centre = corners.mean(axis=1)
    # Gauss points in each direction: enough for 1e-8 of a Gaussian on a cell that wide.
    counts = np.clip(np.ceil(np.ptp(corners, axis=1).max(axis=1)) + 4, 5, 32).astype(int)
    total = 0.0
    near = np.linalg.norm(centre, axis=1) - size / 2 < 6.5
    for count in np.unique(counts[near]):
        nodes, weights = np.polynomial.legendre.leggauss(count)
        points, weight = _grid((nodes + 1) / 2, p), _grid(weights / 2, p).prod(axis=1)
        here = np.flatnonzero(near & (counts == count))
        for block in np.array_split(here, 1 + len(here) * len(points) // 1_000_000):
            y = np.einsum("qn,cnd->cqd", _shape(points), corners[block])
            volume = np.abs(np.linalg.det(_jacobian(corners[block], points)))
            total += float(np.einsum("cq,cq,q->", np.exp(-0.5 * (y**2).sum(axis=2)), volume, weight))
    return float(total / (2 * pi) ** (p / 2))


def _grid(x: Array, p: int) -> Array:
    return np.stack(np.meshgrid(*[x] * p, indexing="ij"), axis=-1).reshape(-1, p)


def _bits(p: int) -> NDArray[np.int64]:
    """Reference coordinates of the vertices in DOLFINx's order, the first direction fastest, shape (2^p, p)."""
    return (np.arange(2**p)[:, None] >> np.arange(p)) & 1


def _shape(points: Array) -> Array:
    """The multilinear basis at points of the unit cube, shape (points, 2^p)."""
    bits = _bits(points.shape[1])
    return np.asarray(np.where(bits, points[:, None], 1 - points[:, None]).prod(axis=2))


def _jacobian(corners: Array, points: Array) -> Array:
    """dx/dX at the points of each cell, shape (cells, points, p, p)."""
    p = points.shape[1]
    bits = _bits(p)
    factors = np.where(bits, points[:, None], 1 - points[:, None])
    slopes = [np.delete(factors, d, axis=2).prod(axis=2) * (2 * bits[:, d] - 1) for d in range(p)]
    return np.asarray(np.einsum("dqn,cnk->cqkd", np.array(slopes), corners))


def _facets(p: int) -> NDArray[np.int64]:
    """Vertices of facet 2 d + side, shape (2 p, 2^(p-1))."""
    bits = _bits(p)
    return np.array([np.flatnonzero(bits[:, d] == side) for d in range(p) for side in (0, 1)])


def _opposite(facets: NDArray[np.int64], p: int) -> NDArray[np.int64]:
    return facets[[2 * d + 1 - side for d in range(p) for side in (0, 1)]]


def _normal(facets: Array) -> Array:
    """A unit normal of facets in their middle, shape (facets, p), from their vertices (facets, 2^(p-1), p)."""
    p = facets.shape[2]
    if p == 1:
        return np.ones((len(facets), 1))
    if p == 2:
        edge = facets[:, 1] - facets[:, 0]
        normal = np.stack((edge[:, 1], -edge[:, 0]), axis=1)
    else:
        normal = np.cross(facets[:, 3] - facets[:, 0], facets[:, 2] - facets[:, 1])
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def advise(mesh: MeshFile) -> None:
    """Says the advice on a mesh, if there is any."""
    if mesh.advice:
        warn(mesh.advice)
