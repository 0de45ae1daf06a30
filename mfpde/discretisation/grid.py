"""The process grid: slices are divided over groups of ranks first, then the mesh over the ranks of a group."""

from dataclasses import dataclass
from functools import cache
from math import inf

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.evolution.flow import Field
from mfpde.quadrature.labels import Labels

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ProcessGrid:
    """This rank's place in the grid of `groups` x `mesh_ranks`.

    Attributes:
        comm: All ranks.
        mesh_comm: The ranks that share this rank's slices and divide their mesh.
        group: Number of this group.
        groups: How many there are.
        slices: The labels held here, as a range.
    """

    comm: MPI.Intracomm
    mesh_comm: MPI.Intracomm
    group: int
    groups: int
    slices: range


def process_grid(comm: MPI.Intracomm, slices: int, cells: int, mesh_ranks: int = 0) -> ProcessGrid:
    """Collective. Divides `comm` over `slices` labels and, with what is left, over the `cells` of their mesh.

    Slices need no halo exchange, so the mesh is divided only if there are more ranks than slices, or if
    `mesh_ranks` > 0 says how many ranks share one mesh.

    Raises:
        InputError: If `mesh_ranks` does not divide the number of ranks or exceeds the cells.
    """
    size = comm.size
    fitting = checked_mesh_ranks(size, mesh_ranks, cells)
    mesh_ranks = mesh_ranks or next((m for m in fitting if size // m <= slices), fitting[-1])
    groups = size // mesh_ranks
    group = comm.rank // mesh_ranks
    bounds = [slices * g // groups for g in (group, group + 1)]
    return ProcessGrid(comm, _neighbours(comm, mesh_ranks), group, groups, range(*bounds))


def _neighbours(comm: MPI.Intracomm, mesh_ranks: int) -> MPI.Intracomm:
    """Collective. The `mesh_ranks` ranks of this one's group, which are split off once: MPI has some 2000 communicators."""
    if mesh_ranks == comm.size:
        return comm
    if mesh_ranks == 1:
        return MPI.COMM_SELF
    kept = comm.Get_attr(_groups_of())
    known: dict[int, MPI.Intracomm] = kept if isinstance(kept, dict) else {}
    if mesh_ranks not in known:
        known[mesh_ranks] = MPI.Intracomm(comm.Split(comm.rank // mesh_ranks, comm.rank))
        comm.Set_attr(_groups_of(), known)
    return known[mesh_ranks]


@cache
def _groups_of() -> int:
    """The key under which a communicator keeps its groups, by the number of their ranks."""
    return MPI.Comm.Create_keyval()


def checked_mesh_ranks(size: int, mesh_ranks: int, cells: float = inf) -> list[int]:
    """The numbers of ranks that may share a mesh of `cells`, out of `size` ranks in all.

    Raises:
        InputError: If `mesh_ranks` is none of them, nor 0.
    """
    fitting = [m for m in range(1, size + 1) if size % m == 0 and m <= cells]
    if mesh_ranks not in (0, *fitting):
        allowed = ", ".join(map(str, fitting))
        raise InputError(
            f"parallel.mesh_ranks: {mesh_ranks} ranks cannot share the mesh; allowed with {size} ranks: 0, {allowed}"
        )
    return fitting


def slice_datasets(
    labels: Labels, grid: ProcessGrid, count: int, cells: NDArray[np.int64], y: Array, weight: Array
) -> dict[str, Array | Field]:
    """What a file says of labels and reference cells, by path.

    Args:
        labels: All of them.
        grid: This rank's place.
        count: Number of all cells.
        cells: Numbers of this rank's cells among them.
        y, weight: Their nodes (p, cells, nodes) and weights (cells, nodes).
    """
    p, _, nodes = y.shape
    # One group of ranks knows all cells, so it alone writes them.
    first = grid.group == 0
    index = cells[:, None] * nodes + np.arange(nodes) if first else np.empty(0, dtype=np.int64)
    y, weight = (np.moveaxis(y, 0, -1), weight) if first else (np.empty(0), np.empty(0))
    return {
        "/slices/label_a": labels.nodes[:, 0],
        "/slices/label_r": labels.nodes[:, 1],
        **({} if labels.b is None else {"/slices/label_b": labels.nodes[:, 2]}),
        "/slices/label_weight": labels.weight,
        "/slices/y": Field((count, nodes, p), index[..., None] * p + np.arange(p), y),
        "/slices/y_weight": Field((count, nodes), index, weight),
    }
