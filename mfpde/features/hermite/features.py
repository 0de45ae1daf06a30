"""The compiled features: moments of a cloud of neurons over the Hermite modes, and the velocity of its neurons."""

from math import factorial, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.compile import aligned, load_compiled
from mfpde.errors import RunError
from mfpde.features.hermite.modes import Modes
from mfpde.features.hermite.table import Table, evaluate, table_of
from mfpde.features.hermite.tiles import tiles_of
from mfpde.features.protocol import Moments
from mfpde.neurons import Cloud, LearningRates, Rates
from mfpde.parallel import from_first
from mfpde.petsc import event
from mfpde.problem.activation import Activation

Array = NDArray[np.float64]

DECLARATIONS = """
typedef struct {
    const double *coefficients; int64_t intervals; int32_t exponent, stride, n_k;
    int64_t length; const double *scale; double least;
} table_t;
typedef struct { int32_t count, degree; const int32_t *parent, *factor, *first; const double *normalization; } modes_t;
typedef struct { int64_t slices, nodes, stride; const double *weight, *a, *v, *r, *b; const int32_t *tile; } cloud_t;
double moments(const table_t *, const modes_t *, const cloud_t *, double *by_slice, double *kept, double *work);
void velocities(const table_t *, const modes_t *, const cloud_t *, const double *field, const double *curvature,
    double xi_a, double xi_w, double xi_b, double *da, double *dv, int64_t dv_stride, double *dr, double *db, const double *kept,
    double *work);
void divergence(const table_t *, const modes_t *, const cloud_t *, const double *field, double xi_w, double xi_b, double *out,
    double *work);
int64_t work_size(int64_t count, int64_t degree, int64_t stride);
"""
TILE_DECLARATIONS = """
typedef struct { const int32_t *slots; const int64_t *keys; int32_t bits, exponent; double least, most; } tiles_t;
void enter(int32_t *slots, int32_t bits, const int64_t *keys, int64_t first, int64_t last);
double locate(const tiles_t *, const cloud_t *, int32_t *tile, int64_t *missing, int64_t *count);
void functions(const table_t *, const cloud_t *, double *out, double *work);
"""

# Beyond this a neuron has |w| (or |b|) > 10^6: the run has blown up, and a larger table would not mend it.
LARGEST_S = 2.0**40
# Neurons in a group of features.c, or a multiple.
GROUP = 16


