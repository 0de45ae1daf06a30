"""What time integrators, stages and records need of a flow, whatever its unknowns are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.features.protocol import Basis, Features
from mfpde.neurons import Nodes
from mfpde.problem.stage import Stage
from mfpde.quadrature.rules import Rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """Where an integration stands: time, accepted and rejected steps, length of the last step."""

    time: float = 0.0
    steps: int = 0
    rejected: int = 0
    length: float = 0.0


@dataclass(frozen=True)
class Position:
    """Where an integration stands between two steps, with all that its method remembers there: the same steps follow.

    Attributes:
        step: The last one.
        proposed: Length of the next step, before an end or a record shortens it.
        longest: The longest stable step that the right-hand side has named, the least over all ranks.
        method: The time integrator.
    """

    step: Step
    proposed: float
    longest: float
    method: str


# The state at a time within the last step.
Interpolant = Callable[[float], Array]

# The rule of a direction, and functions of it at its nodes at some times.
Profile = tuple[Rule, list[Array]]


OnRecord = Callable[[Step, Array], None]


class Watch(Protocol):
    """Who is told of an integration, on all ranks alike."""

    def record(self, step: Step, vector: Array) -> None:
        """Collective. A record time is reached: the state's flat vector, read-only."""

    def stepped(self, step: Step, inside: Interpolant | None) -> None:
        """Collective. A step is done; `inside` gives the state within it, where the method has an interpolant: then the step
        is told before the records in it."""

    def checkpoint(self, position: Position, vector: Array, urgent: bool) -> None:
        """Collective. A place from which the integration can go on; `urgent` if it is the last one, because a signal ends the
        run, or because the end of the times shortens the next step."""


@dataclass(frozen=True)
class Recording:
    """A watch that is a function of the record, and perhaps one of the progress."""

    on_record: OnRecord
    on_step: Callable[[Step], None] = lambda step: None

    def record(self, step: Step, vector: Array) -> None:
        self.on_record(step, vector)

    def stepped(self, step: Step, inside: Interpolant | None) -> None:
        self.on_step(step)

    def checkpoint(self, position: Position, vector: Array, urgent: bool) -> None:
        pass


def as_watch(watch: Watch | OnRecord) -> Watch:
    """A watch; a function is one that is called at the records."""
    return Recording(watch) if callable(watch) else watch


class Flow(Protocol):
    """An ordinary differential equation whose unknowns are spread over ranks, as one flat vector on each."""

    @property
    def comm(self) -> MPI.Intracomm:
        """All ranks."""

    @property
    def size(self) -> int:
        """Number of unknowns on this rank."""

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times between which the right-hand side is smooth, ascending."""

    def pack(self, vector: Array) -> None:
        """Writes the state at t = 0 into `vector`, shape (size,)."""

    def rates(self, time: float, vector: Array, out: Array) -> float:
        """Collective. Writes the time derivative to `out`; returns the longest stable step as this rank sees it, or inf."""

    def scales(self) -> Array:
        """The natural size of each unknown, in which an absolute tolerance is measured, shape (size,)."""

    def after_step(self, vector: Array) -> bool:
        """Collective. May change the state after a step (a limiter); says whether any rank did."""

    def unit_of_time(self, time: float) -> float:
        """What a change of order 1 takes at `time`; inf where nothing moves."""

    def longest_step(self, time: float) -> float:
        """The longest step from `time` that the right-hand side's own dependence on time allows, whatever the state; may be inf.

        The same on all ranks: a step that is longer could miss what happens within it."""

    def fastest(self, time: float, vector: Array) -> str:
        """Collective. Names what moves fastest, for messages; may be empty."""


@dataclass(frozen=True)
class Field:
    """A distributed array: its whole shape, and the flat indices and values of this rank's part."""

    shape: tuple[int, ...]
    index: NDArray[np.int64]
    values: Array


# Reads this rank's values of a block of a kept state, by their places in the whole block. Collective.
Reader = Callable[[str, NDArray[np.int64]], Array]


