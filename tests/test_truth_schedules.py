"""Learning rates that are nearly always nearly 0, or oscillate: resolved before they are integrated, whatever their width."""

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from support import SELF

import mfpde
from mfpde.discretisations import build_problem, start_flow
from mfpde.errors import InputError
from mfpde.evolution.flow import loss
from mfpde.evolution.integrate import integrate
from mfpde.problem.config import load
from mfpde.problem.schedule import parse_schedule

# E of the default target at d = inf after an integral of the rate of 1, whatever its course.
AT_ONE = 0.8928967


def bump(width: float, at: float) -> str:
    """A rate with the integral 1."""
    return f"exp(-((t - {at})/{width})**2)/({width}*sqrt(pi))"


@pytest.mark.parametrize(
    "rate,T,right",
    [
        (bump(0.01, 3.05), 8.0, AT_ONE),
        (bump(1e-4, 3.05), 8.0, AT_ONE),
        (bump(0.1, 33.05), 100.0, AT_ONE),
        (f"0.5*{bump(1e-3, 0.77)} + 0.5*{bump(0.03, 6.2)}", 8.0, AT_ONE),
        ("exp(-(t-20)**2/2) + exp(-((t-150.3)/0.5)**2)*2", 200.0, 0.5431630),
        ("50/cosh((t - 5.01)/0.01)^2", 8.0, AT_ONE),
    ],
)
def test_a_pulse_teaches_what_its_integral_says(rate: str, T: float, right: float) -> None:
    result = mfpde.run(dimension=inf, final_time=T, xi_a=rate, xi_w=rate, times=5, progress=False)
    assert result.error is not None
    assert abs(result.loss[-1] - right) <= result.error[-1] + 2e-7 and result.error[-1] < 1e-4


def test_no_integrator_leaps_over_a_pulse() -> None:
    rate = bump(0.01, 3.05)
    config = load(None, ["input.dimension=inf", f"training.xi_a={rate}", f"training.xi_w={rate}", "training.final_time=8"])
    problem = build_problem(config)
    found = []
    for method in ("petsc", "dop853"):
        flow = start_flow(SELF, problem, config.discretization)
        integrate(
            flow, [8.0], 1e-9, lambda step, vector, flow=flow: found.append(loss(flow.moments(vector, 8.0), flow.target)), method
        )
    assert found[0] == pytest.approx(found[1], abs=1e-7) and found[0] == pytest.approx(0.893, abs=2e-3)


@pytest.mark.parametrize(
    "text,integral",
    [
        (bump(1e-7, 3.05), 1.0),
        ("0.001/((t - 3.05)^2 + 1e-6)", 3.14106276454),
        ("1 + 100*exp(-((t - 3.05)/0.001)^2)", 8 + 0.1 * np.sqrt(np.pi)),
        ("1 + sin(1000*t)", 8 + (1 - np.cos(8000)) / 1000),
    ],
)
def test_pieces_hold_the_integral(text: str, integral: float) -> None:
    schedule = parse_schedule(text, "k", 8.0)
    assert schedule.integral(np.array([8.0]))[0] == pytest.approx(integral, rel=1e-10)
    for a, b in list(pairwise(schedule.pieces))[::29]:  # a step stays within pieces that are no shorter
        for t in (a, a + 0.7 * (b - a)):
            entered = [y - x for x, y in pairwise(schedule.pieces) if x < t + schedule.longest_step(t) - 1e-12 and y > t]
            assert min(entered) >= schedule.longest_step(t) - 1e-12 or t + schedule.longest_step(t) in schedule.pieces


def test_what_cannot_be_resolved_is_refused_and_smooth_rates_do_not_shorten_steps() -> None:
    for text in ("1 + sin(1e4*t)", "exp(-1e6*sin(300*t)^2)"):
        with pytest.raises(InputError, match="allowed"):
            parse_schedule(text, "k", 8.0)
    for text in ("1/(1 + t/5)", "exp(-t)", "1 + t", "where(t < 5, 1, 0.1)"):
        schedule = parse_schedule(text, "k", 8.0)
        assert min(schedule.longest_step(t) for t in np.linspace(0, 8, 50)[:-1]) >= 3.0
