"""What a run writes: history, frames, density snapshots (the contract of the HDF5 file)."""

import time
from dataclasses import asdict
from itertools import accumulate
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import mfpde
from mfpde.evolution.dynamics import MeanFieldFlow
from mfpde.evolution.indicators import Indicators, indicators, warnings
from mfpde.evolution.integrate import Step
from mfpde.evolution.state import State
from mfpde.output.hdf5 import ResultFile
from mfpde.output.paraview import write_snapshot
from mfpde.problem.sections import Config
from mfpde.problem.stages import Stage, stage_times
from mfpde.training.linear import LinearFlow
from mfpde.training.spectrum import Spectrum

Array = NDArray[np.float64]


class Recorder:
    """Writes the records and snapshots of one flow to a result file. Collective throughout.

    Attributes:
        loss: E at the last record.
        first_loss: E at the first one.
        mass_error: Largest |mass - 1| of a slice over all records.
        warned: Advice given so far, by indicator.
    """

    def __init__(self, file: ResultFile, flow: MeanFieldFlow, config: Config) -> None:
        self.file = file
        self.flow: MeanFieldFlow = flow
        self.started = time.monotonic()
        self.loss = self.first_loss = float("nan")
        self.mass_error = 0.0
        self._last: tuple[Indicators, Array, Array, Array] | None = None
        self.warned: dict[str, str] = {}
        self._snapshots = config.snapshot_times
        self._taken = 0
        self._has_kernel = False
        self._paraview = config.output.paraview
        self._slack = 1e-9 * config.final_time
        self._describe(config)

    def _describe(self, config: Config) -> None:
        flow, problem = self.flow, self.flow.problem
        self.file.attributes(
            {
                "version": mfpde.__version__,
                "config": config.to_toml(),
                "dimension": problem.d,
                "polynomial": problem.target.polynomial,
                "activation": problem.activation.text,
            }
        )
        self.file.dataset("/modes/alpha", flow.modes.alpha)
        self.file.dataset("/modes/radial", flow.modes.radial)
        self.file.dataset("/target/coefficients", flow.target)
        self.file.dataset("/slices/label_a", flow.labels[:, 0])
        self.file.dataset("/slices/label_r", flow.labels[:, 1])
        self.file.dataset("/slices/label_weight", flow.label_weight)
        # One group of ranks knows the whole mesh, so it alone writes it.
        first = flow.grid.group == 0
        cells, p = self._cells(), problem.p
        nodes = flow.weight.shape[1]
        index = cells[0][:, None] * nodes + np.arange(nodes) if first else np.empty(0, dtype=np.int64)
        components = index[..., None] * p + np.arange(p)
        y = np.moveaxis(flow.y, 0, -1)
        self.file.field("/slices/y", (cells[1], nodes, p), components, y if first else np.empty(0))
        self.file.field("/slices/y_weight", (cells[1], nodes), index, flow.weight if first else np.empty(0))
        self.file.attributes({"degree": config.discretization.degree if flow.mesh is not None else 0})
        self._describe_stages(problem.stages, config)

    def _describe_stages(self, stages: tuple[Stage, ...], config: Config) -> None:
        counts = [len(times) for times in stage_times(stages, config.history_times)]
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
        for name, words in {**texts, "activation": [stage.activation.text for stage in stages]}.items():
            self.file.dataset(f"/stages/{name}", np.array(words, dtype=h5py.string_dtype()))

    def _cells(self) -> tuple[NDArray[np.int64], int]:
        """Natural numbers of this rank's cells, and how many there are in all."""
        mesh = self.flow.mesh
        if mesh is None:
            return np.zeros(1, dtype=np.int64), 1
        return mesh.mesh.topology.original_cell_index[: mesh.owned].astype(np.int64), mesh.mesh.topology.index_map(
            mesh.p
        ).size_global

    def enter(self, flow: MeanFieldFlow | LinearFlow) -> None:
        """Collective. The records that follow are of another stage."""
        if isinstance(flow, LinearFlow):
            self.kernel(flow.spectrum)
        elif not flow.averaged:
            self.flow = flow

    def kernel(self, spectrum: Spectrum) -> None:
        """Collective. Writes a kernel matrix with its modes and eigen-decomposition, once a run."""
        if self._has_kernel:
            return
        self._has_kernel = True
        arrays: dict[str, NDArray[Any]] = {
            "matrix": spectrum.matrix,
            "eigenvalues": spectrum.eigenvalues,
            "vectors": spectrum.vectors,
            "uncertainty": spectrum.uncertainty,
            "alpha": spectrum.modes.alpha,
            "radial": spectrum.modes.radial,
        }
        for name, array in arrays.items():
            self.file.dataset(f"/kernel/{name}", array)

    def record_moments(self, step: Step, moments: Array) -> None:
        """Collective. One row of the history where there is no density: w stays as it was."""
        if self._last is None:
            p, slices = self.flow.problem.p, len(self.flow.label_weight)
            zero = Indicators(0.0, 0.0, 0.0, 0.0, 0.0)
            self._last = zero, np.ones(slices), np.zeros((slices, p)), np.zeros((slices, p, p))
        self._row(step, moments, *self._last)

    def record(self, flow: MeanFieldFlow | LinearFlow, step: Step, vector: Array) -> None:
        """Collective. One row of the history; a snapshot when one is due."""
        if isinstance(flow, LinearFlow) or flow.averaged:
            self.record_moments(step, flow.moments(vector, step.time))
            return
        state = flow.layout.views(vector)
        evaluation = flow.evaluate(state, step.time)
        self._last = (indicators(flow, state, evaluation), *self._by_slice(state, evaluation.mass))
        self._row(step, evaluation.moments, *self._last)
        while self._taken < len(self._snapshots) and step.time >= self._snapshots[self._taken] - self._slack:
            self._snapshot(step.time, state, *self._last[2:])

    def _row(self, step: Step, moments: Array, values: Indicators, mass: Array, M: Array, L: Array) -> None:
        self.loss = 0.5 * float(((moments - self.flow.target) ** 2).sum())
        if self.first_loss != self.first_loss:
            self.first_loss = self.loss
        self.mass_error = max(self.mass_error, float(np.abs(mass - 1.0).max()))
        self.file.record(
            {
                "/history/time": step.time,
                "/history/loss": self.loss,
                "/history/mass": float(self.flow.label_weight @ mass),
                "/history/coefficients": moments,
                **{f"/history/{name}": value for name, value in asdict(values).items()},
                "/history/steps": step.steps,
                "/history/wall_time": time.monotonic() - self.started,
                "/slices/M": M,
                "/slices/L": L,
            }
        )
        self._warn(values, step.time)

    def _warn(self, values: Indicators, when: float) -> None:
        for name, advice in warnings(values).items():
            if name not in self.warned:
                self.warned[name] = f"from t = {when:.4g} on, {name} = {getattr(values, name):.2g}: {advice}"

    def _by_slice(self, state: State, mass: Array) -> tuple[Array, Array, Array]:
        """Mass and frames of all slices: a few numbers each, on every rank."""
        flow, p = self.flow, self.flow.problem.p
        here = flow.grid.slices
        total = np.zeros((len(flow.label_weight), 1 + p + p * p))
        total[here.start : here.stop, 0] = mass
        if flow.grid.mesh_comm.rank == 0:
            total[here.start : here.stop, 1 : 1 + p] = state.M
            total[here.start : here.stop, 1 + p :] = flow.frames(state).reshape(len(here), p * p)
        total = flow.grid.comm.allreduce(total)
        return total[:, 0], total[:, 1 : 1 + p], total[:, 1 + p :].reshape(-1, p, p)

    def _snapshot(self, when: float, state: State, M: Array, L: Array) -> None:
        group = f"/slices/snapshots/{self._taken:04d}"
        cells, count = self._cells()
        slices, nodes = len(self.flow.label_weight), state.q.shape[2]
        here = np.array(self.flow.grid.slices, dtype=np.int64)
        index = (here[:, None, None] * count + cells[:, None]) * nodes + np.arange(nodes)
        q = self.flow.non_negative(state.q)
        fields = {"q": q, "A": state.a, "R": state.r}
        for name, values in fields.items():
            self.file.field(f"{group}/{name}", (slices, count, nodes), index, values)
        self.file.dataset(f"{group}/M", M)
        self.file.dataset(f"{group}/L", L)
        self.file.dataset(f"{group}/time", np.array(when))
        if self._paraview:
            path = self.file.path
            write_snapshot(path.with_name(f"{path.stem}_{self._taken:04d}.vtkhdf"), self.flow, state, q, when)
        self._taken += 1
        self.file.publish()
