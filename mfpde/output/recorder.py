"""What a run writes: history, frames, density snapshots (the contract of the HDF5 file)."""

import json
import time
from collections.abc import Mapping
from itertools import accumulate

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.to_accuracy import Assessment
from mfpde.evolution.entropy import Entropy, has_entropy
from mfpde.evolution.flow import Field, Interpolant, Observation, StageFlow, Step, loss
from mfpde.evolution.indicators import warnings
from mfpde.evolution.mean_field import LOBATTO
from mfpde.output import checkpoint
from mfpde.output.checkpoint import Checkpoint
from mfpde.output.description import describe
from mfpde.output.protocol import Output, Run
from mfpde.output.sink import Sink, append
from mfpde.parallel import on_first
from mfpde.petsc import event
from mfpde.problem.problem import Problem
from mfpde.problem.stage import stage_times
from mfpde.progress import Progress

Array = NDArray[np.float64]

# Indicators of what an estimated error already counts.
ESTIMATED = ("label_error", "top_modes")


class Recorder(Output):
    """The output that writes records and snapshots to a result file. Collective throughout.

    Args:
        file: To write to.
        progress: Told of every step.

    Attributes:
        loss: E at the last record.
        losses: E of the modes of the run, without a correction, at all records.
        first_loss: E at the first one.
        beyond: The part of E that is the energy of the target beyond the modes.
        mass_error: Largest |mass - 1| of a slice over all records.
        warned: Advice given so far, by indicator.
        entropy: Entropy of the run, where it has one.
    """

    def __init__(self, file: Sink, progress: Progress | None = None) -> None:
        self.file, self._progress = file, progress
        self.loss = self.first_loss = float("nan")
        self.mass_error = self.beyond = 0.0
        self.losses: list[float] = []
        self.warned: dict[str, str] = {}
        self.entropy: Entropy | None = None

    def begin(self, run: Run) -> None:
        """Collective. Describes the run, and takes over what the file of its checkpoint holds up to there."""
        problem, flow, config, restart = run.problem, run.flow, run.config, run.restart
        self.started = time.monotonic()
        self.loss = self.first_loss = float("nan")
        self.mass_error, self.losses, self.warned = 0.0, [], {}
        self._target, self.beyond = flow.target, flow.beyond
        self.entropy = Entropy(flow.comm, problem, flow.modes) if has_entropy(problem) else None
        self._regularised = any(stage.regularised for stage in problem.stages)
        self._correlation = not all(stage.interaction for stage in problem.stages)
        self._due = config.snapshot_times if restart is None else restart.later(config.snapshot_times)
        self._taken, self._steps = 0, 0
        self._written: set[str] = set()
        self._slack = 1e-9 * config.final_time
        self._estimated = run.correction is not None
        records = stage_times(problem.stages, run.times)
        starts = np.repeat([stage.start for stage in problem.stages], [len(times) for times in records])
        self._records = np.concatenate([np.asarray(times, dtype=float) for times in records]) + starts
        self._corrections = np.zeros(len(starts)) if run.correction is None else run.correction
        self._correction = iter(() if run.correction is None else run.correction.tolist())
        # By the path of a column, what it holds in the row of a state that does not have it.
        self._absent: dict[str, Array] = {}
        self._restart: Checkpoint | None = None
        describe(self.file, problem, flow.modes, config)
        degree = 0 if problem.w.is_point else problem.numbers(config.discretization).degree
        self.file.attributes({"degree": degree, "discretisation": run.discretisation})
        self._describe_stages(problem, [len(times) for times in records])
        if restart is not None:
            self._copy_before(restart, flow, config.output.checkpoint is not False)

    def _describe_stages(self, problem: Problem, counts: list[int]) -> None:
        """Collective. The stages, with the number of records of each."""
        stages = problem.stages
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

    def _copy_before(self, restart: Checkpoint, first: StageFlow, keeps: bool) -> None:
        """Collective. What the file of a checkpoint holds up to there; `keeps`: the checkpoint as well."""
        self._write_once(first)
        raw, columns = on_first(
            self.file.comm,
            lambda: (checkpoint.truncated_losses(restart, self._target, self.beyond), checkpoint.last_columns(restart)),
        )
        losses = np.array([value + next(self._correction, 0.0) for value in raw.tolist()])
        size = restart.path.stat().st_size if self.file.comm.rank == 0 else 0
        further = {"/history/regularised_loss": self._regularised, "/history/correlation": self._correlation}
        new = [path for path, wanted in further.items() if wanted and path not in columns]
        self._absent = {path: np.full(np.shape(value), np.nan) for path, value in {**columns, **dict.fromkeys(new, 0.0)}.items()}
        self.file.change(lambda file: checkpoint.copy_before(restart, file, losses, self._target, new, keeps), size)
        self.losses, self.first_loss, self.loss = raw.tolist(), float(losses[0]), float(losses[-1])
        self.started -= restart.wall_time
        self.mass_error, self.warned = restart.mass_error, dict(restart.warned)
        self._taken, self._steps, self._restart = restart.snapshots, restart.steps, restart

    def abandon(self) -> None:
        self.file.clear()

    def numbers(self) -> dict[str, float | str]:
        """What a checkpoint keeps of the records so far."""
        return {
            "records": len(self.losses),
            "field_steps": self._steps,
            "snapshots": self._taken,
            "wall_time": time.monotonic() - self.started,
            "mass_error": self.mass_error,
            "warned": json.dumps(self.warned),
        }

    def enter(self, flow: StageFlow) -> None:
        """Collective. A stage begins, or goes on: what it has to say is written, unless a stage before has said it."""
        if self.entropy is not None:
            self.entropy.enter(flow.stage)
            if self._restart is not None:
                restart, self._restart = self._restart, None
                self.entropy.restore(restart.restart(flow.comm).read, restart.entropy)
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
        reached = self.loss
        if inside is not None:
            times = step.time - step.length * (1 - LOBATTO)
            moments = np.array([flow.moments(inside(time), time) for time in times])
            self.file.record({"/field/time": times, "/field/moments": moments})
            self._steps += 1
            if self.entropy is not None:
                self.entropy.stepped(times, moments)
            # The correction is known at the records alone.
            between = np.interp(step.time, self._records, self._corrections)
            reached = float(loss(moments[-1], self._target, self.beyond) + between)
        if self._progress is not None:
            self._progress.update(step.time, reached, step.steps)

    def write(self, step: Step, seen: Observation, penalty: float = 0.0) -> None:
        """Collective. One row of the history; `penalty` is what a regularised loss adds to E."""
        self.losses.append(float(loss(seen.moments, self._target, self.beyond)))
        self.loss = self.losses[-1] + next(self._correction, 0.0)
        if len(self.losses) == 1:
            self.first_loss = self.loss
        self.mass_error = max(self.mass_error, seen.mass_error)
        row: dict[str, float | Array] = {
            "/history/time": step.time,
            "/history/loss": self.loss,
            "/history/coefficients": seen.moments,
            "/history/steps": step.steps,
            "/history/wall_time": time.monotonic() - self.started,
            "/history/mass": seen.mass,
            **seen.columns,
        }
        if self.entropy is not None:
            row["/history/entropy"] = self.entropy(step.time)
        if self._regularised:
            row["/history/regularised_loss"] = self.loss + penalty
        if self._correlation:
            row["/history/correlation"] = float(seen.moments @ self._target)
        self._begin_columns(row)
        self.file.record(self._absent | row)
        history = (path for path in seen.columns if path.startswith("/history/"))
        values = {path.rpartition("/")[2]: float(seen.columns[path]) for path in history}
        for name, advice in warnings(values).items():
            if name not in self.warned and not (self._estimated and name in ESTIMATED):
                self.warned[name] = f"from t = {step.time:.4g} on, {name} = {values[name]:.2g}: {advice}"

    def _begin_columns(self, row: Mapping[str, float | Array]) -> None:
        """Collective. A column that a row is the first to have is nan in the rows before."""
        new = {path: np.full(np.shape(value), np.nan) for path, value in row.items() if path not in self._absent}
        self._absent |= new
        before = len(self.losses) - 1
        if before and new:
            self.file.publish()
            missing = {path: [value] * before for path, value in new.items()}
            self.file.change(lambda file: append(file, missing), sum(8 * before * value.size for value in new.values()))

    def error(self, answer: Assessment) -> None:
        """Collective. The estimated error of E at every record, and how it came about."""
        found = answer.estimate
        self.file.publish()  # the records, to which the errors belong
        for name, values in {"estimate": found.total, **found.parts}.items():
            self.file.dataset(f"/error/{name}", values)
        self.file.dataset("/error/coefficients", np.repeat(found.coefficients[:, None], len(self._target), axis=1))
        known = {"time": answer.studied.time, "correction": answer.studied.correction, "estimate": answer.studied.error}
        for name, values in known.items():
            self.file.dataset(f"/error/studied/{name}", values)
        K, J = answer.studied.finest
        self.file.dataset("/error/studied/shift", answer.studied.shift)
        self.file.attributes({"hermite_degree": K, "radial_degree": J}, "/error/studied")
        self.file.attributes({"accuracy": found.wanted.absolute / found.unit, "accuracy_reached": found.reached}, "/error")
        if found.wanted.relative:
            relative = {"relative_accuracy": found.wanted.relative, "relative_accuracy_reached": found.reached_of_loss}
            self.file.attributes(relative, "/error")
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
