"""The configuration file: TOML to frozen structures, with every key, type and range checked once, here.

The defaults are the shipped example (examples/staircase.toml).
"""

import difflib
import json
import tomllib
from collections.abc import Sequence
from itertools import accumulate, pairwise, takewhile
from math import inf, isfinite
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import msgspec
import numpy as np

from mfpde.errors import InputError
from mfpde.problem.target import largest_index


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class TargetSection(_Section, frozen=True):
    polynomial: str = "z1 + z1*z2"
    subspace_dimension: int | None = None


class Network(_Section, frozen=True):
    activation: str = "tanh(u + 0.5)"


class Input(_Section, frozen=True):
    dimension: int | float | Literal["inf"] = 10000


class Initial(_Section, frozen=True):
    a: str = "uniform(-1, 1)"
    w: Literal["gaussian", "zero"] = "gaussian"


class StageSection(_Section, frozen=True):
    """One stage of a training in several stages.

    Attributes:
        duration: How long it lasts.
        xi_a, xi_w: Learning rates; t counts from the start of the stage.
        activation: Of this stage; the network's if not given.
        average: At its start, w becomes the average of this many independent copies.
        reset_a: Whether the outer weights start at 0 again.
    """

    duration: float
    xi_a: float | str = 0.0
    xi_w: float | str = 0.0
    activation: str | None = None
    average: int = 1
    reset_a: bool = False


class Training(_Section, frozen=True):
    """How the network is trained: at once, in stages, or by a strategy that expands to stages.

    Attributes:
        final_time: Of a training at once; of the stage that trains w in a strategy.
        xi_a, xi_w: Learning rates of a training at once.
        stages: Instead of the three.
        strategy: "chen-ge": train w, average independent copies, train a with a polynomial activation.
        strategy_copies: How many copies; p if not given.
        strategy_degree: n of the activation (1 + u)^n; the target's degree if not given.
        strategy_time: Duration of the stage that trains a.
    """

    final_time: float = 8.0
    xi_a: float | str = 1.0
    xi_w: float | str = 1.0
    stages: tuple[StageSection, ...] = ()
    strategy: Literal["chen-ge"] | None = None
    strategy_copies: int | None = None
    strategy_degree: int | None = None
    strategy_time: float | None = None  # STRATEGY_TIME, once there is a strategy

    @property
    def durations(self) -> tuple[float, ...]:
        """Of the stages."""
        if self.stages:
            return tuple(float(stage.duration) for stage in self.stages)
        if self.strategy is not None:
            return self.final_time, STRATEGY_TIME if self.strategy_time is None else self.strategy_time
        return (self.final_time,)

    @property
    def density_time(self) -> float:
        """When copies are averaged for the first time: until then there is a density to take snapshots of."""
        stages = self.stages if self.strategy is None else (StageSection(self.final_time), StageSection(1.0, average=2))
        before = takewhile(lambda stage: stage.average == 1, stages)
        return sum(stage.duration for stage in before) if stages else self.final_time


class Discretization(_Section, frozen=True):
    """How the density is resolved.

    Attributes:
        hermite_degree: K, the largest total degree of a mode.
        radial_degree: Largest j.
        cells: Cells of the reference mesh in each direction; 0: chosen from p and d.
        degree: Of the discontinuous finite elements.
        a_nodes, r_nodes: Labels of a_0 and r_0; 0: chosen from p and d.
        half_width: Of the reference box in y, in standard deviations of the initial law.
        grading: How much finer the cells are at y = 0 than at the walls (0: uniform; cosh(grading) times finer).
        limiter: When q is made non-negative: in what is written ("output"), or after every step as well ("step").
        tolerance: Error of one time step, absolute and relative.
        mesh: A mesh file instead of the box.
    """

    hermite_degree: int = 6
    radial_degree: int = 2
    cells: int = 0
    degree: int = 3
    a_nodes: int = 0
    r_nodes: int = 0
    half_width: float = 10.0
    grading: float = 2.25
    limiter: Literal["output", "step"] = "output"
    tolerance: float = 1e-8
    mesh: str | None = None


