"""The compiled discontinuous Galerkin transport of a density and of the coordinates it carries."""

from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.affine.mesh import ReferenceMesh
from mfpde.compile import load_compiled
from mfpde.petsc import event

Array = NDArray[np.float64]
# q, A and R, or None where one is not carried.
type Fields = tuple[Array | None, ...]

DECLARATIONS = """
typedef struct {
    int64_t owned, cells, facets, walls;
    const double *y, *taper, *weight, *inverse, *differentiate, *trace;
    const int64_t *sides;
    const int32_t *match;
    const double *normal;
    const int64_t *wall;
} mesh_t;
typedef struct { double *traces; } scratch_t;
void positions(const mesh_t *, int64_t slices, const double *frames, double *v);
void frame_fit(const mesh_t *, int64_t slices, const double *q, const double *dv, double *fit);
void remainder_velocity(const mesh_t *, int64_t slices, const double *rates, double *dv);
double transport(const mesh_t *, const scratch_t *, int64_t slices, const double *beta, const double *q,
    const double *a, const double *r, double *dq, double *da, double *dr);
int64_t limit(const mesh_t *, int64_t slices, double *q, double *mass);
"""


# Of the set-up messages between neighbours.
GHOST_TAG = 1171


class Transport:
    """Upwind DG of q, A and R on one mesh, for all slices of this rank's group. Collective over `comm` to construct.

    Args:
        comm: The ranks that share the compiled kernel.
        mesh: This rank's part of the mesh.
        slices: Number of slices held here; sizes the ghost exchange.
    """

    def __init__(self, comm: MPI.Intracomm, mesh: ReferenceMesh, slices: int) -> None:
        p, nodes = mesh.p, mesh.degree + 1
        compiled = load_compiled(comm, Path(__file__).with_name("transport.c"), DECLARATIONS, {"P": p, "NODES1": nodes})
        self._ffi, self._lib = compiled.ffi, compiled.lib
        self.mesh = mesh
        self.slices = slices
        self._mesh = self._ffi.new("mesh_t *")
        self._mesh.owned, self._mesh.cells = mesh.owned, mesh.cells
        self._mesh.facets, self._mesh.walls = len(mesh.sides), len(mesh.wall)
        self._traces = np.empty(mesh.cells * 2 * p * (p + 3) * nodes ** (p - 1))
        self._arrays = [np.ascontiguousarray(x) for x in (mesh.basis.differentiate, mesh.basis.trace)]
        self._mesh.differentiate, self._mesh.trace = (self._double(x) for x in self._arrays)
        for name in ("y", "taper", "weight", "inverse", "normal"):
            setattr(self._mesh, name, self._double(getattr(mesh, name)))
        self._mesh.sides = self._ffi.from_buffer("int64_t[]", mesh.sides)
        self._mesh.wall = self._ffi.from_buffer("int64_t[]", mesh.wall)
        self._mesh.match = self._ffi.from_buffer("int32_t[]", mesh.match)
        self._scratch = self._ffi.new("scratch_t *")
        self._scratch.traces = self._double(self._traces)
        self._ghosts = GhostExchange(mesh, slices) if mesh.mesh.comm.size > 1 else None

    def positions(self, M: Array, L: Array) -> Array:
        """v = M + L y at the nodes of owned cells, shape (slices, p, owned nodes), for M (slices, p) and L (slices, p, p)."""
        slices, p = M.shape
        frames = np.concatenate((M, L.reshape(slices, p * p)), axis=1)
        v = np.empty((slices, p, self.mesh.owned * self.mesh.nodes))
        self._lib.positions(self._mesh, slices, self._double(frames), self._double(v))
        return v

    def fit(self, q: Array, dv: Array) -> Array:
        """This rank's part of the integrals over q dy of 1, y, v', y y^T, v' y^T, shape (slices, 1 + 2 p + 2 p^2).

        Args:
            q: Shape (slices, owned, nodes).
            dv: v', shape (slices, p, cells, nodes).
        """
        p = self.mesh.p
        fit = np.empty((len(q), 1 + 2 * p + 2 * p * p))
        self._lib.frame_fit(self._mesh, len(q), self._double(q), self._double(dv), self._double(fit))
        return fit

    def remainder(self, rates: Array, dv: Array) -> None:
        """Turns v' into beta = chi L^{-1} (v' - M' - L' y), in place, on owned cells.

        Args:
            rates: M', L' and L^{-1} of each slice, flattened, shape (slices, p + 2 p^2).
            dv: v', shape (slices, p, cells, nodes).
        """
        self._lib.remainder_velocity(self._mesh, len(rates), self._double(rates), self._double(dv))

    def apply(self, beta: Array, fields: Fields, rates: Fields) -> float:
        """Collective over the mesh. Sets q' to its transport and adds theirs to A' and R'.

        Args:
            beta: Velocity on owned cells, shape (slices, p, cells, nodes); its ghost cells are filled here.
            fields: q, A, R of owned cells, shape (slices, owned, nodes); A or R may be None: not carried.
            rates: Their time derivatives, alike.

        Returns:
            This rank's largest sum over directions of |d xi/dt|, in reference cells a unit of time.
        """
        if self._ghosts is not None:
            fields = self._ghosts.fill(beta, fields)
        pointers = [self._ffi.NULL if x is None else self._double(x) for x in (*fields, *rates)]
        with event("transport"):
            return float(self._lib.transport(self._mesh, self._scratch, len(beta), self._double(beta), *pointers))

    def limit(self, q: Array, mesh_comm: MPI.Intracomm) -> int:
        """Collective over the mesh. Makes q >= 0 at the nodes, in place, and keeps each slice's mass.

        Zhang and Shu's scaling keeps the mass of every cell whose own mass is positive; what the others lacked is
        taken from the whole slice by one factor.

        Returns:
            How many cells of this rank changed.
        """
        mass = np.empty((len(q), 2))
        changed = int(self._lib.limit(self._mesh, len(q), self._double(q), self._double(mass)))
        if mesh_comm.size > 1:
            mesh_comm.Allreduce(MPI.IN_PLACE, mass)
        factor = np.divide(mass[:, 0], mass[:, 1], out=np.ones(len(q)), where=mass[:, 0] != mass[:, 1])
        for slice_, scale in zip(q, factor, strict=True):
            if scale != 1.0:
                slice_ *= scale
        return changed

    def _double(self, array: Array) -> Any:
        return self._ffi.from_buffer("double[]", array)


