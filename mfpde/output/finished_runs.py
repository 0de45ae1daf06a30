"""Results of a series of runs that are there already, and need not be computed again."""

import tomllib
from pathlib import Path
from typing import Any

import h5py

from mfpde.problem.sections import Config


def is_finished(path: Path, config: Config, program: str = "solve") -> bool:
    """Whether a file holds the complete result of the same configuration, with all outputs that it asks for.

    Args:
        path: The file, which may be missing.
        config: Configuration of the run.
        program: "solve" or "particles".
    """
    if not path.is_file():
        return False
    try:
        with h5py.File(path) as file:
            same_program = ("method" in file.attrs) == (program == "particles")
            stored = str(file.attrs["config"])
            same = _essence(stored) == _essence(config.to_toml()) and _outputs(config.to_toml()) <= _outputs(stored)
            return bool(file.attrs["complete"]) and same_program and same
    except Exception:  # damaged, or of another version: it is computed again
        return False


def _essence(text: str) -> dict[str, Any]:
    """A configuration without what cannot change the curves; parameters are in the expressions already."""
    data = tomllib.loads(text)
    data.pop("parallel", None)
    data.pop("parameters", None)
    data["output"] = data["output"]["times"]
    return data


def _outputs(text: str) -> set[str]:
    """What a configuration writes beside its file, but for the plot."""
    output = tomllib.loads(text)["output"]
    return {*output["also"], *(["paraview"] if output["paraview"] else [])}