class Parallel(_Section, frozen=True):
    mesh_ranks: int = 0


class Particles(_Section, frozen=True):
    """The particle references of `python -m mfpde.particles`.

    Attributes:
        method: Neurons (a, v, r) in the Hermite modes, N neurons in R^d with the population gradient, or online SGD.
        sampling: Of the initial law: independent, scrambled Sobol' points, or Gauss nodes (the last two: "reduced" only).
        particles: N; with Gauss nodes about as many.
        seed: Of all random numbers.
        repeats: Independent runs, whose mean and confidence band are written.
        batch, step: Samples of one SGD step, and its length in time.
    """

    method: Literal["reduced", "network", "sgd"] = "reduced"
    sampling: Literal["random", "sobol", "gauss"] = "random"
    particles: int = 4096
    seed: int = 0
    repeats: int = 1
    batch: int = 100
    step: float = 0.01


class Output(_Section, frozen=True):
    """What is written.

    Attributes:
        file: The HDF5 file; the configuration file's stem if not given.
        times: Number of equally spaced records of each stage, or a list of times.
        snapshots: Number of equally spaced snapshots of the density, or a list of times.
        paraview: Whether snapshots are also written for ParaView.
        plot: Whether the loss is plotted beside the file at the end.
    """

    file: str = "staircase.h5"
    times: int | list[float] = 81
    snapshots: int | list[float] = 2
    paraview: bool = False
    plot: bool = True


class Config(_Section, frozen=True):
    """One run's configuration."""

    target: TargetSection = TargetSection()
    network: Network = Network()
    input: Input = Input()
    initial: Initial = Initial()
    training: Training = Training()
    discretization: Discretization = Discretization()
    parallel: Parallel = Parallel()
    particles: Particles = Particles()
    output: Output = Output()

    def to_toml(self) -> str:
        """The whole configuration, defaults included, as TOML text."""
        lines = []
        for name, section in msgspec.structs.asdict(self).items():
            lines.append(f"[{name}]")
            values = msgspec.structs.asdict(section)
            stages = values.pop("stages", ())
            replaced = REPLACED["stages" if stages else "strategy"] if stages or values.get("strategy") else ()
            lines += _pairs({key: value for key, value in values.items() if key not in replaced})
            for stage in stages:
                lines += [f"[[{name}.stages]]", *_pairs(msgspec.structs.asdict(stage))]
        return "\n".join(lines) + "\n"

    @property
    def dimension(self) -> float:
        """d, an integer or inf."""
        return float(self.input.dimension)

    @property
    def final_time(self) -> float:
        """End of the last stage."""
        return sum(self.training.durations)

    @property
    def record_times(self) -> list[float]:
        """Times of the records, ascending: a number of them is for each stage."""
        ends = [0.0, *accumulate(self.training.durations)]
        return sorted({t for start, end in pairwise(ends) for t in _times(self.output.times, start, end)})

    @property
    def history_times(self) -> list[float]:
        """Those and the snapshots' times, ascending."""
        return sorted({*self.record_times, *self.snapshot_times})

    @property
    def snapshot_times(self) -> list[float]:
        """Times of the density snapshots, ascending."""
        return _times(self.output.snapshots, 0.0, self.training.density_time)


