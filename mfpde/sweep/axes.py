"""The axes of a sweep: what is varied, and the members, one for every combination of values."""

import hashlib
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import isnan, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError, quoted

MOST = 100_000
# Names that the file of a sweep gives to something else.
TAKEN = ("time", "record", "loss", "error", "state", "message", "seconds")
ALLOWED = "allowed: section.key=[value, value, ...], different numbers or texts in quotes"


@dataclass(frozen=True)
class Axis:
    """One varied key.

    Attributes:
        key: "section.key".
        name: Its last part, or with the section if that is not unique.
        values: As the configuration takes them.
    """

    key: str
    name: str
    values: tuple[Any, ...]

    @property
    def labels(self) -> list[str]:
        """The values for tables and pictures."""
        short = [f"{value:g}" if isinstance(value, float) else _text(value).strip('"') for value in self.values]
        return short if len(set(short)) == len(short) else [_text(value) for value in self.values]

    @property
    def scale(self) -> NDArray[Any]:
        """The values as an array: of numbers, or of texts."""
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values):
            return np.array(self.values, dtype=float)
        return np.array(self.labels, dtype=object)

    def override(self, index: int) -> str:
        """What sets the key to one of the values."""
        return f"{self.key}={_text(self.values[index])}"


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """The axes of --vary options.

    Raises:
        InputError: If one of them cannot be read, or they are too many members.
    """
    pairs = [_parse(text) for text in texts]
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise InputError(f"--vary: {max(keys, key=keys.count)} is varied twice; allowed: different keys")
    last = [key.rpartition(".")[2] for key in keys]
    names = [
        short if last.count(short) == 1 and short not in TAKEN else key.replace(".", "_")
        for key, short in zip(keys, last, strict=True)
    ]
    if prod(len(values) for _, values in pairs) > MOST:
        raise InputError(f"--vary: {prod(len(values) for _, values in pairs)} members; allowed: up to {MOST}")
    return tuple(Axis(key, name, values) for (key, values), name in zip(pairs, names, strict=True))


def _parse(text: str) -> tuple[str, tuple[Any, ...]]:
    key, equals, values = text.partition("=")
    key = key.strip()
    try:
        found = tomllib.loads(f"values = {values}")["values"] if equals else None
    except (ValueError, RecursionError):
        found = None
    if not (re.fullmatch(r"\w+\.\w+", key) and isinstance(found, list) and found):
        raise InputError(f"--vary {quoted(text)}: {ALLOWED}")
    if key.startswith("output."):
        raise InputError(f"--vary {quoted(text)}: what is written is the same for all members; allowed: keys of other sections")
    plain = all(isinstance(value, int | float | str) for value in found)
    if not plain or any(isinstance(value, float) and isnan(value) for value in found) or len(set(found)) < len(found):
        raise InputError(f"--vary {quoted(text)}: {ALLOWED}")
    return key, tuple(found)


def members(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """The indices of all members, the last axis fastest."""
    return list(product(*(range(len(axis.values)) for axis in axes)))


def member_name(axes: Sequence[Axis], index: Sequence[int]) -> str:
    """A member's name by its values, the same in a sweep over more of them: "dimension=100,c=0.25"."""
    text = ",".join(f"{axis.name}={axis.labels[i]}" for axis, i in zip(axes, index, strict=True))
    exact = ",".join(axis.override(i) for axis, i in zip(axes, index, strict=True))
    short = re.sub(r"[^\w.,=+-]", "_", text)
    told = all(_says(axis.labels[i], axis.values[i]) for axis, i in zip(axes, index, strict=True))
    if short != text or len(short) > 100 or not told:
        short = f"{short[:100]}_{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
    return short


def _says(label: str, value: Any) -> bool:
    """Whether a label is the value itself, rather than the value rounded."""
    return label == _text(value).strip('"') if isinstance(value, str | bool) else float(label) == value


def _text(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
