"""The mean-field flow of a density on a reference mesh in a moving affine frame, `discretization.frame = "affine"`.

For every slice l = (a_0, r_0), with the residual m_i - h_i of the Hermite modes:

    dq/dt + div_y(q beta) = 0,   dA/dt + beta.grad A = -xi_a Psi,   dR/dt + beta.grad R = -xi_w A dPsi/dr,
    v = M + L y,   v' = -xi_w A grad_v Psi,   beta = chi L^{-1} (v' - M' - L' y)

The picture holds while v_0 -> v is one-to-one within every slice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.affine.frame import frame_velocity
from mfpde.affine.slices import Slices
from mfpde.discretisation.grid import slice_datasets
from mfpde.errors import RunError
from mfpde.evolution.drift import drift
from mfpde.evolution.flow import Field, InStage, Observation, OnRecord, Position, Reader, Step, Watch
from mfpde.evolution.indicators import LabelsView, MeshView, View, seen
from mfpde.evolution.integrate import integrate
from mfpde.evolution.state import Layout
from mfpde.features.protocol import Basis, Features, Moments
from mfpde.neurons import Cloud, Nodes, Rates
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.rules import Rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The unknowns of this rank's slices.

    Attributes:
        q, a, r: The density and the carried coordinates at the DG nodes, shape (slices, cells, nodes).
        M: The frame's centre, shape (slices, p).
        Lambda: Its matrix sqrt(d) L, which starts as the identity at every d, shape (slices, p, p).
    """

    q: Array
    a: Array
    r: Array
    M: Array
    Lambda: Array


