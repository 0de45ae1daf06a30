"""The compiled features: moments of a density over the Hermite modes, and the velocity of its neurons."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.compile import load_compiled
from mfpde.errors import RunError
from mfpde.features.modes import Modes
from mfpde.features.table import Table, build_table, extend_table
from mfpde.problem.activation import Activation

Array = NDArray[np.float64]

DECLARATIONS = """
typedef struct { const double *coefficients; int64_t intervals; int32_t exponent; } table_t;
typedef struct { const int32_t *parent, *factor, *degree; const double *normalization; } modes_t;
typedef struct {
    int64_t slices, nodes;
    const double *y, *weight, *M, *L, *q, *a, *r;
} density_t;
double slice_moments(const table_t *, const modes_t *, const density_t *, double *moments, double *mass);
void slice_velocities(const table_t *, const modes_t *, const density_t *, int64_t first, int64_t last,
    const double *field, const double *curvature, double xi_a, double xi_w,
    double *da, double *dv, int64_t dv_stride, double *dr, double *fit);
"""

# Beyond this a neuron has |w| > 10^6: the run has blown up, and a larger table would not mend it.
LARGEST_S = 2.0**40


@dataclass(frozen=True)
class Neurons:
    """Neurons (a, v, r) at v = M + L y on slices, and their density q with respect to the quadrature in y.

    Attributes:
        y: Reference coordinates, shape (p, nodes), shared by all slices.
        weight: Quadrature weights, shape (nodes,).
        M, L: Frames, shapes (slices, p) and (slices, p, p).
        q, a, r: Shape (slices, nodes).
    """

    y: Array
    weight: Array
    M: Array
    L: Array
    q: Array
    a: Array
    r: Array


class Features:
    """The Hermite features of one problem, with the table of its activation.

    Collective to construct. Rank 0 alone evaluates the activation; the table grows by itself when a neuron leaves it.
    """

    def __init__(self, comm: MPI.Intracomm, modes: Modes, activation: Activation, largest: float = 16.0) -> None:
        self.comm = comm
        self.modes = modes
        self.activation = activation
        n_k = modes.hermite_degree + 3
        table = build_table(activation, n_k - 1, largest) if comm.rank == 0 else None
        self.table: Table = comm.bcast(table)
        macros = {"P": modes.p, "K": modes.hermite_degree, "MODES": len(modes), "STRIDE": self.table.stride}
        kernel = load_compiled(comm, Path(__file__).with_name("features.c"), DECLARATIONS, macros)
        self._ffi, self._lib = kernel.ffi, kernel.lib
        k = np.arange(modes.hermite_degree + 1)
        self._curvature = np.sqrt((k + 1.0) * (k + 2.0))
        self._modes = self._ffi.new("modes_t *")
        for name in ("parent", "factor", "degree"):
            setattr(self._modes, name, self._ffi.from_buffer("int32_t[]", getattr(modes, name)))
        self._modes.normalization = self._pointer(modes.normalization)
        self._table = self._ffi.new("table_t *")
        self._use_table()

    def moments(self, neurons: Neurons, label_weight: Array) -> tuple[Array, Array, Array]:
        """Collective. The moments m_i = int a phi_i d rho.

        Args:
            neurons: This rank's part of the density.
            label_weight: Weight of each slice, shape (slices,).

        Returns:
            m over all ranks, shape (modes,); this rank's part of each slice's own moments, shape (slices, modes), and
            of its mass, shape (slices,).

        Raises:
            RunError: On all ranks, if a neuron has left every sensible table.
        """
        slices = len(label_weight)
        by_slice, mass = np.empty((slices, len(self.modes))), np.empty(slices)
        density = self._density(neurons)
        while True:
            arguments = (self._table, self._modes, density, self._pointer(by_slice), self._pointer(mass))
            largest = self._lib.slice_moments(*arguments)
            # One reduction a stage: the moments, and in the last entry how many ranks need a larger table.
            local = np.append(label_weight @ by_slice, float(largest >= self.table.S_max))
            total = np.empty_like(local)
            self.comm.Allreduce(local, total)
            if not total[-1] > 0:
                return total[:-1], by_slice, mass
            self._extend(self.comm.allreduce(largest, op=MPI.MAX))

    def velocities(self, neurons: Neurons, residual: Array, xi: tuple[float, float], rates: tuple[Any, Array, Any]) -> Array:
        """The velocity of all neurons down the gradient of Psi = sum_i residual_i phi_i.

        Args:
            neurons: This rank's part of the density; no ghosts.
            residual: m_i - h_i, shape (modes,).
            xi: Learning rates (xi_a, xi_w).
            rates: Arrays to fill: a' (slices, nodes) or None, v' (slices, p, at least nodes), r' (slices, nodes) or None.

        Returns:
            This rank's part of the integrals over each slice's density of 1, y, v', y y^T and v' y^T, flattened, shape
            (slices, 1 + 2 p + 2 p^2): what the frame's least squares needs.
        """
        p, slices = self.modes.p, len(neurons.M)
        field = self.modes.field_coefficients(residual)
        da, dv, dr = rates
        fit = np.empty((slices, 1 + 2 * p + 2 * p * p))
        density = self._density(neurons)
        null = self._ffi.NULL
        self._lib.slice_velocities(
            self._table, self._modes, density, 0, slices, self._pointer(field), self._pointer(self._curvature), *xi,
            null if da is None else self._pointer(da), self._pointer(dv), dv.shape[-1],
            null if dr is None else self._pointer(dr), self._pointer(fit),
        )  # fmt: skip
        return fit

    def _density(self, neurons: Neurons) -> Any:
        density = self._ffi.new("density_t *")
        density.slices, density.nodes = neurons.q.shape
        for name in ("y", "weight", "M", "L", "q", "a", "r"):
            setattr(density, name, self._pointer(getattr(neurons, name)))
        return density

    def _extend(self, largest: float) -> None:
        if not largest < LARGEST_S:
            size = f"|w| = {largest**0.5:.3g}"
            raise RunError(f"a neuron has {size}: the run has blown up; lower the learning rates or discretization.tolerance")
        with np.errstate(all="ignore"):  # an activation that overflows there shows in the moments, which are checked
            table = extend_table(self.table, self.activation, 2 * largest) if self.comm.rank == 0 else None
        self.table = self.comm.bcast(table)
        self._use_table()

    def _use_table(self) -> None:
        self._table.coefficients = self._pointer(self.table.coefficients)
        self._table.intervals, self._table.exponent = len(self.table.coefficients), self.table.exponent

    def _pointer(self, array: Array) -> Any:
        return self._ffi.from_buffer("double[]", array)
