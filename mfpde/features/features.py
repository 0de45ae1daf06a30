"""The compiled features: moments of a cloud of neurons over the Hermite modes, and the velocity of its neurons."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.compile import load_compiled
from mfpde.errors import RunError
from mfpde.features.modes import Modes
from mfpde.features.table import Table, table_of
from mfpde.petsc import event
from mfpde.problem.activation import Activation

Array = NDArray[np.float64]

DECLARATIONS = """
typedef struct { const double *coefficients; int64_t intervals; int32_t exponent, stride, n_k; } table_t;
typedef struct { int32_t count, degree; const int32_t *parent, *factor, *first; const double *normalization; } modes_t;
typedef struct { int64_t slices, nodes, stride; const double *weight, *a, *v, *r; } cloud_t;
double moments(const table_t *, const modes_t *, const cloud_t *, double *by_slice, double *kept);
void velocities(const table_t *, const modes_t *, const cloud_t *, const double *field, const double *curvature,
    double xi_a, double xi_w, double *da, double *dv, int64_t dv_stride, double *dr, const double *kept);
void divergence(const table_t *, const modes_t *, const cloud_t *, const double *field, double xi_w, double *out);
"""

# Beyond this a neuron has |w| > 10^6: the run has blown up, and a larger table would not mend it.
LARGEST_S = 2.0**40
# Neurons in a group of features.c, or a multiple; bytes to which its vectors are aligned.
GROUP, ALIGNMENT = 16, 64


@dataclass(frozen=True)
class Cloud:
    """Neurons (a, v, r) with their weights, in slices.

    Attributes:
        weight: Shape (nodes,), shared by all slices, or (slices, nodes).
        a, r: Shape (slices, nodes).
        v: Shape (slices, p, nodes).
    """

    weight: Array
    a: Array
    v: Array
    r: Array

    @classmethod
    def of(cls, a: Array, v: Array, r: Array, weight: Array) -> "Cloud":
        """The cloud of one slice of neurons a (n), v (p, n), r (n) with weights (n)."""
        return cls(weight, a[None], np.ascontiguousarray(v)[None], r[None])


@dataclass(frozen=True)
class Moments:
    """Moments m_i = int a phi_i d rho.

    Attributes:
        all: Over all ranks, shape (modes,).
        by_slice: This rank's part of each slice's own, without label weights, shape (slices, modes).
    """

    all: Array
    by_slice: Array


@dataclass(frozen=True)
class Velocity:
    """Arrays for the velocity of a cloud: a' (slices, nodes) or None, v' (slices, p, at least nodes), r' like a' or None."""

    a: Array | None
    v: Array
    r: Array | None


class Features:
    """The Hermite features of one activation, with its table.

    Collective to construct. Rank 0 alone evaluates the activation; the table grows by itself when a neuron leaves it.
    """

    def __init__(self, comm: MPI.Intracomm, modes: Modes, activation: Activation, largest: float = 16.0) -> None:
        self.comm = comm
        self.modes = modes
        self.activation = activation
        table = table_of(activation, modes.hermite_degree + 4, largest) if comm.rank == 0 else None
        self.table: Table = comm.bcast(table)
        compiled = load_compiled(comm, Path(__file__).with_name("features.c"), DECLARATIONS, {"P": modes.p})
        self._ffi, self._lib = compiled.ffi, compiled.lib
        k = np.arange(modes.hermite_degree + 1)
        self._curvature = np.sqrt((k + 1.0) * (k + 2.0))
        self._modes = self._ffi.new("modes_t *")
        self._modes.count, self._modes.degree = len(modes), modes.hermite_degree
        for name in ("parent", "factor", "first"):
            setattr(self._modes, name, self._ffi.from_buffer("int32_t[]", getattr(modes, name)))
        self._modes.normalization = self._pointer(modes.normalization)
        # Second derivatives look up two functions more than moments and velocities do.
        self._table, self._whole_table = (self._ffi.new("table_t *") for _ in range(2))
        self._use_table()

    def of(self, activation: Activation) -> "Features":
        """Collective. The features of an activation over the same ranks and modes; these, if it is the same."""
        return self if activation == self.activation else Features(self.comm, self.modes, activation)

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
        neurons = self._cloud(cloud)
        while True:
            arguments = (self._table, self._modes, neurons, self._pointer(by_slice), self._optional(kept))
            with event("moments"):
                largest = self._lib.moments(*arguments)
            # One reduction: the moments, and in the last entry how many ranks need a larger table.
            local = np.append(label_weight @ by_slice, float(largest >= self.table.S_max))
            total = np.empty_like(local)
            self.comm.Allreduce(local, total)
            if not total[-1] > 0:
                return Moments(total[:-1], by_slice)
            self._extend(self.comm.allreduce(largest, op=MPI.MAX))

    def velocities(
        self, cloud: Cloud, residual: Array, xi: tuple[float, float], out: Velocity, kept: Array | None = None
    ) -> None:
        """The velocity of all neurons down the gradient of Psi = sum_i residual_i phi_i, written to `out`.

        Args:
            cloud: This rank's neurons.
            residual: m_i - h_i, shape (modes,).
            xi: Learning rates (xi_a, xi_w).
            out: Where to write.
            kept: What `moments` has kept of the same cloud.
        """
        field = self.modes.field_coefficients(residual)
        with event("velocities"):
            self._lib.velocities(
                self._table, self._modes, self._cloud(cloud), self._pointer(field), self._pointer(self._curvature), *xi,
                self._optional(out.a), self._pointer(out.v), out.v.shape[-1], self._optional(out.r), self._optional(kept),
            )  # fmt: skip

    def divergence(self, cloud: Cloud, residual: Array, xi_w: float, out: Array) -> None:
        """The divergence of the velocity -xi_w a grad Psi in (v, r) of all neurons, written to `out` (slices, nodes).

        Args:
            cloud: This rank's neurons.
            residual: m_i - h_i, shape (modes,).
            xi_w: Learning rate.
            out: Where to write.
        """
        field = self._pointer(self.modes.divergence_coefficients(residual))
        self._lib.divergence(self._whole_table, self._modes, self._cloud(cloud), field, xi_w, self._pointer(out))

    def cover(self, largest: float) -> bool:
        """Collective. Makes the table reach S = `largest`; whether it had to grow.

        Raises:
            RunError: On all ranks, if no sensible table does.
        """
        largest = self.comm.allreduce(largest, op=MPI.MAX)
        grows = not largest < self.table.S_max
        if grows:
            self._extend(largest)
        return grows

    def room(self, slices: int, nodes: int) -> Array:
        """Memory for the table's values at slices x nodes neurons: written by `moments`, read by `velocities`."""
        size = slices * -(-nodes // GROUP) * GROUP * self.table.stride
        memory = np.empty(size + ALIGNMENT // 8)
        return memory[-(memory.ctypes.data // 8) % (ALIGNMENT // 8) :][:size]

    def _cloud(self, cloud: Cloud) -> Any:
        neurons = self._ffi.new("cloud_t *")
        neurons.slices, neurons.nodes = cloud.a.shape
        neurons.stride = 0 if cloud.weight.ndim == 1 else cloud.a.shape[1]
        for name in ("weight", "a", "v", "r"):
            setattr(neurons, name, self._pointer(getattr(cloud, name)))
        return neurons

    def _extend(self, largest: float) -> None:
        if not largest < LARGEST_S:
            size = f"|w| = {largest**0.5:.3g}"
            raise RunError(f"a neuron has {size}: the run has blown up; lower the learning rates or discretization.tolerance")
        with np.errstate(all="ignore"):  # an activation that overflows there shows in the moments, which are checked
            table = table_of(self.activation, self.table.n_k - 1, 2 * largest) if self.comm.rank == 0 else None
        self.table = self.comm.bcast(table)
        self._use_table()

    def _use_table(self) -> None:
        for table, n_k in ((self._table, self.table.n_k - 2), (self._whole_table, self.table.n_k)):
            table.coefficients = self._pointer(self.table.coefficients)
            table.intervals, table.exponent = len(self.table.coefficients), self.table.exponent
            table.stride, table.n_k = self.table.stride, n_k

    def _pointer(self, array: Array) -> Any:
        return self._ffi.from_buffer("double[]", array)

    def _optional(self, array: Array | None) -> Any:
        return self._ffi.NULL if array is None else self._pointer(array)