@dataclass(frozen=True)
class Observation:
    """What is recorded of a state.

    Attributes:
        moments: m_i over all ranks, shape (modes,).
        columns: Further rows of datasets, by path; the same on all ranks. What other states of the run have, and this one does
            not, is nan in its row.
        mass: Mass of the density; 1 for neurons whose weights sum to 1.
        mass_error: Largest |mass - 1| of a slice.
    """

    moments: Array
    columns: Mapping[str, float | Array] = field(default_factory=dict)
    mass: float = 1.0
    mass_error: float = 0.0


class StageFlow(Flow, Protocol):
    """The flow of one stage of a training."""

    @property
    def number(self) -> int:
        """Number of the stage."""

    @property
    def stage(self) -> Stage:
        """Activation and learning rates."""

    @property
    def modes(self) -> Basis:
        """The basis over which the moments are."""

    @property
    def target(self) -> Array:
        """h_i over the modes, shape (modes,)."""

    @property
    def beyond(self) -> float:
        """1/2 of the energy of h* beyond the modes, which is part of E; 0 for polynomials."""

    def moments(self, vector: Array, time: float) -> Array:
        """Collective. m_i over all ranks, shape (modes,)."""

    def observe(self, time: float, vector: Array) -> Observation:
        """Collective. What is recorded of a state."""

    def datasets(self) -> Mapping[str, Array | Field]:
        """Collective. What is written once, when the stage begins, by path."""

    def snapshot(self, vector: Array) -> Mapping[str, Array | Field]:
        """Collective. The neurons, or nothing where there are none to show, by name."""

    def follow(self, times: Sequence[float], tolerance: float, watch: Watch | OnRecord, restart: Position | None = None) -> Step:
        """Collective. Goes along the flow by the method that suits it; arguments as for `evolution.integrate`."""

    def penalty(self, vector: Array) -> float:
        """Collective. What the regularised loss adds to E; 0 without terms that have a potential."""

    def next_stage(self, number: int, vector: Array) -> "StageFlow":
        """Collective. The flow of stage `number` of the problem, from this one's state `vector`."""


class DensityFlow(StageFlow, Protocol):
    """A flow of neurons, rather than of moments alone."""

    @property
    def features(self) -> Features:
        """Features of the stage's activation, over all ranks."""

    def nodes(self, vector: Array) -> Nodes:
        """This rank's neurons, with weights that sum to 1 over all ranks."""

    def state(self, vector: Array) -> Mapping[str, Field]:
        """Collective. The whole state, as a checkpoint keeps it: flat blocks in an order that does not depend on the ranks."""

    def profiles(self, vector: Array) -> Mapping[str, tuple[Rule, Array]]:
        """The moments as functions of each direction that a run can be refined in, the others integrated out: its rule, and
        values at its nodes, shape (nodes, modes). Of a flow on one rank; nothing where there are no such directions."""

    def next_stage(self, number: int, vector: Array) -> "DensityFlow":
        """Collective. Likewise; `by_moments` stages are not asked for."""

    def restarted(self, number: int, read: Reader) -> "DensityFlow":
        """Collective. The flow of stage `number` from a state that was kept in it."""


class InStage:
    """What flows of one stage share that move as fast as its learning rates say and need nothing between steps."""

    stage: Stage

    @property
    def breaks(self) -> tuple[float, ...]:
        return self.stage.breaks

    def unit_of_time(self, time: float) -> float:
        return self.stage.unit_of_time(time)

    def longest_step(self, time: float) -> float:
        return self.stage.longest_step(time)

    def after_step(self, vector: Array) -> bool:
        return False

    def fastest(self, time: float, vector: Array) -> str:
        return ""


def packed(flow: Flow) -> Array:
    """The flat vector of a flow's start."""
    vector = np.empty(flow.size)
    flow.pack(vector)
    return vector


def loss(moments: Array, target: Array, beyond: float = 0.0) -> Array:
    """E = 1/2 sum_i (m_i - h_i)^2 over the last axis: Parseval's identity, truncated to the modes; and 1/2 of the energy of h*
    beyond them."""
    return np.asarray(0.5 * np.square(moments - target).sum(axis=-1) + beyond)
