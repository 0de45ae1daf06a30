"""The right-hand side of the mean-field flow for the density on slices.

For every slice l = (a_0, r_0), with the residual m_i - h_i of the Hermite modes:

    dq/dt + div_y(q beta) = 0,   dA/dt + beta.grad A = -xi_a Psi,   dR/dt + beta.grad R = -xi_w A dPsi/dr,
    v = M + L y,   v' = -xi_w A grad_v Psi,   beta = chi L^{-1} (v' - M' - L' y)        (DESIGN, sections 2 and 3)

A point start (d = inf, or w = 0) has one node y = 0 a slice and no L: the same formulas with beta = 0.
"""

from copy import copy
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.elements.frame import frame_velocity, taper
from mfpde.elements.mesh import ReferenceMesh, box_mesh, read_mesh, reference_mesh
from mfpde.elements.transport import Transport
from mfpde.errors import RunError
from mfpde.evolution.grid import ProcessGrid, process_grid
from mfpde.evolution.state import Layout, State
from mfpde.features.features import Features, Neurons
from mfpde.features.modes import hermite_modes
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """Moments of one state.

    Attributes:
        moments: m_i over all ranks, shape (modes,).
        by_slice: This group's slices' own moments (this rank's part of the mesh), shape (slices, modes).
        mass: Likewise int q dy, shape (slices,).
    """

    moments: Array
    by_slice: Array
    mass: Array


@dataclass(frozen=True)
class Points:
    """A law of finitely many neurons, one for each label: labels (a, r) (n, 2), v (n, p) and weights (n)."""

    labels: Array
    v: Array
    weight: Array


