"""The configuration file: TOML to frozen structures, with every key, type and range checked once, here."""

import copy
import re
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from math import inf, isfinite
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from mfpde.errors import InputError, did_you_mean, quoted
from mfpde.problem.sections import LARGEST_DIMENSION, MOST_TIMES, REPLACED, Config, StageSection, Training

# Numbers in the inner weights of all neurons, and in a batch of samples, that a run may hold: 8 and 2 GB.
MOST_WEIGHTS, MOST_SAMPLES = 2**30, 2**28
# Tables within each other.
DEEPEST = 10
# Of E(t), in units of E h*^2 / 2: about the rounding errors of sums and steps in double precision.
LEAST_ACCURACY = 1e-13
# Bytes of a configuration file, and the relative error of an output time at the end of the training.
LONGEST_FILE, ROUNDING = 1_000_000, 1e-12


def load(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a TOML file (None: all defaults), with overrides "section.key=value" or "key=value".

    Raises:
        InputError: For the first thing that is wrong, naming its key and what is allowed.
    """
    return config_of(read_data(path), overrides, None if path is None else path.stem)


def read_data(path: Path | None) -> dict[str, Any]:
    """What a TOML file holds, unchecked; nothing for None.

    Raises:
        InputError: If it cannot be read as TOML.
    """
    return {} if path is None else _read(path)


def config_of(data: dict[str, Any], overrides: Sequence[str] = (), stem: str | None = None) -> Config:
    """The configuration of the sections of a TOML file.

    Args:
        data: {section: {key: value}}; it is left as it is.
        overrides: As for `load`.
        stem: Stem of the name of the result file, where nothing else is said.

    Raises:
        InputError: For the first thing that is wrong, naming its key and what is allowed.
    """
    from mfpde.problem.parameters import resolved

    _check_depth(data)
    data = copy.deepcopy(data)
    for override in overrides:
        _override(data, override)
    _check_depth(data)
    _check_names(data)
    if stem is not None and isinstance(data.setdefault("output", {}), dict):
        data["output"].setdefault("file", _utf8(stem) + ".h5")
    _check_texts(data)
    data = resolved(data)
    options = data.get("discretization", {})
    if isinstance(options, dict) and options.get("relative_accuracy"):
        options.setdefault("accuracy", 0.0)  # who asks for one alone means that alone
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise InputError(_refusal(str(error), data)) from None
    _check_ranges(config)
    # 0 is another word for what is left out.
    left_out = {key: None for key in ("a_nodes", "r_nodes", "b_nodes", "cells") if getattr(config.discretization, key) == 0}
    return msgspec.structs.replace(config, discretization=msgspec.structs.replace(config.discretization, **left_out))


def section_with(key: str) -> str:
    """The section that has a key of this name.

    Raises:
        InputError: If none has, or several have.
    """
    kinds = {field.name: field.type for field in msgspec.structs.fields(Config)}
    structs = {section: kind for section, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    keys = {section: kind.__struct_fields__ for section, kind in structs.items()}
    found = [section for section, names in keys.items() if key in names]
    if len(found) > 1:
        raise InputError(f"{key}: a key of {' and '.join(found)}; allowed: with its section")
    if found:
        return found[0]
    names = [*kinds, *(name for section in keys.values() for name in section)]
    raise InputError(f"{quoted(key)}: no section and no key{did_you_mean(key, names)}; allowed: those of a configuration file")


def _read(path: Path) -> dict[str, Any]:
    name = quoted(str(path))
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_FILE + 1)
        if len(text) > LONGEST_FILE:
            raise InputError(f"the configuration {name} is longer than {LONGEST_FILE} bytes; allowed: shorter ones")
        return tomllib.loads(text.decode("utf-8-sig"))  # some editors begin with a byte order mark
    except OSError as error:
        raise InputError(f"cannot read the configuration {name}: {error.strerror}") from None
    except RecursionError:
        raise InputError(f"{name} is not a TOML file: too many brackets within each other") from None
    except ValueError as error:  # not TOML, not UTF-8, integers of 5,000 digits, or a zero in the path
        raise InputError(f"{name} is not a TOML file: {error}") from None


def _override(data: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and section and bool(dot) == bool(key)) or (not dot and section in Config.__struct_fields__):
        raise InputError(f"--set {quoted(text)}: allowed: section.key=value")
    if not dot:
        section, key = section_with(section), section
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    values = data.setdefault(section, {})
    if isinstance(values, dict):
        values[key] = parsed


def _check_depth(data: dict[str, Any]) -> None:
    """Raises InputError for tables within tables, in a number that no configuration has and no recursion stands."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [value for values in inner for value in values]
        if not level:
            return
    raise InputError(f"the configuration has more than {DEEPEST} tables within each other; allowed: sections of keys and values")


def _check_texts(data: dict[str, Any]) -> None:
    """Raises InputError for texts that are no Unicode, such as file names of other encodings."""
    for section, values in data.items():
        for key, value in values.items():
            if isinstance(value, str) and _utf8(value) != value:
                raise InputError(f"{section}.{key}: {quoted(value)} is not UTF-8; allowed: texts that are")


def _utf8(text: str) -> str:
    """The text with _ for each byte that is not UTF-8."""
    return "".join("_" if "\ud800" <= letter <= "\udfff" else letter for letter in text)


def _check_names(data: dict[str, Any]) -> None:
    sections = {field.name: field.type for field in msgspec.structs.fields(Config)}
    for name, values in data.items():
        if name not in sections:
            raise InputError(f"unknown section [{_short(name)}]{did_you_mean(name, sections)}; allowed: {', '.join(sections)}")
        if not isinstance(values, dict):
            raise InputError(f"{name}: expected a section [{name}], got {quoted(values)}; allowed: keys = values below [{name}]")
        if name != "parameters":
            _check_keys(values, sections[name], name, f"[{name}]")
    target = data.get("target", {})
    if "function" in target and "polynomial" in target:
        raise InputError("target.polynomial: has no effect beside target.function; allowed: one of the two")
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
            raise InputError(f"unknown key {where}.{_short(key)}{did_you_mean(key, keys)}; allowed in {title}: {', '.join(keys)}")


def _refusal(error: str, data: Any) -> str:
    """What msgspec says of a value, with the value and what is allowed."""
    reason, _, where = error.partition(" - at `$.")
    where = where.rstrip("`")
    value, kind, allowed = data, Any, ""
    section: Any = Config
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", where):
        value = value[name] if name else value[int(index)]
        if name and section is not None:
            kind = next(field.type for field in msgspec.structs.fields(section) if field.name == name)
            allowed = _allowed(kind)
        inside = (kind, *get_args(kind))
        section = next((part for part in inside if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)
    reason = "unknown" if reason.startswith("Invalid enum value") else f"{reason[0].lower()}{reason[1:]}"
    said = f"{quoted(value)}: {reason}"
    return f"{where or 'configuration'}: {said}; allowed: {allowed or 'the keys of this section'}"


def _allowed(kind: Any) -> str:
    """The words for a type: of its range, or of the choices."""
    origin, parts = get_origin(kind), [part for part in get_args(kind) if part is not NoneType]
    if origin is Annotated:
        inner, meta = parts
        words = meta.description or f"{meta.ge} to {meta.le}"
        return f"{'integers' if inner is int else 'numbers'} from {words}" if re.match(r"\S+ to ", words) else words
    if origin is Literal:
        return ", ".join(map(repr, parts))
    if origin in (list, tuple):
        return "lists of numbers" if origin is list else "sections [[training.stages]]"
    names = {int: "integers", float: "numbers", str: "a text in quotes", bool: "true, false"}
    return ", ".join(map(_allowed, parts)) or names.get(kind, "")


def _short(name: str) -> str:
    return quoted(name)[1:-1]


def _check_ranges(config: Config) -> None:
    d = config.dimension if isinstance(config.input.dimension, str | float) else config.input.dimension
    if not (d == inf or (1 <= d <= LARGEST_DIMENSION and d == int(d))):
        raise InputError(
            f"input.dimension: {quoted(config.input.dimension)} is no dimension; "
            f"allowed: a positive integer up to {LARGEST_DIMENSION:g}, or inf"
        )
    _check_accuracy(config)
    _check_biases(config)
    _check_particles(config)
    _check_text("output.file", config.output.file)
    if config.discretization.mesh is not None:
        _check_text("discretization.mesh", config.discretization.mesh)
    for key, least in (("times", 2), ("snapshots", 0)):
        _check_times(f"output.{key}", getattr(config.output, key), least, config.final_time)


def _check_accuracy(config: Config) -> None:
    absolute, relative = config.discretization.accuracy, config.discretization.relative_accuracy
    if absolute is False and relative:
        raise InputError("discretization.relative_accuracy: has no effect with accuracy = false; allowed: false, or without that")
    if absolute is not False and absolute < LEAST_ACCURACY and not (absolute == 0 and relative):
        raise InputError(
            f"discretization.accuracy: {absolute:g}; allowed: {LEAST_ACCURACY:g} to 0.1, or false, or 0 with relative_accuracy"
        )


def _check_biases(config: Config) -> None:
    """What is said of biases needs some; affine frames and averages of copies are of networks without them."""
    training, numbers = config.training, config.discretization
    parts: list[tuple[str, Training | StageSection]] = [
        ("training", training),
        *((f"training.stages[{i}]", stage) for i, stage in enumerate(training.stages)),
    ]
    if config.initial.b is None:
        given = [f"{key}.xi_b" for key, part in parts if part.xi_b is not None]
        given += [f"{key}.decay_b" for key, part in parts if part.decay_b]
        given += [f"discretization.{key}" for key in ("b_nodes", "b_panels") if getattr(numbers, key)]
        if given:
            raise InputError(f'{given[0]}: has no effect without biases; allowed: with initial.b, such as "point(0)"')
        return
    averaged = [f"training.stages[{i}].average" for i, stage in enumerate(training.stages) if stage.average > 1]
    if training.strategy or averaged:
        key = "training.strategy" if training.strategy else averaged[0]
        raise InputError(f"{key}: averages of copies are of neurons without biases; allowed: without initial.b")


def _check_particles(config: Config) -> None:
    numbers, d = config.particles, config.dimension
    for key, count, most in (("particles", numbers.particles, MOST_WEIGHTS), ("batch", numbers.batch, MOST_SAMPLES)):
        if numbers.method in (["network", "sgd"] if key == "particles" else ["sgd"]) and d < inf and count * d > most:
            raise InputError(
                f"particles.{key}: {count} in dimension {d:g}; allowed with {numbers.method!r}: up to {int(most // d)}"
            )
    if numbers.method != "reduced" and numbers.sampling != "random":
        raise InputError(
            f'particles.sampling: {numbers.sampling!r} is for method = "reduced"; allowed with {numbers.method!r}: "random"'
        )
    if numbers.label_noise and numbers.method != "sgd":
        raise InputError(
            f'particles.label_noise: {numbers.label_noise:g} has no effect with method = "{numbers.method}", which follows the '
            'population gradient; allowed: 0, or method = "sgd"'
        )
    if numbers.sampling == "sobol" and numbers.particles.bit_count() != 1:
        raise InputError(f"particles.particles: {numbers.particles} Sobol' points are not balanced; allowed: powers of 2")
    if numbers.sampling == "gauss" and numbers.repeats > 1:
        raise InputError(f"particles.repeats: {numbers.repeats} runs at Gauss nodes are all the same; allowed: 1")


def _check_text(key: str, text: str) -> None:
    if not text.strip() or any(c < " " for c in text):
        raise InputError(f"{key}: {quoted(text)} is no name of a file; allowed: names without control characters")


def _check_times(key: str, value: int | list[float], least: int, final_time: float) -> None:
    if isinstance(value, int):
        return
    ascending = all(a < b for a, b in pairwise(value))
    inside = all(isfinite(t) and 0 <= t <= final_time * (1 + ROUNDING) for t in value)
    if not ascending or not inside or (least and not value) or len(value) > MOST_TIMES:
        allowed = f"up to {MOST_TIMES} ascending times from 0 to the end of training, t = {final_time:g}"
        raise InputError(f"{key}: {quoted(value)}; allowed: {allowed}")