class GhostExchange:
    """Values of beta, q, A and R on the ghost cells, from the ranks that own them, in one message a neighbour."""

    def __init__(self, mesh: ReferenceMesh, slices: int) -> None:
        from dolfinx import la

        self.mesh = mesh
        cells = mesh.mesh.topology.index_map(mesh.p)
        self._shape = (mesh.cells, slices, mesh.p + 3, mesh.nodes)
        self._vector = la.vector(cells, int(np.prod(self._shape[1:])))
        self._sent = np.flatnonzero(np.diff(cells.index_to_dest_ranks(GHOST_TAG).offsets[: mesh.owned + 1]))

    def fill(self, beta: Array, fields: Fields) -> Fields:
        """Fills the ghosts of beta in place; returns q, A, R with ghosts, (slices, cells, nodes)."""
        owned, p = self.mesh.owned, self.mesh.p
        values = self._vector.array.reshape(self._shape)
        values[self._sent, :, :p] = beta[:, :, self._sent].transpose(2, 0, 1, 3)
        for f, field in enumerate(fields):
            if field is not None:
                values[self._sent, :, p + f] = field[:, self._sent].transpose(1, 0, 2)
        self._vector.scatter_forward()
        beta[:, :, owned:] = values[owned:, :, :p].transpose(1, 2, 0, 3)
        ghosts = values[owned:].transpose(2, 1, 0, 3)
        return tuple(
            None if field is None else np.ascontiguousarray(np.concatenate((field, ghosts[p + f]), axis=1))
            for f, field in enumerate(fields)
        )
