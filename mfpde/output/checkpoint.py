"""Checkpoints: the group /checkpoint of a result file, from which a run goes on, and what it takes over from that file.

A state is kept as flat blocks in an order that does not depend on the ranks; each rank writes and reads its own part of them.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.evolution.entropy import Entropy
from mfpde.evolution.flow import DensityFlow, Position, Step, loss
from mfpde.evolution.integrate import NEAR
from mfpde.output.history import check_file, check_history, open_unverified, probe
from mfpde.output.integrity import verify
from mfpde.output.sink import Sink, append
from mfpde.paths import MARKS
from mfpde.problem.config import config_of
from mfpde.problem.sections import Config
from mfpde.training.training import Place, Restart
from mfpde.version import __version__

Array = NDArray[np.float64]

GROUP = "/checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """What a result file says of its last checkpoint; plain data, the same on all ranks.

    Attributes:
        path: The file.
        config: Of the run.
        place: The place.
        time: Of the training there.
        complete, end: Whether the run came to its end, and the time of its last record.
        told: Times of the records up to the place, ascending.
        steps: Steps whose mean field is in the file up to there.
        snapshots: Of the density, up to there.
        wall_time: Of the run up to there, in seconds.
        mass_error, warned: As the recorder had them.
        total: Neurons of the state.
        entropy: Numbers of `Entropy.state`; empty if there are none.
        planned: How the resolution came about, see `mfpde.accuracy.to_accuracy.Planned`; empty if it was given.
    """

    path: Path
    config: Config
    place: Place
    time: float
    complete: bool
    end: float
    told: tuple[float, ...]
    steps: int
    snapshots: int
    wall_time: float
    mass_error: float
    warned: dict[str, str]
    total: int
    entropy: Array
    planned: bytes

    @property
    def count(self) -> int:
        """Steps up to there."""
        return self.place.before.steps + self.place.position.step.steps

    def restart(self, comm: MPI.Intracomm) -> Restart:
        """Collective. The place, with the state on this rank as `comm` divides it."""
        return Restart(self.place, lambda name, places: read_block(comm, self.path, name, places), self.total)

    def times(self, config: Config) -> list[float]:
        """The record times of the run that goes on: those that are done, and what `config` asks for after the checkpoint."""
        return sorted({*self.told, *self.later(config.history_times)})

    def later(self, times: list[float]) -> list[float]:
        """Those of `times` that are still to come."""
        last = max(self.time, self.told[-1])
        return [t for t in times if t > last + NEAR * max(last, 1.0)]


def write(
    file: Sink, flow: DensityFlow, place: Place, vector: Array, entropy: Entropy | None, numbers: Mapping[str, object]
) -> None:
    """Collective. Writes a checkpoint in the place of the one before.

    Args:
        file: To write to.
        flow, place, vector: The place, and the state there.
        entropy: Of the run.
        numbers: What the recorder remembers.
    """
    file.attributes({"whole": False}, GROUP)
    blocks = dict(flow.state(vector))
    entropy_numbers = np.empty(0)
    if entropy is not None:
        blocks["entropy"], entropy_numbers = entropy.state()
    for name, block in blocks.items():
        file.field(f"{GROUP}/{name}", (int(np.prod(block.shape)),), block.index, block.values)
    position, before = place.position, place.before
    attributes = {
        **{name: value for name, value in vars(place).items() if name not in ("position", "before")},
        **{name: value for name, value in vars(position).items() if name != "step"},
        **{f"stage_{name}": value for name, value in vars(position.step).items()},
        "before_steps": before.steps,
        "before_rejected": before.rejected,
        "time": flow.stage.start + position.step.time,
    }
    file.attributes({**attributes, **numbers, "entropy": entropy_numbers, "whole": True}, GROUP)


def read_block(comm: MPI.Intracomm, path: Path, name: str, places: NDArray[np.int64]) -> Array:
    """Collective. This rank's values of a block of a kept state: each rank reads a share of it, and passes on what others need.

    Args:
        comm: All ranks.
        path: The result file.
        name: Of the block.
        places: Indices in the whole flat block.
    """
    from petsc4py import PETSc

    with h5py.File(path) as file:
        data = file[f"{GROUP}/{name}"]
        shared = PETSc.Vec().createMPI(len(data), comm=comm)
        first, last = shared.getOwnershipRange()
        shared.getArray()[...] = data[first:last]
    mine = PETSc.Vec().createSeq(places.size, comm=PETSc.COMM_SELF)
    index = PETSc.IS().createGeneral(places.ravel().astype(PETSc.IntType), comm=PETSc.COMM_SELF)
    scatter = PETSc.Scatter().create(shared, index, mine, None)
    scatter.scatter(shared, mine)
    found: Array = mine.getArray(readonly=True).copy().reshape(places.shape)
    for each in (scatter, index, mine, shared):
        each.destroy()
    return found


def read_checkpoint(path: Path, probed: bool = False) -> Checkpoint:
    """The checkpoint of a result file.

    Args:
        path: The file.
        probed: Whether it is read in a process of its own before, as it may be damaged in any way.

    Raises:
        InputError: If there is none, or it cannot serve.
    """
    try:
        check_file(path)
        if probed:
            probe(path)
        return _checked(path, f"--restart: {str(path)!r}")
    except InputError as error:
        text = str(error)
        raise InputError(
            text if text.startswith("--restart") else f"--restart: {text}; allowed: a result of mfpde.solve"
        ) from None


def _checked(path: Path, name: str) -> Checkpoint:
    _check_kind(path, name)
    with open_unverified(path) as file:
        if GROUP[1:] not in file:
            raise InputError(f"{name} holds no checkpoint; allowed: a result of mfpde.solve with output.checkpoint, not false")
        group = file[GROUP]
        if file.attrs["version"] != __version__:
            raise InputError(f"{name} is of version {file.attrs['version']}; allowed: {__version__}, which runs here")
        if "whole" not in group.attrs:
            raise InputError(f"{name} was left before its first checkpoint, and holds none; allowed: a result that has one")
        if not group.attrs["whole"]:
            raise InputError(f"{name} was left while its checkpoint was written; allowed: one that is whole")
        kept = _read(path, file, {key: _plain(value) for key, value in group.attrs.items()})
        check_history(file)
        verify(file)
        return kept


def _check_kind(path: Path, name: str) -> None:
    try:
        with h5py.File(path) as file:
            marks = {**{place: kind for kind, place in MARKS.items()}, "method": "run of mfpde.particles"}
            kind = next((kind for place, kind in marks.items() if place in file.attrs), None)
    except OSError:
        return  # `open_result` says why
    if kind is not None:
        raise InputError(f"{name} is a {kind}; allowed: a result of mfpde.solve")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _read(path: Path, file: h5py.File, numbers: dict[str, Any]) -> Checkpoint:
    group, history = file[GROUP], file["history"]
    step = Step(*(numbers[f"stage_{name}"] for name in ("time", "steps", "rejected", "length")))
    position = Position(step, numbers["proposed"], numbers["longest"], numbers["method"])
    before = Step(0.0, numbers["before_steps"], numbers["before_rejected"])
    told = history["time"][: numbers["records"]].tolist()
    if len(told) < numbers["records"] or ("field" in file and len(file["field/time"]) < numbers["field_steps"]):
        raise ValueError("records are missing")
    return Checkpoint(
        path=path,
        config=config_of(tomllib.loads(str(file.attrs["config"]))),
        place=Place(numbers["stage"], numbers["told"], before, position),
        time=numbers["time"],
        complete=bool(file.attrs["complete"]),
        end=float(history["time"][-1]),
        told=tuple(told),
        steps=numbers["field_steps"],
        snapshots=numbers["snapshots"],
        wall_time=numbers["wall_time"],
        mass_error=numbers["mass_error"],
        warned=json.loads(numbers["warned"]),
        total=len(group["a"]),
        entropy=np.array(numbers["entropy"], dtype=float),
        planned=group["course"][:].tobytes() if "course" in group else b"",
    )


def truncated_losses(checkpoint: Checkpoint, target: Array, beyond: float) -> Array:
    """E of the modes of the run at the records up to the checkpoint, shape (n,)."""
    with h5py.File(checkpoint.path) as file:
        return np.asarray(loss(file["history/coefficients"][: len(checkpoint.told)], target, beyond))


def last_columns(checkpoint: Checkpoint) -> dict[str, Any]:
    """The last row of every column before the checkpoint, by path."""
    with h5py.File(checkpoint.path) as file:
        return {path: file[path][len(checkpoint.told) - 1] for path in _grown(file) if not path.startswith("/field/")}


def copy_before(checkpoint: Checkpoint, file: h5py.File, losses: Array, target: Array, new: Sequence[str], keeps: bool) -> None:
    """Copies into a new file what the old one holds up to its checkpoint: records, mean field, snapshots, and the checkpoint.

    Args:
        checkpoint: Of the old file.
        file: The new one.
        losses: E at the records; the old one may have another correction for the modes beyond the run's.
        target: Coefficients of h*.
        new: Columns that stages to come need: the regularised loss, which is E without a penalty, or the correlation.
        keeps: Whether the new file has checkpoints as well.
    """
    with h5py.File(checkpoint.path) as old:
        counts = {path: checkpoint.steps if path.startswith("/field/") else len(losses) for path in _grown(old)}
        rows = {path: old[path][:count] for path, count in counts.items()}
        if "/history/regularised_loss" in rows:
            rows["/history/regularised_loss"] = losses + (rows["/history/regularised_loss"] - rows["/history/loss"])
        rows["/history/loss"] = losses
        values = {"/history/regularised_loss": losses, "/history/correlation": rows["/history/coefficients"] @ target}
        rows |= {path: values[path] for path in new}
        append(file, rows)
        for number in range(checkpoint.snapshots):
            name = f"/slices/snapshots/{number:04d}"
            old.copy(name, file.require_group("/slices/snapshots"))
        if keeps:
            old.copy(GROUP, file)
            file[GROUP].pop("course", None)  # that of the new run is written beside it


def _grown(file: h5py.File) -> list[str]:
    """The datasets that grow during a run, time first."""
    found: list[str] = []
    for group in ("history", "slices", "field"):
        members = file.get(group, {})
        found += [f"/{group}/{name}" for name in members if getattr(members[name], "maxshape", (0,))[:1] == (None,)]
    return sorted(found, key=lambda path: path != "/history/time")


def encoded(planned: object) -> NDArray[np.uint8]:
    """A dataclass of numbers, texts and arrays as bytes."""
    return np.frombuffer(msgspec.msgpack.encode(planned, enc_hook=lambda array: array.tolist()), dtype=np.uint8)


def decoded[Planned](data: bytes, kind: type[Planned]) -> Planned:
    """What `encoded` was given.

    Raises:
        InputError: If it is something else.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind, dec_hook=lambda _, values: np.array(values))
    except msgspec.DecodeError as error:
        raise InputError(f"--restart: its /checkpoint/course is damaged: {error}; allowed: a result of this version") from None