def load(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a TOML file (None: all defaults), with overrides "section.key=value".

    Numbers that are chosen automatically are filled in.

    Raises:
        InputError: For the first thing that is wrong, naming its key and what is allowed.
    """
    data = {} if path is None else _read(path)
    for override in overrides:
        _override(data, override)
    _check_names(data)
    if path is not None and isinstance(data.setdefault("output", {}), dict):
        data["output"].setdefault("file", path.stem + ".h5")
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$.")
        key = where.rstrip("`") or "configuration"
        raise InputError(f"{key}: {reason[0].lower()}{reason[1:]}{_choices(key)}") from None
    _check_ranges(config)
    return msgspec.structs.replace(config, discretization=_chosen(config))


def _chosen(config: Config) -> Discretization:
    """The discretization with its automatic numbers filled in.

    They keep the error of E(t) on [0, 8] at or below 1e-6 for p <= 2 and d >= 100 (1e-5 at d = 10, where the density
    forms thin structures), see the README's table of accuracy; p = 3 is coarser, to be affordable.
    """
    given, d = config.discretization, config.dimension
    p = config.target.subspace_dimension or largest_index(config.target.polynomial)
    if p <= 2:
        cells, r_nodes = (24, 4) if d < 30 else (16, 3) if d < 1000 else (10, 2)
        automatic = {"cells": cells, "a_nodes": 32, "r_nodes": r_nodes}
    else:
        automatic = {"cells": 8 if d < 30 else 6, "a_nodes": 12, "r_nodes": 2 if d < 1e4 else 1}
    return msgspec.structs.replace(given, **{key: value for key, value in automatic.items() if getattr(given, key) == 0})


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the configuration {str(path)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None


def _override(data: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise InputError(f"--set {text!r}: allowed: section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    values = data.setdefault(section, {})
    if isinstance(values, dict):
        values[key] = parsed


def _check_names(data: dict[str, Any]) -> None:
    sections = {field.name: field.type for field in msgspec.structs.fields(Config)}
    for name, values in data.items():
        if name not in sections:
            raise InputError(f"unknown section [{name}]{_nearest(name, sections)}; allowed: {', '.join(sections)}")
        if not isinstance(values, dict):
            raise InputError(f"{name}: expected a section [{name}], got {values!r}")
        _check_keys(values, sections[name], name, f"[{name}]")
    training = data.get("training", {})
    stages = training.get("stages", [])
    for i, stage in enumerate(stages if isinstance(stages, list) else []):
        if isinstance(stage, dict):
            _check_keys(stage, StageSection, f"training.stages[{i}]", "[[training.stages]]")
    for chosen in ("stages", "strategy"):
        unused = [key for key in REPLACED[chosen] if key in training]
        if training.get(chosen) and unused:
            raise InputError(f"training.{unused[0]}: has no effect beside training.{chosen}; allowed: one of the two")
    alone = [key for key in training if key.startswith("strategy_")] if not training.get("strategy") else []
    if alone:
        raise InputError(f"training.{alone[0]}: has no effect without training.strategy; allowed: with it")


def _check_keys(values: dict[str, Any], section: Any, where: str, title: str) -> None:
    keys = [field.name for field in msgspec.structs.fields(section)]
    for key in values:
        if key not in keys:
            raise InputError(f"unknown key {where}.{key}{_nearest(key, keys)}; allowed in {title}: {', '.join(keys)}")


def _choices(key: str) -> str:
    """The words that may stand at "section.key", where there are such."""
    kind: Any = Config
    for name in key.split("."):
        kind = next((field.type for field in msgspec.structs.fields(kind) if field.name == name), None)
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            break
    words = [x for part in (kind, *get_args(kind)) if get_origin(part) is Literal for x in get_args(part)]
    others = [part.__name__ for part in get_args(kind) if isinstance(part, type) and part is not NoneType]
    return f"; allowed: {', '.join([*others, *map(repr, words)])}" if words else ""


def _nearest(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _check_ranges(config: Config) -> None:
    numbers = config.discretization
    ranges = {
        "hermite_degree": (1, 20),
        "radial_degree": (0, 10),
        "cells": (0, 4096),
        "degree": (1, 7),
        "a_nodes": (0, 64),
        "r_nodes": (0, 64),
        "half_width": (1.0, 20.0),
        "grading": (0.0, 10.0),
        "tolerance": (1e-14, 1e-1),
    }
    for key, (low, high) in ranges.items():
        value = getattr(numbers, key)
        if not low <= value <= high:
            automatic = " (0: automatic)" if key in ("cells", "a_nodes", "r_nodes") else ""
            raise InputError(f"discretization.{key}: {value!r} is out of range; allowed: {low:g} to {high:g}{automatic}")
    d = config.dimension
    if not (d == inf or (d >= 1 and d == int(d))):
        raise InputError(f"input.dimension: {config.input.dimension!r} is no dimension; allowed: a positive integer, or inf")
    training = config.training
    for key in ("final_time", "strategy_time"):
        if not 0 < (1.0 if getattr(training, key) is None else getattr(training, key)) < inf:
            raise InputError(f"training.{key}: {getattr(training, key)!r}; allowed: a positive number")
    for i, stage in enumerate(training.stages):
        if not 0 < stage.duration < inf:
            raise InputError(f"training.stages[{i}].duration: {stage.duration!r}; allowed: a positive number")
    if config.parallel.mesh_ranks < 0:
        raise InputError(
            f"parallel.mesh_ranks: {config.parallel.mesh_ranks}; allowed: 0 (automatic) or a divisor of the number of ranks"
        )
    _check_particles(config)
    if not config.output.file.strip():
        raise InputError("output.file: is empty; allowed: the name of an HDF5 file")
    for key, least in (("times", 2), ("snapshots", 0)):
        _check_times(f"output.{key}", getattr(config.output, key), least, config.final_time)


def _check_particles(config: Config) -> None:
    numbers = config.particles
    ranges = {"particles": (1, 2**30), "seed": (0, 2**63), "repeats": (1, 10_000), "batch": (1, 2**24), "step": (1e-9, 1.0)}
    for key, (low, high) in ranges.items():
        value = getattr(numbers, key)
        if not low <= value <= high:
            raise InputError(f"particles.{key}: {value!r} is out of range; allowed: {low:g} to {high:g}")
    if numbers.method != "reduced" and numbers.sampling != "random":
        raise InputError(
            f'particles.sampling: {numbers.sampling!r} is for method = "reduced"; allowed with {numbers.method!r}: "random"'
        )
    if numbers.sampling == "sobol" and numbers.particles.bit_count() != 1:
        raise InputError(f"particles.particles: {numbers.particles} Sobol' points are not balanced; allowed: powers of 2")
    if numbers.sampling == "gauss" and numbers.repeats > 1:
        raise InputError(f"particles.repeats: {numbers.repeats} runs at Gauss nodes are all the same; allowed: 1")


def _check_times(key: str, value: int | list[float], least: int, final_time: float) -> None:
    if isinstance(value, int):
        if not least <= value <= 1_000_000:
            raise InputError(f"{key}: {value}; allowed: a number of times from {least} to 1000000, or a list of times")
        return
    ascending = all(a < b for a, b in pairwise(value))
    if not ascending or not all(isfinite(t) and 0 <= t <= final_time for t in value) or (least and not value):
        raise InputError(f"{key}: {value!r}; allowed: ascending times from 0 to the end of training, t = {final_time:g}")


def _times(value: int | list[float], start: float, end: float) -> list[float]:
    if not isinstance(value, int):
        return [float(t) for t in value]
    return [end] if value == 1 else np.linspace(start, end, value).tolist()


def _pairs(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(x) for x in value) + "]"
    return repr(value)


# Keys of [training] that stages, or a strategy, take the place of.
REPLACED = {
    "stages": ("final_time", "xi_a", "xi_w", "strategy", "strategy_copies", "strategy_degree", "strategy_time"),
    "strategy": ("xi_a", "xi_w"),
}
# What training a alone needs: it is slow, and as it is linear, a long time costs little.
STRATEGY_TIME = 1000.0