class MeanFieldFlow:
    """The semi-discrete mean-field flow on this rank's slices. Collective to construct and to evaluate.

    Args:
        comm: All ranks.
        problem: What to solve; the same on all ranks.
        discretization: How; likewise.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.
        points: The neurons to start from, the same on all ranks, instead of the problem's initial law.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        problem: Problem,
        discretization: Discretization,
        mesh_ranks: int = 0,
        points: Points | None = None,
    ) -> None:
        self.problem = problem
        self.discretization = discretization
        self.averaged = points is not None
        p, d = problem.p, problem.d
        self.point_start = points is not None or d == inf or problem.w == "zero"
        self.scale = 0.0 if self.point_start else 1 / sqrt(d)
        start = _initial_law(problem) if points is None else points
        labels = self.labels = start.labels
        self.label_weight = start.weight
        cells = 1 if self.point_start else discretization.cells**p
        self.grid: ProcessGrid = process_grid(comm, len(labels), cells, mesh_ranks)
        self.modes = hermite_modes(p, discretization.hermite_degree, discretization.radial_degree, d)
        self.target = self.modes.target_coefficients(problem.target)
        self.features = Features(comm, self.modes, problem.activation)
        self.mesh = None if self.point_start else self._mesh()
        local = len(self.grid.slices)
        self.transport = None if self.mesh is None else Transport(comm, self.mesh, local)
        self.y, self.weight = self._nodes()
        self.layout = self._layout(self._initial(start))
        cells_here = 1 if self.mesh is None else self.mesh.cells
        self._beta = np.zeros((local, p, cells_here, len(self.weight[0])))
        self._local_weight = self.label_weight[self.grid.slices.start : self.grid.slices.stop]
        self._drift = np.zeros((local, p)), np.zeros((local, p, p))
        self.fastest = 0.0

    def _mesh(self) -> ReferenceMesh:
        options, comm, p = self.discretization, self.grid.mesh_comm, self.problem.p
        if options.mesh is None:
            domain = box_mesh(comm, p, options.cells, options.half_width, options.grading)
        else:
            domain = read_mesh(comm, Path(options.mesh), p)
        mesh = reference_mesh(domain, options.degree)
        mesh.taper[...] = taper(mesh.y, mesh.half_width, TAPER * mesh.half_width)
        return mesh

    def _nodes(self) -> tuple[Array, Array]:
        """Node coordinates (p, cells, nodes) and weights (cells, nodes) of the owned cells."""
        if self.mesh is None:
            return np.zeros((self.problem.p, 1, 1)), np.ones((1, 1))
        owned = self.mesh.owned
        return np.ascontiguousarray(self.mesh.y[:, :owned]), np.ascontiguousarray(self.mesh.weight[:owned])

    def _initial(self, start: Points) -> State:
        y, weight = self.y, self.weight
        mine = slice(self.grid.slices.start, self.grid.slices.stop)
        here = start.labels[mine]
        slices, p = len(here), self.problem.p
        q = np.exp(-0.5 * (y**2).sum(axis=0))
        q /= self.grid.mesh_comm.allreduce(float((weight * q).sum()))
        shape = (slices, *q.shape)
        return State(
            q=np.broadcast_to(q, shape).copy(),
            a=np.broadcast_to(here[:, 0, None, None], shape).copy(),
            r=np.broadcast_to(here[:, 1, None, None], shape).copy(),
            M=start.v[mine].copy(),
            Lambda=np.broadcast_to(np.eye(p), (slices, p, p)).copy(),
        )

    def _layout(self, initial: State) -> Layout:
        spread, moves = not self.point_start, not self.problem.xi_w.zero
        # Constant in y, an untrained a stays constant; an earlier stage may have left it otherwise.
        varies = self.grid.comm.allreduce(bool((np.ptp(initial.a, axis=(1, 2)) > 0).any()), op=MPI.LOR)
        evolves = {
            "q": spread and moves,
            "a": not self.problem.xi_a.zero or (spread and moves and varies),
            "r": moves and bool(self.grid.comm.allreduce(bool(initial.r.any()), op=MPI.LOR)),
            "M": moves,
            "Lambda": spread and moves,
        }
        return Layout(initial, tuple(name for name, does in evolves.items() if does))

    def at_stage(self, problem: Problem, state: State) -> "MeanFieldFlow":
        """Collective. The flow of a later stage from `state`, on the same labels, mesh and ranks.

        Args:
            problem: With the stage's activation and learning rates.
            state: Of this rank's slices; copied.
        """
        flow = copy(self)
        flow.problem = problem
        if problem.activation != self.problem.activation:
            flow.features = Features(self.grid.comm, self.modes, problem.activation)
        flow.layout = flow._layout(State(**{name: block.copy() for name, block in state.__dict__.items()}))
        flow._beta = np.zeros_like(self._beta)
        flow._drift = np.zeros_like(self._drift[0]), np.zeros_like(self._drift[1])
        flow.fastest = 0.0
        return flow

    def evaluate(self, state: State, time: float) -> Evaluation:
        """Collective. The moments of a state.

        Raises:
            RunError: On all ranks, if they are not finite.
        """
        try:
            moments, by_slice, mass = self.features.moments(self._neurons(state), self._local_weight)
        except RunError as error:
            raise RunError(f"{error} (at t = {time:.6g}{self._furthest(state.M, self.frames(state))})") from None
        if not np.isfinite(moments).all():
            bad = self.grid.slices.start + np.flatnonzero(~np.isfinite(by_slice).all(axis=1))
            index = self.grid.comm.allreduce(int(bad[0]) if len(bad) else len(self.labels), op=MPI.MIN)
            raise RunError(self._blow_up(time, index))
        return Evaluation(moments, by_slice, mass)

    def moments(self, vector: Array, time: float) -> Array:
        """Collective. The coefficients m_i of the state `vector`."""
        return self.evaluate(self.layout.views(vector), time).moments

    def _blow_up(self, time: float, index: int) -> str:
        return (
            f"values are no longer finite at t = {time:.6g}{self._name(index)}: lower discretization.tolerance or the "
            "learning rates, or take more cells"
        )

    def fastest_slice(self) -> str:
        """Collective. Names the slice whose frame moved fastest in the last evaluation."""
        return self._furthest(*self._drift)

    def _furthest(self, M: Array, L: Array) -> str:
        """Collective. Names the slice in which |M| + |L| is largest (or their derivatives)."""
        size = np.abs(M).max(axis=1) + np.abs(L).max(axis=(1, 2))
        mine = (float(size.max(initial=-1.0)), self.grid.slices.start + (int(size.argmax()) if len(size) else 0))
        return self._name(self.grid.comm.allreduce(mine, op=MPI.MAXLOC)[1])

    def _name(self, index: int) -> str:
        return "" if index == len(self.labels) else " in slice {} (a_0 = {:.4g}, r_0 = {:.4g})".format(index, *self.labels[index])

    def rates(self, time: float, vector: Array, out: Array) -> None:
        """Collective. The time derivative of the state `vector`, written to `out`."""
        state, rate = self.layout.views(vector), self.layout.blocks(out)
        residual = self.evaluate(state, time).moments - self.target
        xi = self.problem.xi_a(time), self.problem.xi_w(time)
        if not all(isfinite(x) for x in xi):
            raise RunError(f"training.xi_a or training.xi_w is not finite at t = {time:.6g}")
        slices, p = state.M.shape
        dv = self._beta.reshape(slices, p, int(np.prod(self._beta.shape[2:])))
        fit = self.features.velocities(self._neurons(state), residual, xi, (rate.get("a"), dv, rate.get("r")))
        if "M" not in rate:
            return
        if self.transport is None:
            rate["M"][...] = self._drift[0][...] = dv[:, :, 0]
            return
        if self.grid.mesh_comm.size > 1:
            self.grid.mesh_comm.Allreduce(MPI.IN_PLACE, fit)
        self._drift = dM, dL = frame_velocity(fit, p)
        rate["M"][...] = dM
        rate["Lambda"][...] = dL / self.scale
        inverse = np.linalg.inv(self.scale * state.Lambda)
        frame = [dM, *(matrix.reshape(slices, p * p) for matrix in (dL, inverse))]
        self.transport.remainder(np.concatenate(frame, axis=1), self._beta)
        carried = ("q", "a", "r")
        fields = tuple(getattr(state, name) if name in rate else None for name in carried)
        self.fastest = self.transport.apply(self._beta, fields, tuple(rate.get(name) for name in carried))

    def limit(self, vector: Array) -> bool:
        """Collective. Makes q >= 0 in place, see `Transport.limit`; says whether any rank changed anything."""
        changed = 0
        if self.transport is not None and "q" in self.layout.evolving:
            changed = self.transport.limit(self.layout.views(vector).q, self.grid.mesh_comm)
        return bool(self.grid.comm.allreduce(changed))

    def non_negative(self, q: Array) -> Array:
        """Collective. A limited copy of a density: what is written."""
        limited = q.copy()
        if self.transport is not None:
            self.transport.limit(limited, self.grid.mesh_comm)
        return limited

    @property
    def unknowns(self) -> int:
        """Collective. How many numbers evolve, over all ranks."""
        return int(self.grid.comm.allreduce(self.layout.size))

    def largest_step(self) -> float:
        """Collective. The step at which the fastest remainder velocity of the last evaluation crosses CFL / (2 k + 1) of
        a reference cell."""
        fastest = self.grid.comm.allreduce(self.fastest, op=MPI.MAX)
        return CFL / ((2 * self.discretization.degree + 1) * fastest) if fastest > 0 else inf

    def unit_of_time(self, time: float) -> float:
        """1 / max(xi_a, xi_w) at `time`: what the flow needs for a change of order 1; inf where nothing moves."""
        fastest = max(self.problem.xi_a(time), self.problem.xi_w(time))
        return 1 / fastest if fastest > 0 else inf

    def frames(self, state: State) -> Array:
        """L of each slice, shape (slices, p, p); 0 for a point start."""
        return self.scale * state.Lambda

    def _neurons(self, state: State) -> Neurons:
        slices, p = state.M.shape
        flat = (slices, self.weight.size)
        return Neurons(
            y=self.y.reshape(p, -1),
            weight=self.weight.ravel(),
            M=state.M,
            L=self.frames(state),
            q=state.q.reshape(flat),
            a=state.a.reshape(flat),
            r=state.r.reshape(flat),
        )


def _initial_law(problem: Problem) -> Points:
    """The labels (a_0, r_0); v is where a point start begins, and the mean of a spread one."""
    labels = np.array([(a, r) for a in problem.a_rule.nodes for r in problem.r_rule.nodes])
    weight = np.outer(problem.a_rule.weights, problem.r_rule.weights).ravel()
    return Points(labels, np.zeros((len(labels), problem.p)), weight)


# Share of the half width at which the taper begins.
TAPER = 5 / 6
# Courant number of a step.  RK5 on upwind DG of degree 3 is stable to about 1.2 where the speed is uniform; the fastest
# nodes here are few, and what would grow there is caught by the error estimate.
CFL = 2.0