class AffineFlow(InStage):
    """The flow of one stage on this rank's slices; a `StageFlow`. Collective to construct and to evaluate.

    Args:
        problem: What to solve; the same on all ranks.
        options: Its limiter and degree.
        slices: Labels and mesh.
        features: Features of the stage's activation, over all ranks.
        start: The state of this rank's slices at the start of the stage.
        number: Number of the stage.
    """

    def __init__(
        self, problem: Problem, options: Discretization, slices: Slices, features: Features, start: State, number: int = 0
    ) -> None:
        self.problem, self.options, self.slices, self.features, self.number = problem, options, slices, features, number
        self.stage = problem.stages[number]
        self.grid, self.mesh, self.labels = slices.grid, slices.mesh, slices.labels
        self.comm: MPI.Intracomm = self.grid.comm
        self.modes: Basis = features.modes
        self.target = self.modes.target_coefficients(problem.target)
        self.beyond = self.modes.beyond(problem.target)
        self.scale = problem.w.scale
        self.layout = self._layout(start)
        self._beta = np.zeros((len(start.M), problem.p, self.mesh.cells, self.mesh.nodes))

    def _layout(self, initial: State) -> Layout[State]:
        trains_a, moves, _ = self.stage.trains  # there are no biases in this frame
        # Constant in y, an untrained a stays constant; an earlier stage may have left it otherwise.
        varies = self.comm.allreduce(bool((np.ptp(initial.a, axis=(1, 2)) > 0).any()), op=MPI.LOR)
        evolves = {
            "q": moves,
            "a": trains_a or (moves and varies),
            "r": moves and bool(self.comm.allreduce(bool(initial.r.any()), op=MPI.LOR)),
            "M": moves,
            "Lambda": moves,
        }
        return Layout(initial, tuple(name for name, does in evolves.items() if does))

    def next_stage(self, number: int, vector: Array) -> "AffineFlow":
        stage, now = self.problem.stages[number], self.layout.views(vector)
        a = np.zeros_like(now.a) if stage.reset_a else now.a.copy()
        start = State(now.q.copy(), a, now.r.copy(), now.M.copy(), now.Lambda.copy())
        return AffineFlow(self.problem, self.options, self.slices, self.features.of(stage.activation), start, number)

    @property
    def size(self) -> int:
        return self.layout.size

    def pack(self, vector: Array) -> None:
        self.layout.pack(vector)

    def scales(self) -> Array:
        """1, and looser by exp(|y|^2 / 4) for a and r in the tails: there they multiply a density of about exp(-|y|^2 / 2),
        and they are rough where the velocity is tapered."""
        scale = np.ones(self.size)
        looser = np.minimum(np.exp((self.slices.y**2).sum(axis=0) / 4), LOOSEST)
        for name, block in self.layout.blocks(scale).items():
            if name in ("a", "r"):
                block *= looser
        return scale

    def follow(self, times: Sequence[float], tolerance: float, watch: Watch | OnRecord, restart: Position | None = None) -> Step:
        return integrate(self, times, tolerance, watch, "petsc", restart)

    def frames(self, state: State) -> Array:
        """L of each slice, shape (slices, p, p)."""
        return self.scale * state.Lambda

    def cloud(self, state: State) -> Cloud:
        """The neurons at the nodes of this rank's slices, with the weights q dy."""
        flat = (len(state.M), self.slices.weight.size)
        v = self.slices.transport.positions(state.M, self.frames(state))
        weight = (state.q * self.slices.weight).reshape(flat)
        return Cloud(state.a.reshape(flat), v, state.r.reshape(flat), weight=weight)

    def nodes(self, vector: Array) -> Nodes:
        """This rank's neurons with the weights of their labels."""
        return self._nodes(self.layout.views(vector))

    def _nodes(self, state: State) -> Nodes:
        cloud = self.cloud(state)
        weight = (self.slices.label_weight[:, None] * cloud.weight).ravel()
        return Nodes(cloud.a.ravel(), np.moveaxis(cloud.v, 1, 0).reshape(self.problem.p, -1), cloud.r.ravel(), weight)

    def penalty(self, vector: Array) -> float:
        """Collective. What the regularised loss adds to E."""
        return float(self.comm.allreduce(self.stage.penalty(self.nodes(vector).cloud)))

    def evaluate(self, state: State, time: float) -> Moments:
        """Collective. The moments of a state.

        Raises:
            RunError: On all ranks, if they are not finite.
        """
        return self._evaluate(state, self.cloud(state), time)

    def _evaluate(self, state: State, cloud: Cloud, time: float) -> Moments:
        try:
            moments = self.features.moments(cloud, self.slices.label_weight)
        except RunError as error:
            raise RunError(f"{error} (at t = {time:.6g}{self._furthest(state.M, self.frames(state))})") from None
        if not np.isfinite(moments.all).all():
            bad = self.grid.slices.start + np.flatnonzero(~np.isfinite(moments.by_slice).all(axis=1))
            index = self.comm.allreduce(int(bad[0]) if len(bad) else len(self.labels), op=MPI.MIN)
            raise RunError(
                f"values are no longer finite at t = {time:.6g}{self._name(index)}: lower discretization.tolerance or the "
                'learning rates, take more cells, or discretization.frame = "flow"'
            )
        return moments

    def moments(self, vector: Array, time: float) -> Array:
        """Collective. m_i over all ranks, shape (modes,)."""
        return self.evaluate(self.layout.views(vector), time).all

    def _furthest(self, M: Array, L: Array) -> str:
        """Collective. Names the slice in which |M| + |L| is largest (or their derivatives)."""
        size = np.abs(M).max(axis=1) + np.abs(L).max(axis=(1, 2))
        mine = (float(size.max(initial=-1.0)), self.grid.slices.start + (int(size.argmax()) if len(size) else 0))
        return self._name(self.comm.allreduce(mine, op=MPI.MAXLOC)[1])

    def _name(self, index: int) -> str:
        if index == len(self.labels):
            return ""
        return " in slice {} (a_0 = {:.4g}, r_0 = {:.4g})".format(index, *self.labels.nodes[index])

    def rates(self, time: float, vector: Array, out: Array) -> float:
        state, rate = self.layout.views(vector), self.layout.blocks(out)
        cloud = self.cloud(state)
        residual = self.stage.residual(self._evaluate(state, cloud, time).all, self.target)
        slices, p = state.M.shape
        flat = (slices, self.slices.weight.size)
        dv = self._beta.reshape(slices, p, int(np.prod(self._beta.shape[2:])))
        a, r = (rate[name].reshape(flat) if name in rate else None for name in ("a", "r"))
        drift(self.stage, self.features, cloud, residual, time, Rates(a, dv, r))
        if "M" not in rate:
            return inf
        fit = self.slices.transport.fit(state.q, self._beta)
        if self.grid.mesh_comm.size > 1:
            self.grid.mesh_comm.Allreduce(MPI.IN_PLACE, fit)
        dM, dL = frame_velocity(fit, p)
        rate["M"][...] = dM
        rate["Lambda"][...] = dL / self.scale
        inverse = np.linalg.inv(self.frames(state))
        frame = [dM, *(matrix.reshape(slices, p * p) for matrix in (dL, inverse))]
        transport = self.slices.transport
        transport.remainder(np.concatenate(frame, axis=1), self._beta)
        carried = ("q", "a", "r")
        fields = tuple(getattr(state, name) if name in rate else None for name in carried)
        fastest = transport.apply(self._beta, fields, tuple(rate.get(name) for name in carried))
        # The step at which the fastest remainder velocity crosses CFL / (2 k + 1) of a reference cell.
        return CFL / ((2 * self.mesh.degree + 1) * fastest) if fastest > 0 else inf

    def after_step(self, vector: Array) -> bool:
        changed = 0
        if self.options.limiter == "step" and "q" in self.layout.evolving:
            changed = self.slices.transport.limit(self.layout.views(vector).q, self.grid.mesh_comm)
        return self.options.limiter == "step" and bool(self.comm.allreduce(changed))

    def fastest(self, time: float, vector: Array) -> str:
        out = np.zeros(self.size)
        self.rates(time, vector, out)
        rate = self.layout.blocks(out)
        return self._furthest(rate["M"], self.scale * rate["Lambda"]) if "M" in rate else ""

    def observe(self, time: float, vector: Array) -> Observation:
        state = self.layout.views(vector)
        moments = self.evaluate(state, time)
        mass = (state.q * self.slices.weight).sum(axis=(1, 2))
        masses, M, L = self._by_label(mass, state)
        columns: dict[str, float | Array] = {**seen(self.view(state, moments)), "/slices/M": M, "/slices/L": L}
        return Observation(moments.all, columns, float(self.labels.weight @ masses), float(np.abs(masses - 1).max()))

    def view(self, state: State, moments: Moments) -> View:
        """What indicators look at."""
        slices, basis = self.slices, self.mesh.basis
        mesh = MeshView(
            q=state.q,
            carried=(state.a, state.r),
            L=state.Lambda,
            weight=slices.weight,
            label_weight=slices.label_weight,
            outer=self.mesh.outer,
            points=basis.points,
            point_weights=basis.weights,
            comm=self.grid.mesh_comm,
            moves="q" in self.layout.evolving,
        )
        labels = LabelsView(self.labels, self.grid.slices)
        return View(self.comm, self.modes, moments, self._nodes(state), labels, mesh=mesh)

    def profiles(self, vector: Array) -> Mapping[str, tuple[Rule, Array]]:
        return {}

    def _by_label(self, mass: Array, state: State) -> tuple[Array, Array, Array]:
        """Collective. Mass and frames of all slices: a few numbers each, on every rank."""
        p, here = self.problem.p, self.grid.slices
        total = np.zeros((len(self.labels), 1 + p + p * p))
        total[here.start : here.stop, 0] = mass
        if self.grid.mesh_comm.rank == 0:
            total[here.start : here.stop, 1 : 1 + p] = state.M
            total[here.start : here.stop, 1 + p :] = self.frames(state).reshape(len(here), p * p)
        total = self.comm.allreduce(total)
        return total[:, 0], total[:, 1 : 1 + p], total[:, 1 + p :].reshape(-1, p, p)

    def _cells(self) -> tuple[NDArray[np.int64], int]:
        """Natural numbers of this rank's cells, and how many there are in all."""
        topology = self.mesh.mesh.topology
        return topology.original_cell_index[: self.mesh.owned].astype(np.int64), topology.index_map(self.mesh.p).size_global

    def datasets(self) -> Mapping[str, Array | Field]:
        cells, count = self._cells()
        return slice_datasets(self.labels, self.grid, count, cells, self.slices.y, self.slices.weight)

    def _index(self) -> tuple[tuple[int, ...], NDArray[np.int64]]:
        """Whole shape (slices, cells, nodes) of a field, and the flat indices of this rank's part."""
        cells, count = self._cells()
        here = np.array(self.grid.slices, dtype=np.int64)
        index = (here[:, None, None] * count + cells[:, None]) * self.mesh.nodes + np.arange(self.mesh.nodes)
        return (len(self.labels), count, self.mesh.nodes), index

    def _frames_index(self, size: int) -> NDArray[np.int64]:
        """Flat indices of `size` numbers for each of this rank's slices, which all ranks of a mesh hold."""
        return np.array(self.grid.slices, dtype=np.int64)[:, None] * size + np.arange(size)

    def state(self, vector: Array) -> Mapping[str, Field]:
        state, (shape, index) = self.layout.views(vector), self._index()
        fields = {name: Field(shape, index, getattr(state, name)) for name in ("q", "a", "r")}
        first = slice(None) if self.grid.mesh_comm.rank == 0 else slice(0)
        p, slices = self.problem.p, len(self.labels)
        for name, size in (("M", p), ("Lambda", p * p)):
            fields[name] = Field((slices, size), self._frames_index(size)[first], getattr(state, name)[first])
        return fields

    def restarted(self, number: int, read: Reader) -> "AffineFlow":
        """Collective. The flow of stage `number` from a state that was kept in it."""
        index, p, here = self._index()[1], self.problem.p, len(self.grid.slices)
        q, a, r = (read(name, index) for name in ("q", "a", "r"))
        M, Lambda = read("M", self._frames_index(p)), read("Lambda", self._frames_index(p * p)).reshape(here, p, p)
        features = self.features.of(self.problem.stages[number].activation)
        return AffineFlow(self.problem, self.options, self.slices, features, State(q, a, r, M, Lambda), number)

    def snapshot(self, vector: Array) -> Mapping[str, Array | Field]:
        state, (shape, index) = self.layout.views(vector), self._index()
        q = state.q.copy()
        self.slices.transport.limit(q, self.grid.mesh_comm)
        here = self.grid.slices
        _, M, L = self._by_label(np.zeros(len(here)), state)
        fields = {name: Field(shape, index, values) for name, values in (("q", q), ("A", state.a), ("R", state.r))}
        return {**fields, "M": M, "L": L}


# Courant number of a step.  RK5 on upwind DG of degree 3 is stable to about 1.2 where the speed is uniform; the fastest
# nodes here are few, and what would grow there is caught by the error estimate.
CFL = 2.0
# Largest factor on the absolute tolerance in the tails.
LOOSEST = 1e4
