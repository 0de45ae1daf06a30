"""Configurations in Python: a file or a dict of its sections, and keywords that name sections or keys of any of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mfpde.errors import InputError, did_you_mean, quoted
from mfpde.problem.config import read_data
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
    kinds = {field.name: field.type for field in msgspec.structs.fields(Config)}
    if name in kinds:
        if not isinstance(value, Mapping):
            raise InputError(f"{name}: {quoted(value)}; allowed: a dict of the keys of [{name}]")
        return name
    structs = {section: kind for section, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    keys = {section: {field.name for field in msgspec.structs.fields(kind)} for section, kind in structs.items()}
    found = [section for section, names in keys.items() if name in names]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{name}: a key of {' and '.join(found)}; allowed: {found[0]}={{{name!r}: ...}}")
    names = [*kinds, *(key for section in keys.values() for key in section)]
    raise InputError(f"{quoted(name)}: no section and no key{did_you_mean(name, names)}; allowed: those of a configuration file")


def _plain(value: Any) -> Any:
    """The value without numbers of numpy, tuples and paths: as TOML would give it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value
