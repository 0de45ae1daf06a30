"""The group /width of a result file, and the result file of a width run alone."""

import time

import numpy as np

from mfpde.features.hermite.modes import hermite_modes
from mfpde.output.description import describe
from mfpde.output.sink import Sink
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.width.answer import NEURONS, Width

# Arrays of an answer by their names in the file.
NAMES = {
    "time": "time",
    "loss": "loss",
    "correction": "correction",
    "deviation": "deviation",
    "sectors": "sectors",
    "error": "correction_error",
    "loss_error": "loss_error",
    "deviation_error": "deviation_error",
}


def write_width(file: Sink, found: Width, neurons: int | None = None) -> None:
    """Collective. Writes an answer to /width; `neurons` are those of the band in pictures."""
    for name, field in NAMES.items():
        file.dataset(f"/width/{name}", getattr(found, field))
    if (sgd := found.sgd) is not None:
        for name in ("euler", "euler_error", "noise", "noise_error", "noise_deviation"):
            file.dataset(f"/width/{name}", getattr(sgd, name))
        file.attributes({"batch": sgd.batch, "step": sgd.step}, "/width")
    file.attributes(
        {
            "neurons": NEURONS if neurons is None else neurons,
            "neurons_for_mean": found.neurons_for_mean(),
            "neurons_for_one": found.neurons_for_one(),
            "accuracy": found.accuracy,
            "resolution": found.resolution,
        },
        "/width",
    )


def write_result(file: Sink, problem: Problem, config: Config, found: Width, neurons: int | None, started: float) -> None:
    """Collective. The same as a result of its own, with E at the times of c and s as its history.

    Args:
        file: To write to.
        problem, config: What was asked.
        found: The answer.
        neurons: As for `write_width`.
        started: When the computation began, by the monotonic clock.
    """
    describe(file, problem, hermite_modes(problem.p, found.hermite_degree, found.radial_degree, problem.d), config)
    file.attributes({"method": "width"})
    count = len(found.time)
    columns = {
        "time": found.time,
        "loss": found.loss,
        "coefficients": found.moments,
        "mass": np.ones(count),
        "wall_time": np.full(count, time.monotonic() - started),
    }
    for name, values in columns.items():
        file.dataset(f"/history/{name}", values)
    file.dataset("/error/estimate", found.loss_error)
    write_width(file, found, neurons)
    file.publish()
