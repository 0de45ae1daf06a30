"""The process grid: slices are divided over groups of ranks first, then the mesh over the ranks of a group."""

from dataclasses import dataclass
from typing import cast

from mpi4py import MPI

from mfpde.errors import InputError


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
    divisors = [m for m in range(1, size + 1) if size % m == 0]
    if mesh_ranks == 0:
        fitting = [m for m in divisors if m <= cells]
        mesh_ranks = next((m for m in fitting if size // m <= slices), fitting[-1])
    elif mesh_ranks not in divisors or mesh_ranks > cells:
        allowed = ", ".join(str(m) for m in divisors if m <= cells)
        raise InputError(
            f"parallel.mesh_ranks: {mesh_ranks} ranks cannot share the mesh; allowed with {size} ranks: 0, {allowed}"
        )
    groups = size // mesh_ranks
    group = comm.rank // mesh_ranks
    bounds = [slices * g // groups for g in (group, group + 1)]
    mesh_comm = cast(MPI.Intracomm, comm.Split(group, comm.rank))
    return ProcessGrid(comm, mesh_comm, group, groups, range(*bounds))
