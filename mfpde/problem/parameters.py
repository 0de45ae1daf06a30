"""[parameters]: named constants, for every expression of a configuration.

    [parameters]
    c = 0.25
    s = "sqrt(1 - c**2)"                  # of those above it, too

    [target]
    polynomial = "c*z1 + s*z1*z2"

A name in an expression stands for its value in brackets, so that decimal numbers stay exact; the arguments of a law become
numbers.  The configuration that a run keeps has the values in the place of the names, and the section as it was.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, get_args

import msgspec

from mfpde.errors import InputError, quoted
from mfpde.expressions.expression import parse
from mfpde.expressions.reading import CONSTANTS, FUNCTIONS, HERMITE
from mfpde.problem.activation import NAMES
from mfpde.problem.laws import Law
from mfpde.problem.sections import Config

SECTIONS = ("target", "network", "initial", "training")
# Names that mean something of their own.
VARIABLES = re.compile(r"[artuvwxyz]|[a-z]\d+")
MOST = 100
_CALL = re.compile(r"([a-z_]+)\s*\(([^()]*)\)")


def resolved(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a configuration with the values of its parameters in the place of their names.

    Raises:
        InputError: If a parameter has no name or value that is allowed.
    """
    parameters = data.get("parameters", {})
    if not parameters:
        return dict(data)
    values: dict[str, str] = {}
    for name, value in parameters.items():
        values[name] = _value(name, value, values)
    words = _names(values)
    fields = {field.name: field.type for field in msgspec.structs.fields(Config)}
    replaced = {name: _replaced(data[name], fields[name], words, values, name) for name in SECTIONS if name in data}
    return {**data, **replaced}


def _value(name: str, value: Any, before: Mapping[str, str]) -> str:
    """The text that stands for a parameter, in brackets."""
    key = f"parameters.{name}"
    taken = name in (*CONSTANTS, *FUNCTIONS, *NAMES, *Law.classes()) or VARIABLES.fullmatch(name) or HERMITE.fullmatch(name)
    if taken or not name.isidentifier() or not name.isascii() or len(before) == MOST:
        raise InputError(
            f"{quoted(key)}: allowed: up to {MOST} names of letters that are no variable, function or law, such as c"
        )
    if isinstance(value, str):
        text = _names(before).sub(lambda match: before[match[1]], value) if before else value
        parse(text, [], key)
        return f"({text})"
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InputError(f"{key}: {quoted(value)}; allowed: a finite number, or an expression of numbers and parameters above it")
    return f"({value!r})"


def _names(values: Mapping[str, str]) -> re.Pattern[str]:
    """The names, where they are not called like functions."""
    return re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, values))})(?!\w|\s*\()")


def _replaced(value: Any, kind: Any, words: re.Pattern[str], values: Mapping[str, str], key: str) -> Any:
    """A value of the data with the names in its expressions replaced."""
    if isinstance(value, str):
        if not _takes_text(kind) or not words.search(value):
            return value
        if key.startswith("initial.") or ".terms[" in key:
            value = _CALL.sub(lambda call: _numbers(call, words, values, key), value)
        return words.sub(lambda match: values[match[1]], value)
    sections = [part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    if isinstance(value, dict) and sections:
        kinds = {field.name: field.type for field in msgspec.structs.fields(sections[0])}
        return {name: _replaced(x, kinds.get(name), words, values, f"{key}.{name}") for name, x in value.items()}
    if isinstance(value, list) and sections:
        return [_replaced(x, sections[0], words, values, f"{key}[{i}]") for i, x in enumerate(value)]
    if isinstance(value, list) and key.endswith(".terms"):
        return [_replaced(x, str, words, values, f"{key}[{i}]") for i, x in enumerate(value)]
    return value


def _numbers(call: re.Match[str], words: re.Pattern[str], values: Mapping[str, str], key: str) -> str:
    """A law with numbers for those of its arguments that name parameters."""
    arguments = [
        repr(float(parse(words.sub(lambda match: values[match[1]], text), [], key))) if words.search(text) else text
        for text in call[2].split(",")
    ]
    return f"{call[1]}({', '.join(text.strip() for text in arguments)})"


def _takes_text(kind: Any) -> bool:
    """Whether a key holds a text that is not one of a few words."""
    return kind is str or any(_takes_text(part) for part in get_args(kind))
