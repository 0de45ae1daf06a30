"""What may change in a configuration when a run goes on: what lies ahead of its checkpoint, and what no number depends on."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from mfpde.errors import InputError, quoted
from mfpde.output.checkpoint import Checkpoint
from mfpde.problem.sections import Config

# Sections that change no number of the elements: what is written, how ranks divide the work, the particle references.
FREE = ("output", "parallel", "particles")
# Keys of a training that are not those of its stages.
WHOLE = ("constraint", "strategy", "strategy_copies", "strategy_degree")
ALLOWED = "allowed to differ: training.final_time and stages that are still to come, output.*, parallel.*"


def stored(config: Config, path: Path) -> dict[str, Any]:
    """The sections of a run that is to go on in its own file, for `mfpde.problem.config.config_of`."""
    data = tomllib.loads(config.to_toml())
    data["output"]["file"] = str(path)
    return data


def check_restart(checkpoint: Checkpoint, config: Config) -> None:
    """Checks that a run can go on from a checkpoint with a configuration.

    Raises:
        InputError: If what led to the checkpoint differs, or if nothing is left to do.
    """
    name, place = f"--restart: {str(checkpoint.path)!r}", checkpoint.place
    if wrong := _differences(checkpoint.config, config, place.stage):
        raise InputError(f"{name} is of another run: {', '.join(wrong)}; {ALLOWED}")
    if config.training.stages and not checkpoint.config.training.stages and checkpoint.told[0] > 0:
        raise InputError(f"{name} has no record at t = 0, which several stages need; allowed: no further stages")
    end = checkpoint.times(config)[-1]
    if checkpoint.complete and end <= checkpoint.end * (1 + 1e-12):
        raise InputError(
            f"{name} is complete up to t = {checkpoint.end:g}, nothing is left to do; allowed: a larger training.final_time, or "
            "a further stage"
        )
    if config.training.durations[place.stage] <= place.position.step.time or end <= checkpoint.time:
        raise InputError(f"training.final_time: ends before the checkpoint at t = {checkpoint.time:g}; allowed: later times")


def _differences(old: Config, new: Config, stage: int) -> list[str]:
    """Keys that had to be the same, with both values."""
    before, after = (_essence(config, stage) for config in (old, new))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    found = [f"{key} (was {quoted(before.get(key))}, is {quoted(after.get(key))})" for key in keys]
    return found if old.training.stages or new.training.stages else [text.replace("stages[0].", "") for text in found]


def _essence(config: Config, stage: int) -> dict[str, Any]:
    """What led to a checkpoint in a stage, by key; expressions hold their parameters already, which must not change either."""
    data = msgspec.to_builtins(config)
    training = data.pop("training")
    flat = {f"{section}.{key}": value for section in data if section not in FREE for key, value in data[section].items()}
    flat |= {f"training.{key}": training[key] for key in WHOLE}
    if config.training.strategy is not None:
        return flat
    for i, section in enumerate(config.training.given[: stage + 1]):
        values = msgspec.structs.asdict(section)
        values["activation"] = section.activation or config.network.activation
        if i == stage:  # its end is ahead
            del values["duration"]
        flat |= {f"training.stages[{i}].{key}": value for key, value in values.items()}
    return flat
