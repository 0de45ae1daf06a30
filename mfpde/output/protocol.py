"""What is told of a run: its outputs, such as the result file, checkpoints, pictures, tables, or one of a user's own.

    begin(run)  enter record record ..  enter record ..  finish(summary)
    begin(run)  enter record ..  abandon()  begin(run)  enter record ..  finish(summary)     the accuracy took a second pass

All outputs are told the same in the same order, on all ranks.  A run that goes on from a checkpoint tells what follows it.  One
that cannot go on, or that a signal ends, tells no end: what has been recorded until then is all that there is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.accuracy.to_accuracy import Assessment, Planned
from mfpde.discretisations import discretisation_of, resolution_of
from mfpde.errors import InputError
from mfpde.evolution.flow import DensityFlow, Interpolant, StageFlow, Step
from mfpde.output.checkpoint import Checkpoint
from mfpde.parallel import together
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.training.training import Place

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A run that begins: one pass through all stages.

    Attributes:
        comm: All ranks.
        problem, config: What is solved, and how it was asked for.
        path: Path of the result file, beside which others lie; None if the result is in memory alone.
        flow: First stage at its start: `flow.modes`, `flow.target`, and `flow.beyond`, the part of E beyond the modes.
        times: Times of the records, ascending. Where a stage ends and another begins there are two, see `stage_times`.
        correction: What is added to E of the modes at each record, shape (records,); None if no error is estimated.
        planned: How the resolution came about; None if it was given.
        restart: The checkpoint that the run goes on from: records before it are in its file; None from t = 0 on.
    """

    comm: MPI.Intracomm
    problem: Problem
    config: Config
    path: Path | None
    flow: StageFlow
    times: Sequence[float]
    correction: Array | None = None
    planned: Planned | None = None
    restart: Checkpoint | None = None

    @property
    def discretisation(self) -> str:
        """The name of the discretisation that carries the density."""
        options = self.config.discretization
        resolution = resolution_of(self.problem, options) if self.planned is None else self.planned.plan.resolution
        return discretisation_of(self.problem, options, resolution).name

    @property
    def result(self) -> Path:
        """The result file.

        Raises:
            InputError: If the result is in memory alone.
        """
        if self.path is None:
            raise InputError("outputs: one needs the result file, and the result is in memory alone; allowed: with save")
        return self.path

    def beside(self, ending: str) -> Path:
        """The file NAME`ending` beside the result NAME.h5; raises as `result` does."""
        return self.result.with_name(f"{self.result.stem}{ending}")


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        time, loss: At the last record; `first_loss` at the first.
        answer: Its estimated error; None if none was asked for.
        mass_error: Largest |mass - 1| of a slice over all records.
        steps, rejected: Time steps.
        unknowns: Numbers that evolve, over all ranks.
        wall_time: In seconds, from the configuration that is read to the file that is closed: without starting Python and MPI.
        warnings: Advice about what the run did not resolve.
        beyond: The part of the loss that is the energy of the target beyond the largest Hermite degree; 0 for polynomials.
        files: What the outputs of the configuration have written beside the result, by their names.
        rows: Further lines that close the command, with their names.
    """

    time: float
    first_loss: float
    loss: float
    answer: Assessment | None
    mass_error: float
    steps: int
    rejected: int
    unknowns: int
    wall_time: float
    warnings: tuple[str, ...]
    beyond: float = 0.0
    files: dict[str, Path] = field(default_factory=dict)
    rows: tuple[tuple[str, str], ...] = ()


class Output:
    """Something that is written during a run; all methods do nothing, and an output has those that it needs.

    They are called on all ranks alike.  What one of them raises on any rank ends the run on all of them, with its reason.
    """

    def begin(self, run: Run) -> None:
        """Collective. A run begins, or after `abandon` a finer one: of that no record has been told."""

    def enter(self, flow: StageFlow) -> None:
        """Collective. A stage begins, or goes on from a checkpoint."""

    def record(self, flow: StageFlow, step: Step, vector: Array) -> None:
        """Collective. A record time is reached.

        Args:
            flow: Flow of the stage.
            step: Time and counts since the start of the training.
            vector: The state, read-only, shape (flow.size,); `flow.observe(step.time, vector)` says what is recorded of it.
        """

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        """Collective. A step is done; `inside` gives the state within it, if the method has an interpolant."""

    def checkpoint(self, flow: DensityFlow, place: Place, vector: Array, urgent: bool) -> None:
        """Collective. A place between two steps from which the run can go on, see `mfpde.evolution.flow.Watch.checkpoint`."""

    def abandon(self) -> None:
        """Collective. The run so far is given up: what was told since `begin` is void. Another one begins."""

    def finish(self, summary: Summary) -> Path | None:
        """Collective. The run has come to its end, and its result file is complete.

        Returns:
            The file that was written, for the lines that close the command; None if there is none.
        """
        return None


class Outputs:
    """Several outputs as one: each event is told to all of them in their order, and a failure on any rank is one on all.

    Raises:
        InputError: If one of them is no `Output`.
    """

    def __init__(self, comm: MPI.Intracomm, members: Sequence[Output]) -> None:
        for member in members:
            if not isinstance(member, Output):
                raise InputError(f"outputs: {type(member).__name__} is no output; allowed: classes derived from mfpde.Output")
        self.comm, self.members = comm, tuple(members)
        # Steps and records are many: only those that do something then are told of them.
        names = ("enter", "record", "stepped", "checkpoint")
        self._heard = {name: [m for m in members if getattr(type(m), name) is not getattr(Output, name)] for name in names}

    def begin(self, run: Run) -> None:
        self._tell(self.members, lambda member: member.begin(run))

    def enter(self, flow: StageFlow) -> None:
        self._tell(self._heard["enter"], lambda member: member.enter(flow))

    def record(self, flow: StageFlow, step: Step, vector: Array) -> None:
        self._tell(self._heard["record"], lambda member: member.record(flow, step, vector))

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        self._tell(self._heard["stepped"], lambda member: member.stepped(flow, step, inside))

    def checkpoint(self, flow: DensityFlow, place: Place, vector: Array, urgent: bool) -> None:
        self._tell(self._heard["checkpoint"], lambda member: member.checkpoint(flow, place, vector, urgent))

    def abandon(self) -> None:
        self._tell(self.members, lambda member: member.abandon())

    def finish(self, summary: Summary) -> list[Path | None]:
        """Collective. What each of them has written."""
        return self._tell(self.members, lambda member: member.finish(summary))

    def _tell[T](self, members: Sequence[Output], event: Callable[[Output], T]) -> list[T]:
        return [together(self.comm, partial(event, member)) for member in members]
