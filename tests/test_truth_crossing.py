"""When the loss falls to a level: from the run's dense output, whatever its records."""

from math import inf
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import mfpde
from mfpde.output.crossing import crossing

CASE: dict[str, Any] = {
    "polynomial": "c*z1 + 0.6*z1**2",
    "activation": "tanh(u + 0.4)",
    "dimension": inf,
    "parameters": {"c": 0.9},
    "final_time": 5.0,
}


@pytest.mark.parametrize("records", [2, 11, 81])
def test_the_time_to_a_level_does_not_depend_on_the_records(records: int) -> None:
    found = mfpde.run(**CASE, times=records, progress=False).time_to_level(0.7)
    assert abs(found.time - 2.672545) <= found.error < 1e-3


def test_levels_that_are_not_reached_and_runs_without_errors(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    result = mfpde.run(**CASE, times=5, save=path, progress=False)
    assert result.time_to_level(1.0).time == 0.0 and result.time_to_level(1e-9).time == inf
    assert np.isnan(result.time_to_level(1e-9).error)
    assert result.error is not None
    barely = (result.loss[-1] + 0.1 * result.error[-1]) / result.loss[0]  # the true loss may stay above it
    assert result.time_to_level(barely).time < 5.0 and result.time_to_level(barely).error == inf
    given = mfpde.run(**CASE, times=5, accuracy=False, hermite_degree=10, progress=False).time_to_level(0.7)
    assert given.time == pytest.approx(2.6725, abs=0.02) and np.isnan(given.error)
    right = result.time_to_level(0.7)
    with h5py.File(path, "r+") as file:  # as of another integrator, which keeps no mean field
        del file["field"]
        rough = crossing(file, result.history, 0.7 * float(result.loss[0]))
    assert abs(rough.time - right.time) <= rough.error and rough.error > 10 * right.error
