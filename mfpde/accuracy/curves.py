"""Single runs at a given resolution, and what a study wants to know of them."""

from dataclasses import dataclass, field, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.elements.resolution import Panels, Resolution
from mfpde.elements.rules import Rule, in_directions
from mfpde.evolution.flow import Interpolant, StageFlow, Step, loss
from mfpde.evolution.following import FollowingFlow
from mfpde.evolution.lagrangian import contributions
from mfpde.evolution.start import following_flow
from mfpde.features.features import Features
from mfpde.features.modes import hermite_modes
from mfpde.problem.defaults import largest_degree
from mfpde.problem.problem import Problem
from mfpde.problem.stages import stage_times
from mfpde.progress import Heartbeat
from mfpde.training.training import train

Array = NDArray[np.float64]

# Records at which profiles are taken, and how many degrees beyond K the energy of the tail is summed.
PROFILES, BEYOND = 8, 8


@dataclass(frozen=True)
class Curve:
    """What one run says.

    Attributes:
        loss: E at the records, truncated to the modes of the run, shape (n,).
        tail: 1/2 sum of m_i^2 - 2 m_i h_i over modes beyond the truncation, shape (n,); 0 unless asked for.
        profiles: By direction ("a", "b", "r", "y1", ..) its rule, and the moments as functions of it at some records.
    """

    loss: Array
    tail: Array
    profiles: dict[str, tuple[Rule, list[Array]]] = field(default_factory=dict)

    @property
    def corrected(self) -> Array:
        """E with the energy of the tail, exact for the run's own trajectories."""
        return self.loss + self.tail


class _Collector:
    """A witness that keeps a curve."""

    def __init__(self, problem: Problem, resolution: Resolution, records: int, with_tail: bool, with_profiles: bool) -> None:
        self.problem, self.resolution = problem, resolution
        self.loss: list[float] = []
        self.tail: list[float] = []
        self.profiles: dict[str, tuple[Rule, list[Array]]] = {}
        self._with_tail = with_tail
        spaced = np.linspace(0, records - 1, min(PROFILES, records)).round().astype(int)[1:]
        self._wanted = set(spaced.tolist()) if with_profiles else set()
        self._wide: Features | None = None

    def enter(self, flow: StageFlow) -> None:
        self._wide = None
        if self._with_tail and isinstance(flow, FollowingFlow):
            K, J = self.resolution.hermite_degree + BEYOND, self.resolution.radial_degree + 1
            if (known := self.problem.target.known_degree) is not None:
                K = min(K, known)
            most = largest_degree(self.problem.p, self.problem.d, J)
            K = max(min(K, most), self.resolution.hermite_degree)
            modes = hermite_modes(self.problem.p, K, J, self.problem.d)
            self._wide = Features.of_problem(flow.comm, modes, self.problem, flow.stage.activation)

    def record(self, flow: StageFlow, step: Step, vector: Array) -> None:
        moments = flow.moments(vector, step.time)
        self.loss.append(float(loss(moments, flow.target, flow.beyond)))
        tail = 0.0
        if self._wide is not None and isinstance(flow, FollowingFlow):
            wide = self._wide.moments(flow.nodes(vector).cloud, np.ones(1)).all
            tail = 0.5 * float(wide @ wide - moments @ moments)
            if self.problem.target.energy is not None:
                tail -= float(wide @ self._wide.modes.target_coefficients(self.problem.target) - moments @ flow.target)
        self.tail.append(tail)
        if len(self.loss) - 1 in self._wanted and isinstance(flow, FollowingFlow):
            for name, (rule, values) in profiles(flow, vector).items():
                self.profiles.setdefault(name, (rule, []))[1].append(values)

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        nodes = self.resolution.nodes
        Heartbeat.beat(lambda: f"a study of {nodes} nodes is at t = {step.time:.4g}, step {step.steps}")


def run(
    problem: Problem,
    resolution: Resolution,
    times: list[float],
    *,
    tail: bool = False,
    with_profiles: bool = False,
    comm: MPI.Intracomm = MPI.COMM_SELF,
) -> Curve:
    """Collective over `comm`, by default on this rank alone. One run.

    Args:
        problem: What to solve.
        resolution: How.
        times: Record times over all stages, ascending.
        tail: Whether to sum the energy beyond the truncation.
        with_profiles: Whether to keep the moments as functions of each direction; on one rank only.
        comm: The ranks that share the run.

    Raises:
        RunError: If the run cannot go on.
    """
    flow = following_flow(comm, problem, resolution)
    records = sum(len(own) for own in stage_times(problem.stages, times))
    collector = _Collector(problem, resolution, records, tail, with_profiles)
    train(problem, flow, times, resolution.tolerance, collector)
    return Curve(np.array(collector.loss), np.array(collector.tail), collector.profiles)


def profiles(flow: FollowingFlow, vector: Array) -> dict[str, tuple[Rule, Array]]:
    """The moments as functions of each direction, the others integrated out, shape (nodes of the direction, modes).

    For a flow on one rank, which holds all nodes.
    """
    nodes, elements = flow.nodes(vector), flow.elements
    terms = contributions(flow.features, nodes)
    cells = elements.cells
    ordered = np.empty((*elements.shape, terms.shape[1]))
    ordered[:, cells.natural] = terms.reshape(ordered.shape)
    rules = elements.labels.rules | {f"y{q + 1}": rule for q, rule in enumerate(cells.rules)}
    tensor = in_directions(ordered, tuple(rules.values()), len(cells.rules))
    found = {}
    for axis, (name, rule) in enumerate(rules.items()):
        values = np.moveaxis(tensor, axis, 0)
        for other in reversed([r for k, r in enumerate(rules.values()) if k != axis]):
            values = np.tensordot(values, other.weights, axes=(values.ndim - 2, 0))
        found[name] = (rule, values)
    return found


def with_direction(resolution: Resolution, name: str, panels: Panels) -> Resolution:
    """The resolution with other panels of one direction."""
    if name in resolution.labels:
        return replace(resolution, **{name: panels})  # type: ignore[arg-type]
    q = int(name[1:]) - 1
    return replace(resolution, y=(*resolution.y[:q], panels, *resolution.y[q + 1 :]))
