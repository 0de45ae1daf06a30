"""The configuration file: TOML to frozen structures, with every key, type and range checked once, here."""

import difflib
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from math import inf, isfinite
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import msgspec

from mfpde.errors import InputError
from mfpde.problem.sections import REPLACED, Config, StageSection


def load(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a TOML file (None: all defaults), with overrides "section.key=value".

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
    return config


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
        "accuracy": (1e-8, 0.1),
        "hermite_degree": (1, LARGEST_K),
        "radial_degree": (0, LARGEST_K // 2),
        "cells": (1, 4096),
        "degree": (1, 7) if numbers.frame == "affine" else (0, 15),
        "a_nodes": (1, 1024),
        "a_panels": (1, 512),
        "r_nodes": (1, 64),
        "core_width": (0.01, 10.0),
        "half_width": (1.0, 20.0),
        "grading": (0.0, 10.0),
        "tolerance": (1e-14, 1e-1),
    }
    _check_within("discretization", numbers, ranges)
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


# Largest Hermite degree: the tables hold as many derivatives.
LARGEST_K = 60


def _check_within(section: str, numbers: Any, ranges: dict[str, tuple[float, float]]) -> None:
    for key, (low, high) in ranges.items():
        value = getattr(numbers, key)
        if value is not None and value is not False and not low <= value <= high:
            raise InputError(f"{section}.{key}: {value!r} is out of range; allowed: {low:g} to {high:g}")


def _check_particles(config: Config) -> None:
    numbers = config.particles
    ranges = {"particles": (1, 2**30), "seed": (0, 2**63), "repeats": (1, 10_000), "batch": (1, 2**24), "step": (1e-9, 1.0)}
    _check_within("particles", numbers, ranges)
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
