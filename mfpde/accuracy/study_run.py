"""Single runs at a given resolution, and what a study wants to know of them."""

from dataclasses import dataclass, field

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisation.resolution import Resolution
from mfpde.discretisations import discretisation_of
from mfpde.errors import RunError
from mfpde.evolution.flow import Interpolant, Profile, Step, loss
from mfpde.features.protocol import Features, named
from mfpde.interrupts import Interrupted
from mfpde.moments.linear import LinearFlow
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.problem.stage import stage_times
from mfpde.progress import Heartbeat
from mfpde.training.training import AnyFlow, train

Array = NDArray[np.float64]

# Records at which profiles are taken, and how many degrees beyond K the energy of the tail is summed.
PROFILES, BEYOND = 8, 8


@dataclass(frozen=True)
class Curve:
    """What one run says.

    Attributes:
        loss: E at the records, truncated to the modes of the run, shape (n,).
        tail: 1/2 sum of m_i^2 - 2 m_i h_i over modes beyond the truncation, shape (n,); 0 unless asked for.
        moments: m_i at the records, shape (n, modes).
        modes: (alpha, j) of each, one row for each, shape (modes, p + 1).
        steps: How many were accepted.
        profiles: By direction ("a", "b", "r", "y1", ..) its rule, and the moments as functions of it at some records.
    """

    loss: Array
    tail: Array
    moments: Array
    modes: NDArray[np.int64]
    steps: int = 0
    profiles: dict[str, Profile] = field(default_factory=dict)

    @property
    def corrected(self) -> Array:
        """E with the energy of the tail, exact for the run's own trajectories."""
        return self.loss + self.tail


class _Collector:
    """A witness that keeps a curve."""

    def __init__(
        self, problem: Problem, resolution: Resolution, records: int, with_tail: bool, with_profiles: bool, most: float
    ) -> None:
        self.problem, self.resolution = problem, resolution
        self.steps, self._most = 0, most
        self.loss: list[float] = []
        self.tail: list[float] = []
        self.moments: list[Array] = []
        self.modes = np.empty((0, 0), dtype=np.int64)
        self.profiles: dict[str, Profile] = {}
        self._with_tail = with_tail
        spaced = np.linspace(0, records - 1, min(PROFILES, records)).round().astype(int)[1:]
        self._wanted = set(spaced.tolist()) if with_profiles else set()
        self._wide: Features | None = None
        self._beyond = np.zeros(0, dtype=np.int64)

    def enter(self, flow: AnyFlow) -> None:
        self._wide = None
        self.modes = named(flow.modes)
        if self._with_tail and not isinstance(flow, LinearFlow):
            wide = flow.modes.widened(self.problem, BEYOND)
            self._wide = None if wide is None else wide.features(flow.comm, self.problem, flow.stage.activation)
            inside = set(map(tuple, self.modes.tolist()))
            further = [] if wide is None else np.column_stack((wide.alpha, wide.radial)).tolist()
            self._beyond = np.array([k for k, mode in enumerate(further) if tuple(mode) not in inside], dtype=np.int64)

    def record(self, flow: AnyFlow, step: Step, vector: Array) -> None:
        moments = flow.moments(vector, step.time)
        self.loss.append(float(loss(moments, flow.target, flow.beyond)))
        self.moments.append(moments.copy())
        tail = 0.0
        if self._wide is not None and not isinstance(flow, LinearFlow):
            wide = self._wide.moments(flow.nodes(vector).cloud, np.ones(1)).all[self._beyond]
            tail = 0.5 * float(wide @ wide)  # no difference of energies: what is left of E may be far smaller
            if self.problem.target.energy is not None:
                tail -= float(wide @ self._wide.modes.target_coefficients(self.problem.target)[self._beyond])
        self.tail.append(tail)
        if len(self.loss) - 1 in self._wanted and not isinstance(flow, LinearFlow):
            for name, (rule, values) in flow.profiles(vector).items():
                self.profiles.setdefault(name, (rule, []))[1].append(values)

    def stepped(self, flow: AnyFlow, step: Step, inside: Interpolant | None) -> None:
        self.steps, nodes = step.steps, self.resolution.nodes
        if self.steps > self._most:
            raise RunError(f"{self.steps} steps up to t = {step.time:.4g}")
        Heartbeat.beat(lambda: f"a study of {nodes} nodes is at t = {step.time:.4g}, step {step.steps}")


def run(
    problem: Problem,
    options: Discretization,
    resolution: Resolution,
    times: list[float],
    *,
    tail: bool = False,
    with_profiles: bool = False,
    most_steps: float = np.inf,
    comm: MPI.Intracomm = MPI.COMM_SELF,
) -> Curve:
    """Collective over `comm`, by default on this rank alone. One run.

    Args:
        problem: What to solve.
        options: The discretisation.
        resolution: How finely.
        times: Record times over all stages, ascending.
        tail: Whether to sum the energy beyond the truncation.
        with_profiles: Whether to keep the moments as functions of each direction; on one rank only.
        most_steps: Steps at the most; on one rank only.
        comm: The ranks that share the run.

    Raises:
        RunError: If the run cannot go on, or takes more steps.
    """
    flow = discretisation_of(problem, options, resolution).start(comm, problem, options, resolution)
    records = sum(len(own) for own in stage_times(problem.stages, times))
    collector = _Collector(problem, resolution, records, tail, with_profiles, most_steps)
    try:
        train(problem, flow, times, resolution.tolerance, collector)
    except Interrupted as error:  # its time is that of a study, which has no records
        raise Interrupted(error.number, when=" while the error was studied") from None
    curves = np.array(collector.loss), np.array(collector.tail), np.array(collector.moments)
    return Curve(*curves, collector.modes, collector.steps, collector.profiles)
