"""A run for ParaView: the density on a regular grid as a series in time, and as an option the elements that move.

    NAME_density.pvd    the density of (v1, a), (v1, v2) or (v1, v2, v3) for p = 1, 2 or more, at all snapshots, on one grid
    NAME_mesh.pvd       the elements where they are, one cell a node: its mass over its volume is `density`; a, r and the
                        label are others of its fields; cells that overlap are folds

Times are those of the training.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.density.bins import Density, as_bins, coordinates, make_edges
from mfpde.density.choice import follow_trial
from mfpde.density.maps import matrix
from mfpde.density.marginal import recorded_density
from mfpde.density.run import read_density
from mfpde.density.vtk import write_cells, write_collection, write_image
from mfpde.discretisation.recorded import PointMasses, PushForward, Snapshot
from mfpde.errors import InputError
from mfpde.output.history import BULK, open_result
from mfpde.parallel import on_first
from mfpde.quadrature.rules import Rule, outer

Array = NDArray[np.float64]

# Cells of the image in each direction, and the L1 error that is good enough for it, by p; the last is for all larger ones.
BINS, ACCURACY = {1: 300, 2: 300, 3: 64}, {1: 0.03, 2: 0.03, 3: 0.15}
AXES: dict[int, tuple[str, ...]] = {1: ("v1", "a"), 2: ("v1", "v2"), 3: ("v1", "v2", "v3")}


def write_series(comm: MPI.Intracomm, result: Path, mesh: bool = False, bins: Sequence[int] | None = None) -> dict[str, Path]:
    """Collective. Writes the snapshots of a result file beside it, and returns the .pvd files by what they show.

    Args:
        comm: Ranks that divide the work.
        result: Written by `mfpde.solve`.
        mesh: Whether to write the elements as well.
        bins: Of the image, one number or one for each direction; None for those of `BINS`.

    Raises:
        InputError: On all ranks, if the file has no snapshot of a density, or the files cannot be written.
    """
    run = on_first(comm, lambda: _read(result))
    known, times = min(run.p, 3), run.times
    axes = AXES[known]
    given = list(as_bins([BINS[known]] if bins is None else bins, len(axes)))
    cells: Sequence[int | Array] = _box(run, times, axes, given) if isinstance(run, PushForward) else given
    members = []
    for number, time in enumerate(times):
        path = result.with_name(f"{result.stem}_density_{number:04d}.vti")
        found = recorded_density(run, axes, time, cells, ACCURACY[known], comm, 3)
        on_first(comm, partial(_image, found, path))
        members.append((time, path))
    files = {"density": result.with_name(f"{result.stem}_density.pvd")}
    on_first(comm, lambda: write_collection(files["density"], members))
    if mesh:
        if not isinstance(run, PushForward):
            raise InputError("the mesh that moves is that of the elements that follow the flow; allowed: without it")
        files["mesh"] = result.with_name(f"{result.stem}_mesh.pvd")
        on_first(comm, lambda: _meshes(run, result, files["mesh"]))
    return files


def _read(result: Path) -> PushForward | PointMasses:
    with open_result(result, BULK) as file:
        if not len(file.get("slices/snapshots", {})):
            raise InputError(f"{str(result)!r} holds no snapshot of a density; allowed: a run with output.snapshots > 0")
        return read_density(file)


def _box(run: PushForward, times: Sequence[float], axes: Sequence[str], bins: Sequence[int | Array]) -> list[Array]:
    """Edges of one grid that holds the density at all times."""
    index = list(coordinates(axes, run.problem.p, 3, run.problem.b is not None))
    points = np.concatenate([follow_trial(run, time).values[index] for time in times], axis=1)
    return list(make_edges(bins, points))


def _image(found: Density, path: Path) -> None:
    write_image(path, found.edges, {"density": found.values}, found.time)


def _meshes(run: PushForward, result: Path, collection: Path) -> None:
    members = []
    for number, snapshot in enumerate(run.snapshots):
        path = result.with_name(f"{result.stem}_mesh_{number:04d}.vtu")
        _mesh(run, snapshot, path)
        members.append((snapshot.time, path))
    write_collection(collection, members)


def _mesh(run: PushForward, snapshot: Snapshot, path: Path) -> None:
    """One cell a node, with the corners where its share of the reference mass ends."""
    p, count = run.problem.p, len(run.rules) - run.problem.p
    y = run.rules[count:]
    if run.problem.w.is_point:
        raise InputError("a point start has no mesh: its neurons lie on a curve; allowed: without it")
    corners = snapshot.values[1 : p + 1]
    for q, rule in enumerate(y):
        axis = 1 + count + q
        corners = np.moveaxis(np.moveaxis(corners, axis, -1) @ matrix(rule, ends(rule)).T, -1, axis)
    labels, shape = int(np.prod(corners.shape[1 : 1 + count])), corners.shape[1 + count :]
    points = np.zeros((labels * int(np.prod(shape)), 3))
    points[:, :p] = corners.reshape(p, -1).T
    inside = tuple(n - 1 for n in shape)
    first = np.arange(len(points)).reshape(labels, *shape)
    # VTK goes round a face: 00, 10, 11, 01.
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    cubes: dict[int, list[tuple[int, ...]]] = {1: [(0,), (1,)], 2: [*square], 3: [(x, y, z) for z in (0, 1) for x, y in square]}
    part = [first[(slice(None), *(slice(s, s + n) for s, n in zip(step, inside, strict=True)))].ravel() for step in cubes[p]]
    cells = np.stack(part, axis=1).astype(np.int64)
    volume = np.abs(_volumes(corners.reshape(p, labels, *shape)))
    data = {
        "density": outer(rule.weights for rule in run.rules).ravel() / np.maximum(volume.ravel(), 1e-300),
        "a": snapshot.values[0].ravel(),
        "r": snapshot.values[p + 1].ravel(),
        **({} if run.problem.b is None else {"b": snapshot.values[p + 2].ravel()}),
        "label": np.repeat(np.arange(labels, dtype=np.float64), int(np.prod(inside))),
    }
    write_cells(path, points, cells, data, snapshot.time)


def ends(rule: Rule) -> Array:
    """Ends of the nodes' shares of the normal law, shape (len(rule) + 1,); the outermost as far out as the inner ones are."""
    from scipy.special import ndtri

    inner = ndtri(np.clip(np.cumsum(rule.weights)[:-1], 1e-300, 1 - 1e-16))
    if not len(inner):
        return np.array([-1.0, 1.0])
    return np.array([2 * rule.nodes[0] - inner[0], *inner, 2 * rule.nodes[-1] - inner[-1]])


def _volumes(corners: Array) -> Array:
    """Volumes of cells between corners (p, labels, ...): the Jacobian in their centres, exact for p = 1 and 2."""
    p = len(corners)
    columns = []
    for q in range(p):
        change = np.diff(corners, axis=2 + q)
        for other in (k for k in range(p) if k != q):
            first = np.take(change, range(change.shape[2 + other] - 1), axis=2 + other)
            second = np.take(change, range(1, change.shape[2 + other]), axis=2 + other)
            change = (first + second) / 2
        columns.append(change)
    F = np.moveaxis(np.array(columns), (0, 1), (-1, -2))
    return np.asarray(np.linalg.det(F))