class HermiteFeatures:
    """The Hermite features of one activation, with its table; a `Features`.

    Collective to construct. Without biases rank 0 alone evaluates the activation, and the table grows by itself when a neuron
    leaves it; with them each rank makes the tiles where its own neurons are.

    Args:
        comm: All ranks.
        modes: The Hermite truncation.
        activation: sigma.
        largest: S up to which a table reaches at first.
        biases: Whether neurons have biases.
    """

    def __init__(
        self, comm: MPI.Intracomm, modes: Modes, activation: Activation, largest: float = 16.0, biases: bool = False
    ) -> None:
        self.comm = comm
        self.modes = modes
        self.activation = activation
        self.biases = biases
        declarations = DECLARATIONS + (TILE_DECLARATIONS if biases else "")
        macros = {"P": modes.p, "BIASES": int(biases)}
        compiled = load_compiled(comm, Path(__file__).with_name("features.c"), declarations, macros)
        self._ffi, self._lib = compiled.ffi, compiled.lib
        k = np.arange(modes.hermite_degree + 1)
        self._curvature = np.sqrt((k + 1.0) * (k + 2.0))
        self._modes = self._ffi.new("modes_t *")
        self._modes.count, self._modes.degree = len(modes), modes.hermite_degree
        for name in ("parent", "factor", "first"):
            setattr(self._modes, name, self._ffi.from_buffer("int32_t[]", getattr(modes, name)))
        self._modes.normalization = self._pointer(modes.normalization)
        self._last: tuple[Cloud | None, Any] = None, None
        # Second derivatives look up two functions more than moments and velocities do.
        self._table, self._whole_table = (self._ffi.new("table_t *") for _ in range(2))
        if biases:
            self.tiles = tiles_of(activation, modes.hermite_degree + 5)
            self._tiles = self._ffi.new("tiles_t *")
            self._numbers, self._missing = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)
            self._known = -1
            self._scale = np.array([1 / sqrt(factorial(n)) for n in range(self.stride)])
        else:
            table = table_of(activation, modes.hermite_degree + 4, largest) if comm.rank == 0 else None
            self.table: Table = from_first(comm, table)
            self._use_table()
        self._work_memory = aligned(self._lib.work_size(len(modes), modes.hermite_degree, self.stride))
        self._work = self._pointer(self._work_memory)

    def of(self, activation: Activation) -> "HermiteFeatures":
        """Collective. The features of an activation over the same ranks and modes; these, if it is the same."""
        return self if activation == self.activation else HermiteFeatures(self.comm, self.modes, activation, biases=self.biases)

    @property
    def S_max(self) -> float:
        """Up to where S, and b^2, can be looked up without `cover`."""
        return LARGEST_S if self.biases else self.table.S_max

    @property
    def stride(self) -> int:
        """Length of a row of the values that `moments` keeps."""
        return -(-(self.modes.hermite_degree + 5) // 4) * 4 if self.biases else self.table.stride

    def moments(self, cloud: Cloud, label_weight: Array, kept: Array | None = None) -> Moments:
        """Collective. The moments of a cloud.

        Args:
            cloud: This rank's neurons.
            label_weight: Weight of each slice, shape (slices,).
            kept: Room for what `velocities` can use again, see `room`.

        Raises:
            RunError: On all ranks, if a neuron has left every sensible table.
        """
        by_slice = np.empty((len(label_weight), len(self.modes)))
        neurons, size = self._cloud(cloud)
        while True:
            arguments = (self._table, self._modes, neurons, self._pointer(by_slice), self._optional(kept), self._work)
            with event("moments"):
                largest = max(self._lib.moments(*arguments), size)
            # One reduction: the moments, and in the last entry how many ranks need a larger table.
            total = np.empty(len(self.modes) + 1)
            np.matmul(label_weight, by_slice, out=total[:-1])
            total[-1] = largest >= self.S_max
            if self.comm.size > 1:
                self.comm.Allreduce(MPI.IN_PLACE, total)
            if not total[-1] > 0:
                return Moments(total[:-1], by_slice)
            self._extend(self.comm.allreduce(largest, op=MPI.MAX))

    def velocities(self, cloud: Cloud, residual: Array, xi: LearningRates, out: Rates, kept: Array | None = None) -> None:
        """The velocity of all neurons down the gradient of Psi = sum_i residual_i phi_i, written to `out`.

        Args:
            cloud: This rank's neurons.
            residual: m_i - h_i, shape (modes,).
            xi: Learning rates.
            out: Where to write.
            kept: What `moments` has kept of the same cloud.
        """
        field = self.modes.field_coefficients(residual)
        neurons = self._cloud(cloud, located=kept is None)[0]
        with event("velocities"):
            self._lib.velocities(
                self._table, self._modes, neurons, self._pointer(field), self._pointer(self._curvature), *xi,
                self._optional(out.a), self._pointer(out.v), out.v.shape[-1], self._optional(out.r), self._optional(out.b),
                self._optional(kept), self._work,
            )  # fmt: skip

    def divergence(self, cloud: Cloud, residual: Array, xi: LearningRates, out: Array) -> None:
        """The divergence of the velocity -xi_w a grad Psi in (v, r), and -xi_b a dPsi/db in b, of all neurons.

        Args:
            cloud: This rank's neurons.
            residual: m_i - h_i, shape (modes,).
            xi: Learning rates.
            out: Where to write, shape (slices, nodes).
        """
        field = self._pointer(self.modes.divergence_coefficients(residual))
        neurons = self._cloud(cloud)[0]
        self._lib.divergence(self._whole_table, self._modes, neurons, field, xi.w, xi.b, self._pointer(out), self._work)

    def functions(self, S: Array, b: Array | None = None) -> Array:
        """G_k(S), or G_k(S, b) with biases, of neurons S (n,) and b (n,) for k = 0..K + 2, shape (n, K + 3)."""
        if b is None:
            return evaluate(self.table, S)[:, : self.modes.hermite_degree + 3]
        cloud = Cloud.of(np.zeros_like(S), np.zeros((self.modes.p, len(S))), np.sqrt(S), np.zeros_like(S), b)
        neurons, out = self._cloud(cloud)[0], np.empty((len(S), self.modes.hermite_degree + 3))
        self._lib.functions(self._table, neurons, self._pointer(out), self._work)
        return out

    def cover(self, largest: float) -> bool:
        """Collective. Makes the table reach S = `largest` (or b^2); whether it had to grow.

        Raises:
            RunError: On all ranks, if no sensible table does.
        """
        largest = self.comm.allreduce(largest, op=MPI.MAX)
        grows = not largest < self.S_max
        if grows:
            self._extend(largest)
        return grows

    def room(self, slices: int, nodes: int) -> Array:
        """Memory for the table's values at slices x nodes neurons: written by `moments`, read by `velocities`."""
        return aligned(slices * -(-nodes // GROUP) * GROUP * self.stride)

    def _cloud(self, cloud: Cloud, located: bool = True) -> tuple[Any, float]:
        """The neurons for the compiled code; with biases, at tiles if `located`, and their largest S or b^2."""
        if cloud is not self._last[0]:  # most are asked for their moments, and then for their velocities
            neurons = self._ffi.new("cloud_t *")
            neurons.slices, neurons.nodes = cloud.a.shape
            neurons.stride = 0 if cloud.weight.ndim == 1 else cloud.a.shape[1]
            for name in ("weight", "a", "v", "r", *("b" * self.biases)):
                setattr(neurons, name, self._pointer(getattr(cloud, name)))
            self._last = cloud, neurons
        neurons = self._last[1]
        return neurons, self._locate(neurons, cloud.a.size) if self.biases and located else 0.0

    def _locate(self, neurons: Any, size: int) -> float:
        """Finds, or makes, the tiles of some neurons; their largest S or b^2."""
        if size > len(self._numbers):
            self._numbers, self._missing = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int64)
        numbers, missing = self._ffi.from_buffer("int32_t[]", self._numbers), self._ffi.from_buffer("int64_t[]", self._missing)
        count = self._ffi.new("int64_t *")
        neurons.tile = numbers
        while True:
            self._use_tiles()
            largest = float(self._lib.locate(self._tiles, neurons, numbers, missing, count))
            if not count[0]:
                return largest
            self.tiles.add(np.unique(self._missing[: count[0]]), self._lib, self._ffi)

    def _extend(self, largest: float) -> None:
        if not largest < LARGEST_S:
            size = f"|w| {'or |b| ' if self.biases else ''}= {largest**0.5:.3g}"
            raise RunError(f"a neuron has {size}: the run has blown up; lower the learning rates or discretization.tolerance")
        with np.errstate(all="ignore"):  # an activation that overflows there shows in the moments, which are checked
            table = table_of(self.activation, self.table.n_k - 1, 2 * largest) if self.comm.rank == 0 else None
        self.table = from_first(self.comm, table)
        self._use_table()

    def _use_table(self) -> None:
        for table, n_k in ((self._table, self.table.n_k - 2), (self._whole_table, self.table.n_k)):
            table.coefficients = self._pointer(self.table.coefficients)
            table.intervals, table.exponent = len(self.table.coefficients), self.table.exponent
            table.stride, table.n_k = self.table.stride, n_k

    def _use_tiles(self) -> None:
        """Points to the tiles as they are now: whoever shares them may have made some."""
        tiles, whole = self.tiles, self.modes.hermite_degree + 5
        if tiles.count == self._known:
            return
        self._known = tiles.count
        for table, n_k in ((self._table, whole - 2), (self._whole_table, whole)):
            table.coefficients, table.length, table.least = self._pointer(tiles.rows), tiles.length, tiles.least
            table.stride, table.n_k, table.scale = self.stride, n_k, self._pointer(self._scale)
        self._tiles.slots = self._ffi.from_buffer("int32_t[]", tiles.slots)
        self._tiles.keys = self._ffi.from_buffer("int64_t[]", tiles.keys)
        self._tiles.bits, self._tiles.exponent = tiles.bits, tiles.exponent
        self._tiles.least, self._tiles.most = tiles.least, LARGEST_S

    def _pointer(self, array: Array) -> Any:
        return self._ffi.from_buffer("double[]", array)

    def _optional(self, array: Array | None) -> Any:
        return self._ffi.NULL if array is None else self._pointer(array)
