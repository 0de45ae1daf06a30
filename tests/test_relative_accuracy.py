"""The error of E(t) relative to E(t), near equilibria."""

from typing import Any

import numpy as np
import pytest
import small_losses

import mfpde
from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.tolerance import first_tolerance
from mfpde.digits import credible
from mfpde.errors import InputError
from mfpde.problem.config import load


def test_a_loss_that_falls_like_a_power_is_known_relative_to_what_is_left() -> None:
    """By the closed form; d = 4 is not the dimension of the page."""
    times = np.array([0.0, 0.5, 3.0])
    E, error = small_losses.measured(4, times)
    exact = small_losses.reference(4, times)
    assert exact[-1] < 5e-3 and (np.abs(E - exact) <= error + 1e-12 * exact).all() and (error <= 1e-3 * exact).all()


CONVERGING: dict[str, Any] = {"polynomial": "z1**2 + 0.6*z1", "activation": "u + u**2/2", "dimension": "inf", "xi_a": 2.0}


def test_the_stated_relative_error_holds_at_every_record() -> None:
    """Of a loss that falls exponentially, against a run to a thirtieth of the accuracy."""
    rough, fine = (mfpde.run(**CONVERGING, relative_accuracy=x, final_time=5.0, times=3, progress=False) for x in (3e-2, 1e-3))
    assert rough.error is not None and fine.error is not None and rough.summary is not None and rough.summary.answer is not None
    assert (np.abs(rough.loss - fine.loss) <= rough.error + fine.error).all()
    assert (rough.error <= 3e-2 * rough.loss).all() and rough.summary.answer.estimate.reached_of_loss <= 3e-2
    assert fine.loss[-1] < 1e-2 * fine.loss[0]


def test_whichever_allows_more_counts_at_a_record_and_no_loss_below_rounding() -> None:
    allowed = Allowed(1e-6, 1e-3, 1e-12)
    assert allowed.at(np.array([1.0, 1e-3, 1e-5, 0.0])) == pytest.approx([1e-3, 1e-6, 1e-6, 1e-6])
    assert Allowed(0.0, 1e-3, 1e-12).at(np.array([1e-9, 1e-15])) == pytest.approx([1e-12, 1e-15])
    assert allowed.times(np.array([5e-7, 5e-7]), np.array([1e-5, 1e-8])) == 0.5
    assert (allowed * 2).at(np.array([1.0]))[0] == 2e-3


def test_the_tolerance_of_a_step_follows_the_residual() -> None:
    """E = r^2 / 2: what is left of E at 1e-8 of the unit leaves r = 1e-4 of its size."""
    relative = Allowed(0.0, 1e-2, 1e-12)
    ratio = first_tolerance(relative, 1.0, 1e-4) / first_tolerance(relative, 1.0, 1e-8)
    assert abs(ratio - 100) < 1e-9 and first_tolerance(Allowed(1e-4), 1.0, 1e-8) == pytest.approx(2e-6)


def test_relative_accuracy_alone_means_that_alone() -> None:
    assert load(None, ["discretization.relative_accuracy=1e-3"]).discretization.accuracy == 0
    both = load(None, ["discretization.relative_accuracy=1e-3", "discretization.accuracy=1e-9"]).discretization
    assert (both.accuracy, both.relative_accuracy) == (1e-9, 1e-3)
    assert load(None).discretization.accuracy == 1e-4


@pytest.mark.parametrize(
    "words,message",
    [
        (["accuracy=0"], "discretization.accuracy: 0; allowed: 1e-13 to 0.1, or false, or 0 with relative_accuracy"),
        (["accuracy=1e-14"], "discretization.accuracy: 1e-14; allowed: 1e-13"),
        (["accuracy=false", "relative_accuracy=1e-3"], "has no effect with accuracy = false"),
        (["relative_accuracy=0.5"], "discretization.relative_accuracy"),
        (["relative_accuracy=1e-3", "frame=affine"], "no error"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mfpde.build_problem(load(None, [f"discretization.{word}" for word in words]))


@pytest.mark.parametrize(
    "value,error,shown",
    [
        (1.87505e-8, 1.6e-11, "1.8750(16)e-8"),
        (2.0832e-7, 4e-10, "2.083(4)e-7"),
        (1e-9, 3e-7, "0(3e-7)"),
        (1e-9, 9.7e-7, "0(1e-6)"),
        (9.9999996e-5, 3e-10, "1.000000(3)e-4"),
        (1e-4, 1e-6, "0.0001000(10)"),
    ],
)
def test_small_numbers_are_printed_with_a_power_of_ten(value: float, error: float, shown: str) -> None:
    assert credible(value, error) == shown


@pytest.mark.parametrize("times,scale", [([0.0, 1e-3, 1e-2, 0.1, 2.0], "log"), (5, "linear")])
def test_records_that_are_spaced_by_log_t_are_drawn_so(times: Any, scale: str) -> None:
    coarse = {"accuracy": False, "a_nodes": 4, "hermite_degree": 2}
    result = mfpde.run(polynomial="z1", dimension="inf", final_time=2.0, times=times, discretization=coarse, progress=False)
    (axis,) = result.plot().axes
    assert (axis.get_xscale(), axis.get_yscale()) == (scale, "log")
