"""Configurations in Python: a file or a dict of its sections, and keywords that name sections or keys of any of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mfpde.errors import InputError, quoted
from mfpde.problem.config import read_data, section_with
from mfpde.problem.sections import Config

Source = str | Path | Mapping[str, Any] | None


def sections_of(source: Source, keywords: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The sections of a file or a dict (None: of nothing) with keywords, which win; and the stem of the file's name.

    Raises:
        InputError: If the file cannot be read, or a keyword is neither a section nor a key.
    """
    if isinstance(source, Mapping):
        data, stem = _plain(source), None
    else:
        path = None if source is None else Path(source)
        data, stem = read_data(path), None if path is None else path.stem
    for name, value in keywords.items():
        section = _section(name, value)
        if not isinstance(data.setdefault(section, {}), dict):
            raise InputError(f"{section}: expected a section, got {quoted(data[section])}; allowed: a dict of keys and values")
        data[section].update(_plain(dict(value)) if isinstance(value, Mapping) else {name: _plain(value)})
    return data, stem


def _section(name: str, value: Any) -> str:
    """The section that a keyword names, or whose key it is.

    Raises:
        InputError: If there is none.
    """
    if name in Config.__struct_fields__:
        if not isinstance(value, Mapping):
            raise InputError(f"{name}: {quoted(value)}; allowed: a dict of the keys of [{name}]")
        return name
    return section_with(name)


def _plain(value: Any) -> Any:
    """The value without numbers of numpy, tuples and paths: as TOML would give it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value
