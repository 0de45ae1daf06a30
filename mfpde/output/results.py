"""What a run writes: history, frames, density snapshots (the contract of the HDF5 file)."""

import time
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

import mfpde
from mfpde.evolution.dynamics import MeanFieldFlow
from mfpde.evolution.indicators import Indicators, indicators, warnings
from mfpde.evolution.integrate import Step
from mfpde.evolution.state import State
from mfpde.output.hdf5 import ResultFile
from mfpde.output.paraview import write_snapshot
from mfpde.problem.config import Config

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
        self.flow = flow
        self.started = time.monotonic()
        self.loss = self.first_loss = float("nan")
        self.mass_error = 0.0
        self.warned: dict[str, str] = {}
        self._snapshots = config.snapshot_times
        self._taken = 0
        self._paraview = config.output.paraview
        self._slack = 1e-9 * config.training.final_time
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

    def _cells(self) -> tuple[NDArray[np.int64], int]:
        """Natural numbers of this rank's cells, and how many there are in all."""
        mesh = self.flow.mesh
        if mesh is None:
            return np.zeros(1, dtype=np.int64), 1
        return mesh.mesh.topology.original_cell_index[: mesh.owned].astype(np.int64), mesh.mesh.topology.index_map(
            mesh.p
        ).size_global

    def record(self, step: Step, vector: Array) -> None:
        """Collective. One row of the history; a snapshot when one is due."""
        flow = self.flow
        state = flow.layout.views(vector)
        evaluation = flow.evaluate(state, step.time)
        self.loss = 0.5 * float(((evaluation.moments - flow.target) ** 2).sum())
        if self.first_loss != self.first_loss:
            self.first_loss = self.loss
        values = indicators(flow, state, evaluation)
        mass, M, L = self._by_slice(state, evaluation.mass)
        self.mass_error = max(self.mass_error, float(np.abs(mass - 1.0).max()))
        self.file.record(
            {
                "/history/time": step.time,
                "/history/loss": self.loss,
                "/history/mass": float(flow.label_weight @ mass),
                "/history/coefficients": evaluation.moments,
                **{f"/history/{name}": value for name, value in asdict(values).items()},
                "/history/steps": step.steps,
                "/history/wall_time": time.monotonic() - self.started,
                "/slices/M": M,
                "/slices/L": L,
            }
        )
        self._warn(values, step.time)
        while self._taken < len(self._snapshots) and step.time >= self._snapshots[self._taken] - self._slack:
            self._snapshot(step.time, state, M, L)

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
