"""What a result file holds of a run's neurons: its problem, and what its discretisation has kept of the density."""

import tomllib

import h5py

from mfpde.discretisation.recorded import PointMasses, PushForward
from mfpde.discretisations import DISCRETISATIONS
from mfpde.errors import InputError, quoted
from mfpde.problem.config import config_of
from mfpde.problem.problem import Problem, problem_of


def read_density(file: h5py.File) -> PushForward | PointMasses:
    """The density of an open result file.

    Raises:
        InputError: If it holds none, or its configuration names what this version does not know.
    """
    # Files of version 0.1.0 do not say it.
    name = str(file.attrs.get("discretisation", "flow" if "resolution" in file else "affine"))
    if name not in DISCRETISATIONS:
        raise InputError(f"{file.filename!r} is of the discretisation {quoted(name)}; allowed: {', '.join(DISCRETISATIONS)}")
    return DISCRETISATIONS[name].read(file, read_problem(file))


def read_problem(file: h5py.File) -> Problem:
    """The problem of an open result file."""
    return problem_of(config_of(tomllib.loads(file.attrs["config"])))
