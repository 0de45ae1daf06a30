"""The mean-field flow along characteristics: nodes of constant mass that move with the neurons.

    v' = -xi_w A grad_v Psi(v, R),    A' = -xi_a Psi(v, R),    R' = -xi_w A dPsi/dr(v, R),
    m_i = sum_n Q_n A_n phi_i(v_n, R_n),    and with biases, on which Psi and phi_i then depend,    B' = -xi_b A dPsi/db

for nodes of any origin: the finite elements that follow the flow, random, Sobol' or Gauss particles, one neuron for each
label of a point start.  The masses Q_n are constant, so mass and positivity are exact and there is no Courant number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import RunError
from mfpde.evolution.drift import drift
from mfpde.evolution.flow import Field, InStage, Observation, OnRecord, Position, Reader, Step, Watch, loss
from mfpde.evolution.integrate import integrate
from mfpde.evolution.state import Layout
from mfpde.features.protocol import Basis, Features
from mfpde.neurons import Cloud, Nodes, Rates, on_sphere
from mfpde.problem.problem import Problem
from mfpde.quadrature.rules import Rule

Array = NDArray[np.float64]

# The weights of all nodes stand with the nodes.
ONE_SLICE = np.ones(1)


def checkpoint_nodes(read: Reader, problem: Problem, places: NDArray[np.int64], total: int) -> Nodes:
    """Collective. The nodes at `places` among `total`, of a state that was kept, see `LagrangianFlow.state`."""
    a, r, weight = (read(name, places) for name in ("a", "r", "weight"))
    v = read("v", _components(problem.p, places, total))
    return Nodes(a, v, r, weight, None if problem.b is None else read("b", places))


def _components(p: int, places: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Where v (p, n) of the nodes at `places` is kept."""
    return np.arange(p)[:, None] * total + places


def contributions(features: Features, nodes: Nodes) -> Array:
    """Collective. a_n phi_i(v_n, r_n) of this rank's neurons, shape (n, modes)."""
    b = None if nodes.b is None else nodes.b[:, None]
    v = np.ascontiguousarray(nodes.v.T)[:, :, None]
    one = Cloud(nodes.a[:, None], v, nodes.r[:, None], b, weight=np.ones(1))
    return features.moments(one, np.zeros(len(nodes.a))).by_slice


