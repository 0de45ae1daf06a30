"""The results of a sweep as one N-dimensional labelled file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.output.crossing import crossing
from mfpde.output.hdf5 import ResultFile
from mfpde.output.history import open_result, read_columns, read_open
from mfpde.sweep.axes import Axis
from mfpde.sweep.runs import Member, Outcome

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """What was recorded of all members.

    Attributes:
        axes: Of the sweep.
        values: Numbers of each member by name, shapes (len(axis) of all axes): final_loss, final_error, time_to_level and its
            error, and the last value of every recorded column; nan where a member failed or nothing was estimated, time_to_level
            inf where the level is not reached.
        curves: Of each member at its records, shapes (..., records), nan after its last one: loss, error, and time, if the
            members have not the same.
        time: Of the records, if they are the same for all members; else None.
        messages: Why members failed, "" for those that did not, the shape of the values.
        texts: What each of the values is.
    """

    axes: tuple[Axis, ...]
    values: Mapping[str, Array]
    curves: Mapping[str, Array]
    time: Array | None
    messages: NDArray[Any]
    texts: Mapping[str, str]


# Of every member, whatever it records.
ALWAYS = ("final_loss", "final_error", "first_loss", "time_to_level", "time_to_level_error", "wall_time")


# With output.width: the datasets of /width that the last values come from, and its attributes.
WIDTH = {"final_correction": "correction", "final_deviation": "deviation"}
WIDTH_ATTRIBUTES = ("neurons_for_mean", "neurons_for_one")


def shown_names() -> list[str]:
    """Names of the values that members may have."""
    from mfpde.evolution.indicators import indicators

    columns = ("mass", "steps", "entropy", "regularised_loss", "correlation", *indicators())
    return [*ALWAYS, *WIDTH, *WIDTH_ATTRIBUTES, *(f"final_{name}" for name in columns)]


def collect(axes: tuple[Axis, ...], members: Sequence[Member], outcomes: Sequence[Outcome], level: float) -> Plane:
    """Reads the results of all members; `level` in units of their loss at t = 0."""
    shape = tuple(len(axis.values) for axis in axes)
    values: dict[str, Array] = {}
    messages = np.full(shape, "", dtype=object)
    curves: dict[tuple[int, ...], tuple[Array, Array, Array]] = {}

    def put(name: str, index: tuple[int, ...], value: float) -> None:
        values.setdefault(name, np.full(shape, np.nan))[index] = value

    for name in ALWAYS:
        values[name] = np.full(shape, np.nan)
    for member, outcome in zip(members, outcomes, strict=True):
        messages[member.index] = outcome.message
        if outcome.message:
            continue
        with open_result(member.path) as file:
            history, columns = read_open(member.path, file), read_columns(file)
            reached = crossing(file, history, level * float(history.loss[0]))
            for name, value in _of_width(file).items():
                put(name, member.index, value)
        t, loss = history.times, history.loss
        error = np.full(len(t), np.nan) if history.error is None else history.error
        curves[member.index] = t, loss, error
        put("first_loss", member.index, loss[0])
        put("time_to_level", member.index, reached.time)
        put("time_to_level_error", member.index, reached.error)
        put("wall_time", member.index, outcome.seconds or history.seconds)  # of one that was kept, what its file says
        put("final_error", member.index, error[-1])
        for name, column in columns.items():
            if name not in ("time", "wall_time"):
                put(f"final_{name}", member.index, column[-1])
    texts = {
        "final_correction": "c at the last record: the mean of E over networks of N neurons is E + c/N",
        "final_deviation": "s at the last record: the standard deviation of one of them is s/sqrt(N)",
        "neurons_for_mean": "N for which c/N is 1% of E",
        "neurons_for_one": "N for which s/sqrt(N) is 1% of E",
        "final_loss": "loss at the last record",
        "final_error": "estimated error of the loss at the last record",
        "first_loss": "loss at t = 0",
        "time_to_level": f"first time at which the loss is {level:g} of that at t = 0",
        "time_to_level_error": "by how much the estimated error of the loss may move that time",
        "wall_time": "wall time of the run in seconds, with what chose its resolution",
    }
    all_times = [t for t, _, _ in curves.values()]
    same = bool(all_times) and all(np.array_equal(t, all_times[0]) for t in all_times)
    longest = max(map(len, all_times), default=0)
    padded = {name: np.full((*shape, longest), np.nan) for name in ("loss", "error", *(() if same else ("time",)))}
    for index, (t, loss, error) in curves.items():
        for name, curve in {"loss": loss, "error": error, "time": t}.items():
            if name in padded:
                padded[name][index][: len(curve)] = curve
    return Plane(axes, values, padded, all_times[0] if same else None, messages, texts)


def _of_width(file: h5py.File) -> dict[str, float]:
    """The numbers of /width, if an open result file has it."""
    if "width" not in file:
        return {}
    group = file["width"]
    last = {name: float(group[path][-1]) for name, path in WIDTH.items()}
    return last | {name: float(group.attrs[name]) for name in WIDTH_ATTRIBUTES}


def write(comm: Any, path: Path, plane: Plane, attributes: Mapping[str, Any]) -> None:
    """Collective. Writes the file of the sweep; its values on rank 0."""
    names = [axis.name for axis in plane.axes]
    record = "record" if plane.time is None else "time"
    with ResultFile(comm, path, kind="sweep") as file:
        axes = {axis.key: [*map(str, axis.labels)] for axis in plane.axes}
        file.attributes({"sweep": json.dumps(axes), **attributes})
        for axis in plane.axes:
            scale = axis.scale
            dtype = h5py.string_dtype() if scale.dtype.kind == "O" else scale.dtype
            file.dataset(f"/{axis.name}", scale.astype(dtype), long_name=axis.key, dimensions=[axis.name])
        size = next(iter(plane.curves.values())).shape[-1]
        if size:
            scale = np.arange(size, dtype=float) if plane.time is None else plane.time
            file.dataset(f"/{record}", scale, long_name="training time" if plane.time is not None else "number of the record")
            for name, values in plane.curves.items():
                file.dataset(f"/{name}", values, long_name=f"{name} at the records", units="1", dimensions=[*names, record])
        for name, values in plane.values.items():
            text = plane.texts.get(name, f"{name.removeprefix('final_')} at the last record")
            file.dataset(f"/{name}", values, long_name=text, dimensions=names)
        messages = plane.messages.astype(h5py.string_dtype())
        file.dataset("/message", messages, long_name="why the member failed, or nothing", dimensions=names)
