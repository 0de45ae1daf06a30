"""Results of a series of runs that are there already, and need not be computed again."""

import tomllib
from pathlib import Path
from typing import Any

import h5py


def is_finished(path: Path, config: Any, program: str = "solve") -> bool:
    """Whether a file holds the complete result of the same configuration.

    Args:
        path: The file, which may be missing.
        config: Of the run.
        program: "solve" or "particles".
    """
    if not path.is_file():
        return False
    try:
        with h5py.File(path) as file:
            same_program = ("method" in file.attrs) == (program == "particles")
            stored = str(file.attrs["config"])
            return bool(file.attrs["complete"]) and same_program and _essence(stored) == _essence(config.to_toml())
    except Exception:  # damaged, or of another version: it is computed again
        return False


def _essence(text: str) -> dict[str, Any]:
    """A configuration without what cannot change the curves; parameters are in the expressions already."""
    data = tomllib.loads(text)
    data.pop("parallel", None)
    data.pop("parameters", None)
    data["output"] = data["output"]["times"]
    return data
