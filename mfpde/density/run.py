"""What a result file holds of a run's neurons: its problem, and what its discretisation has kept of the density."""

import tomllib

import h5py

from mfpde.discretisation.recorded import PointMasses, PushForward
from mfpde.discretisations import discretisation_of
from mfpde.problem.config import config_of
from mfpde.problem.problem import Problem, problem_of
from mfpde.problem.sections import Config


def read_density(file: h5py.File) -> PushForward | PointMasses:
    """The density of an open result file.

    Raises:
        InputError: If it holds none, or its configuration names what this version does not know.
    """
    config, problem = read_problem(file)
    return discretisation_of(problem, config.discretization).read(file, problem)


def read_problem(file: h5py.File) -> tuple[Config, Problem]:
    """The configuration of an open result file, and its problem."""
    config = config_of(tomllib.loads(file.attrs["config"]))
    return config, problem_of(config)