class LagrangianFlow(InStage):
    """The flow of this rank's nodes in one stage; a `StageFlow`. Collective to construct and to evaluate.

    Args:
        problem: What to solve; the same on all ranks.
        features: Features of the stage's activation, over all ranks.
        start: This rank's nodes.
        number: Number of the stage.
    """

    def __init__(self, problem: Problem, features: Features, start: Nodes, number: int = 0) -> None:
        self.problem, self.features, self.number = problem, features, number
        self.stage = problem.stages[number]
        self.comm: MPI.Intracomm = features.comm
        self.modes: Basis = features.modes
        self.target = self.modes.target_coefficients(problem.target)
        self.beyond = self.modes.beyond(problem.target)
        self.total = self.comm.allreduce(len(start.a))
        trains_a, trains_w, trains_b = self.stage.trains
        has_radius = self.comm.allreduce(bool(start.r.any()), op=MPI.LOR)
        evolves = {"a": trains_a, "v": trains_w, "r": trains_w and has_radius, "b": trains_b and start.b is not None}
        self.layout = Layout(start, tuple(name for name, does in evolves.items() if does))
        self._kept = features.room(1, len(start.a))
        self._unused = np.empty_like(start.v)

    @property
    def size(self) -> int:
        return self.layout.size

    def pack(self, vector: Array) -> None:
        self.layout.pack(vector)

    def nodes(self, vector: Array) -> Nodes:
        """Views of the state; on the sphere, copies that lie there."""
        now = self.layout.views(vector)
        return replace(now, **dict(zip("vr", on_sphere(now.v, now.r), strict=True))) if self.stage.on_sphere else now

    def scales(self) -> Array:
        """v is measured in standard deviations of its initial law, so that a tolerance means the same at every d."""
        scale = np.ones(self.size)
        blocks = self.layout.blocks(scale)
        if "v" in blocks:
            blocks["v"][...] = self.problem.w.scale or 1.0
        return scale

    def rates(self, time: float, vector: Array, out: Array) -> float:
        cloud, rate = self.nodes(vector).cloud, self.layout.blocks(out)
        residual = self.stage.residual(self._moments(cloud, time, self._kept), self.target)
        a, r, b = (rate[name][None] if name in rate else None for name in ("a", "r", "b"))
        velocity = Rates(a, rate.get("v", self._unused)[None], r, b)
        drift(self.stage, self.features, cloud, residual, time, velocity, self._kept)
        return inf

    def _moments(self, cloud: Cloud, time: float, kept: Array | None = None) -> Array:
        try:
            moments = self.features.moments(cloud, ONE_SLICE, kept).all
        except RunError as error:
            raise RunError(f"{error} (at t = {time:.6g})") from None
        if not np.isfinite(moments).all():
            raise RunError(f"values are no longer finite at t = {time:.6g}: lower discretization.tolerance or the learning rates")
        return moments

    def moments(self, vector: Array, time: float) -> Array:
        """Collective. m_i over all ranks, shape (modes,)."""
        return self._moments(self.nodes(vector).cloud, time)

    def measure(self, vector: Array, time: float) -> tuple[float, Array]:
        """Collective. The loss and the moments."""
        m = self.moments(vector, time)
        return float(loss(m, self.target, self.beyond)), m

    def penalty(self, vector: Array) -> float:
        """Collective. What the regularised loss adds to E."""
        return float(self.comm.allreduce(self.stage.penalty(self.nodes(vector).cloud)))

    def follow(self, times: Sequence[float], tolerance: float, watch: Watch | OnRecord, restart: Position | None = None) -> Step:
        return integrate(self, times, tolerance, watch, restart=restart)

    def next_stage(self, number: int, vector: Array) -> "LagrangianFlow":
        return LagrangianFlow(self.problem, *self._handed_on(number, vector), number)

    def _handed_on(self, number: int, vector: Array) -> tuple[Features, Nodes]:
        """Features and nodes at the start of a stage."""
        stage, nodes = self.problem.stages[number], self.nodes(vector)
        a = np.zeros_like(nodes.a) if stage.reset_a else nodes.a.copy()
        b = None if nodes.b is None else nodes.b.copy()
        return self.features.of(stage.activation), Nodes(a, nodes.v.copy(), nodes.r.copy(), nodes.weight, b)

    def restarted(self, number: int, read: Reader) -> "LagrangianFlow":
        return LagrangianFlow(self.problem, *self._restarted_parts(number, read), number)

    def _restarted_parts(self, number: int, read: Reader) -> tuple[Features, Nodes]:
        """Collective. Features and nodes of a stage in which a state was kept."""
        nodes = checkpoint_nodes(read, self.problem, self._places(), self.total)
        return self.features.of(self.problem.stages[number].activation), nodes

    def _places(self) -> NDArray[np.int64]:
        """Collective. Numbers of this rank's nodes among all of them, however many ranks divide them."""
        here = len(self.layout.initial.a)
        first = int(self.comm.scan(here)) - here
        return np.arange(first, first + here)

    def state(self, vector: Array) -> Mapping[str, Field]:
        now, places, p = self.layout.views(vector), self._places(), self.problem.p
        names = ("a", "r", "weight", *(() if now.b is None else ("b",)))
        scalars = {name: Field((self.total,), places, getattr(now, name)) for name in names}
        return {**scalars, "v": Field((p * self.total,), _components(p, places, self.total), now.v)}

    def observe(self, time: float, vector: Array) -> Observation:
        return Observation(self.moments(vector, time))

    def profiles(self, vector: Array) -> Mapping[str, tuple[Rule, Array]]:
        return {}

    def datasets(self) -> Mapping[str, Array | Field]:
        return {}

    def snapshot(self, vector: Array) -> Mapping[str, Array | Field]:
        return {}
