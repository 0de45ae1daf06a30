"""What a run writes: history, frames, density snapshots (the contract of the HDF5 file)."""

import json
import time
from itertools import accumulate
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import mfpde
from mfpde.accuracy.to_accuracy import Answer
from mfpde.evolution.entropy import Entropy, has_entropy
from mfpde.evolution.flow import DensityFlow, Field, Interpolant, Observation, StageFlow, Step, loss
from mfpde.evolution.indicators import warnings
from mfpde.evolution.mean_field import LOBATTO
from mfpde.output import checkpoint
from mfpde.output.checkpoint import Checkpoint
from mfpde.output.sink import Sink
from mfpde.parallel import on_first
from mfpde.petsc import event
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.problem.stages import stage_times
from mfpde.progress import Progress
from mfpde.training.training import Mark

Array = NDArray[np.float64]

# Indicators of what an estimated error already counts.
ESTIMATED = ("label_error", "top_modes")


class Recorder:
    """Writes the records and snapshots of a training to a result file. Collective throughout.

    Args:
        file: To write to.
        problem: That is solved.
        flow: Of the first stage, at its start.
        config: Of the run.
        progress: Told of every step.
        correction: What is added to E at each record for the modes beyond the truncation, shape (records,).
        kept: The checkpoint that the run goes on from: what its file holds up to there is taken over.

    Attributes:
        loss: E at the last record.
        losses: E of the modes of the run, without a correction, at all records.
        first_loss: E at the first one.
        beyond: The part of E that is the energy of the target beyond the modes.
        mass_error: Largest |mass - 1| of a slice over all records.
        warned: Advice given so far, by indicator.
    """

    def __init__(
        self,
        file: Sink,
        problem: Problem,
        flow: StageFlow,
        config: Config,
        progress: Progress | None = None,
        correction: Array | None = None,
        kept: Checkpoint | None = None,
    ) -> None:
        self.file = file
        self.started = time.monotonic()
        self.loss = self.first_loss = float("nan")
        self.mass_error = 0.0
        self.losses: list[float] = []
        self.warned: dict[str, str] = {}
        self._columns: dict[str, Any] = {}
        self._first, self._target, self.beyond = flow, flow.target, flow.beyond
        self._entropy = Entropy(flow.comm, problem, flow.modes) if has_entropy(problem) else None
        self._regularised = any(stage.regularised for stage in problem.stages)
        self._correlation = not all(stage.interaction for stage in problem.stages)
        self._times = config.history_times if kept is None else kept.times(config)
        self._due = config.snapshot_times if kept is None else kept.later(config.snapshot_times)
        self._taken, self._steps = 0, 0
        self._every, self._kept = config.output.checkpoint, time.monotonic()
        self._written: set[str] = set()
        self._slack = 1e-9 * config.final_time
        self._progress = progress
        self._estimated = correction is not None
        self._correction = iter(() if correction is None else correction.tolist())
        self._resumed: Checkpoint | None = None
        self._describe(problem, flow, config)
        if kept is not None:
            self._take_over(kept)

    def _describe(self, problem: Problem, flow: StageFlow, config: Config) -> None:
        self.file.attributes(
            {
                "version": mfpde.__version__,
                "config": config.to_toml(),
                "dimension": problem.d,
                "polynomial": problem.target.polynomial,
                "activation": problem.stages[0].activation.text,
                "degree": 0 if problem.w.is_point else problem.numbers(config.discretization).degree,
            }
        )
        self.file.dataset("/modes/alpha", flow.modes.alpha)
        self.file.dataset("/modes/radial", flow.modes.radial)
        self.file.dataset("/target/coefficients", flow.target)
        if problem.target.energy is not None:
            self.file.attributes({"energy": problem.target.energy, "beyond": flow.beyond}, "/target")
        self._describe_stages(problem)

    def _describe_stages(self, problem: Problem) -> None:
        stages = problem.stages
        counts = [len(times) for times in stage_times(stages, self._times)]
        columns = {
            "start": [stage.start for stage in stages],
            "duration": [stage.duration for stage in stages],
            "average": [stage.average for stage in stages],
            "reset_a": [int(stage.reset_a) for stage in stages],
            # Its first row of the history; the row before has the same time, and belongs to the stage before.
            "first_record": [0, *accumulate(counts[:-1])],
        }
        for name, values in columns.items():
            self.file.dataset(f"/stages/{name}", np.array(values))
        texts: dict[str, list[str]] = {
            "xi_a": [stage.xi_a.text for stage in stages],
            "xi_w": [stage.xi_w.text for stage in stages],
        }
        if problem.b is not None:
            texts["xi_b"] = [stage.xi_b.text for stage in stages]
        for name, words in {**texts, "activation": [stage.activation.text for stage in stages]}.items():
            self.file.dataset(f"/stages/{name}", np.array(words, dtype=h5py.string_dtype()))

    def _take_over(self, kept: Checkpoint) -> None:
        """Collective. What the file of a checkpoint holds up to there."""
        self._write_once(self._first)
        self._columns_of_first()
        raw, columns = on_first(
            self.file.comm,
            lambda: (checkpoint.truncated_losses(kept, self._target, self.beyond), checkpoint.last_columns(kept)),
        )
        losses = np.array([value + next(self._correction, 0.0) for value in raw.tolist()])
        self._columns.update({path: value for path, value in columns.items() if path in self._columns})
        size = kept.path.stat().st_size if self.file.comm.rank == 0 else 0
        further = {"/history/regularised_loss": self._regularised, "/history/correlation": self._correlation}
        new = [path for path, wanted in further.items() if wanted and path not in columns]
        keeps = self._every is not False
        self.file.change(lambda file: checkpoint.take_over(kept, file, losses, self._target, new, keeps), size)
        self.losses, self.first_loss, self.loss = raw.tolist(), float(losses[0]), float(losses[-1])
        self.started -= kept.wall_time
        self.mass_error, self.warned = kept.mass_error, dict(kept.warned)
        self._taken, self._steps, self._resumed = kept.snapshots, kept.steps, kept

    def keep(self, flow: DensityFlow, mark: Mark, vector: Array, urgent: bool) -> None:
        """Collective. Writes a checkpoint if it is urgent, or time for one."""
        if self._every is False or not self.losses:
            return
        if not (urgent or flow.comm.bcast(time.monotonic() - self._kept >= self._every)):
            return
        numbers = {
            "records": len(self.losses),
            "field_steps": self._steps,
            "snapshots": self._taken,
            "wall_time": time.monotonic() - self.started,
            "mass_error": self.mass_error,
            "warned": json.dumps(self.warned),
        }
        with event("output"):
            checkpoint.keep(self.file, flow, mark, vector, self._entropy, numbers)
            self.file.publish()
        self._kept = time.monotonic()

    def enter(self, flow: StageFlow) -> None:
        """Collective. A stage begins, or goes on: what it has to say is written, unless a stage before has said it."""
        if self._entropy is not None:
            self._entropy.enter(flow.stage)
            if self._resumed is not None:
                kept, self._resumed = self._resumed, None
                self._entropy.restore(kept.kept(flow.comm).read, kept.entropy)
        self._write_once(flow)

    def _write_once(self, flow: StageFlow) -> None:
        for path, values in flow.datasets().items():
            if path not in self._written:
                self._write(path, values)
                self._written.add(path)

    def _write(self, path: str, values: Array | Field) -> None:
        if isinstance(values, Field):
            self.file.field(path, values.shape, values.index, values.values)
        else:
            self.file.dataset(path, values)

    def record(self, flow: StageFlow, step: Step, vector: Array) -> None:
        """Collective. One row of the history; a snapshot when one is due."""
        with event("output"):
            penalty = flow.penalty(vector) if flow.stage.regularised else 0.0
            self.write(step, flow.observe(step.time, vector), penalty)
        while self._due and step.time >= self._due[0] - self._slack:
            if not self._snapshot(flow, step.time, vector):
                break
            self._due.pop(0)

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        """Collective. Keeps the mean field within the step: with it, any neuron can be followed after the run."""
        if inside is not None:
            times = step.time - step.length * (1 - LOBATTO)
            moments = np.array([flow.moments(inside(time), time) for time in times])
            self.file.record({"/field/time": times, "/field/moments": moments})
            self._steps += 1
            if self._entropy is not None:
                self._entropy.stepped(times, moments)
        if self._progress is not None:
            self._progress.update(step.time, self.loss, step.steps)

    def write(self, step: Step, seen: Observation, penalty: float = 0.0) -> None:
        """Collective. One row of the history; `penalty` is what a regularised loss adds to E."""
        self._columns_of_first()
        self._columns.update(seen.columns)
        columns = dict(self._columns)
        self.losses.append(float(loss(seen.moments, self._target, self.beyond)))
        self.loss = self.losses[-1] + next(self._correction, 0.0)
        if self.first_loss != self.first_loss:
            self.first_loss = self.loss
        if self._entropy is not None:
            columns["/history/entropy"] = self._entropy(step.time)
        if self._regularised:
            columns["/history/regularised_loss"] = self.loss + penalty
        if self._correlation:
            columns["/history/correlation"] = float(seen.moments @ self._target)
        self.mass_error = max(self.mass_error, columns.pop("/history/mass_error"))
        self.file.record(
            {
                "/history/time": step.time,
                "/history/loss": self.loss,
                "/history/coefficients": seen.moments,
                "/history/steps": step.steps,
                "/history/wall_time": time.monotonic() - self.started,
                **columns,
            }
        )
        history = (path for path in seen.columns if path.startswith("/history/"))
        values = {path.rpartition("/")[2]: float(seen.columns[path]) for path in history}
        for name, advice in warnings(values).items():
            if name not in self.warned and not (self._estimated and name in ESTIMATED):
                self.warned[name] = f"from t = {step.time:.4g} on, {name} = {values[name]:.2g}: {advice}"

    def _columns_of_first(self) -> None:
        """Rows have all columns from the first one on, whatever the first stage has to say."""
        if not self._columns:
            vector = np.empty(self._first.size)
            self._first.pack(vector)
            self._columns.update(self._first.observe(0.0, vector).columns)

    def error(self, answer: Answer) -> None:
        """Collective. The estimated error of E at every record, and how it came about."""
        found = answer.estimate
        self.file.publish()  # the records, to which the errors belong
        for name, values in {"estimate": found.total, **found.parts}.items():
            self.file.dataset(f"/error/{name}", values)
        self.file.attributes({"accuracy": found.wanted, "accuracy_reached": found.reached}, "/error")
        texts = [str(run.resolution) for run in answer.passes]
        seconds = [(run.study_seconds, run.main_seconds, run.check_seconds) for run in answer.passes]
        self.file.attributes({"passes": len(texts), "resolutions": texts, "seconds": seconds}, "/error")

    def _snapshot(self, flow: StageFlow, when: float, vector: Array) -> bool:
        """Collective. Writes the density, if the flow has one."""
        fields = flow.snapshot(vector)
        if not fields:
            return False
        group = f"/slices/snapshots/{self._taken:04d}"
        for name, values in fields.items():
            self._write(f"{group}/{name}", values)
        self.file.dataset(f"{group}/time", np.array(when))
        self._taken += 1
        self.file.publish()
        return True
