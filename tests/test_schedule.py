"""Learning rates with jumps, kinks and pulses: breaks, limits, integrals, and what is refused."""

import pickle
import time
from itertools import pairwise
from math import exp, inf, pi, sqrt

import numpy as np
import pytest

from mfpde.errors import InputError
from mfpde.expressions.reading import SECONDS
from mfpde.problem.schedule import Text, joint_breaks, parse_schedule

T = 8.0


@pytest.mark.parametrize(
    "text,breaks,limits",
    [
        ("1 - 0.9*heaviside(t-5)", [5.0], [(1.0, 0.1)]),
        ("where(t < 5, 1, 0.1)", [5.0], [(1.0, 0.1)]),
        ([[0, 1.0], [5, 0.1]], [5.0], [(1.0, 0.1)]),
        ("100*heaviside(t-3.05)*heaviside(3.07-t)", [3.05, 3.07], [(0.0, 100.0), (100.0, 0.0)]),
        ("where(1 <= t < 2, t, 3)", [1.0, 2.0], [(3.0, 1.0), (2.0, 3.0)]),
        ("heaviside(cos(t) - 0.5)", [pi / 3, 5 * pi / 3, 7 * pi / 3], [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)]),
        ("max(0, 1 - t) + abs(t - 1/3)", [1 / 3, 1.0], [(2 / 3, 2 / 3), (2 / 3, 2 / 3)]),
        ("1 + sign(t^2 - 2)", [sqrt(2)], [(0.0, 2.0)]),
        ("heaviside((t - 1)*(t - 2)*(t - 3.3))", [1.0, 2.0, 3.3], [(0.0, 1.0), (1.0, 0.0), (0.0, 1.0)]),
        ("heaviside(t)", [], []),
        ("exp(-t)", [], []),
        ([[0, 2.0], [9, 1.0]], [], []),
    ],
)
def test_a_rate_knows_its_breaks_and_the_limits_on_both_sides(
    text: Text, breaks: list[float], limits: list[tuple[float, float]]
) -> None:
    schedule = pickle.loads(pickle.dumps(parse_schedule(text, "training.xi_w", T)))
    assert schedule.breaks == pytest.approx(breaks, abs=1e-14)
    ends = [0.0, *schedule.breaks, T]
    pieces = [schedule.on(a, b) for a, b in pairwise(ends)]
    for t, before, after, (left, right) in zip(schedule.breaks, pieces[:-1], pieces[1:], limits, strict=True):
        assert before(t) == pytest.approx(left, abs=1e-12) and after(t) == pytest.approx(right, abs=1e-12)
    for (a, b), piece in zip(pairwise(ends), pieces, strict=True):
        assert piece((a + b) / 2) == schedule((a + b) / 2)


def test_a_rate_that_begins_with_a_jump_has_its_right_limit_at_0() -> None:
    schedule = parse_schedule("heaviside(t)", "training.xi_a", T)
    assert schedule(0.0) == 0.5 and schedule.on(0.0, 1.0)(0.0) == 1.0 and not schedule.breaks


@pytest.mark.parametrize(
    "text,integral",
    [
        ("0.1 + 0.9*heaviside(5 - t)", lambda t: min(t, 5) + 0.1 * max(t - 5, 0)),
        ("where(t < 5, 1, 0.1)", lambda t: min(t, 5) + 0.1 * max(t - 5, 0)),
        ([[0, 1.0], [5, 0.1]], lambda t: min(t, 5) + 0.1 * max(t - 5, 0)),
        ("100*heaviside(t-3.05)*heaviside(3.07-t)", lambda t: 100 * min(max(t - 3.05, 0), 0.02)),
        ("heaviside(t - 2)*exp(-t)", lambda t: max(exp(-2) - exp(-t), 0.0)),
        ("abs(sin(t))", lambda t: 2 * (t // pi) + 1 - np.cos(t % pi)),
        ("1e6*exp(-((t - 3.05)/1e-6)^2)", lambda t: sqrt(pi) * (t > 3.05)),
        ("2", lambda t: 2 * t),
    ],
)
def test_integrals_are_exact_across_breaks_and_narrow_pulses(text: Text, integral: object) -> None:
    times = np.array([0.5, 3.0, 3.06, 5.5, T])
    exact = [integral(t) for t in times if callable(integral)]
    if "3.05" in str(text) and "1e-6" in str(text):
        times, exact = times[[0, 1, 3, 4]], [*exact[:2], *exact[3:]]
    assert parse_schedule(text, "training.xi_w", T).integral(times) == pytest.approx(exact, abs=1e-12)


def test_breaks_that_differ_by_round_off_are_one() -> None:
    rates = [
        parse_schedule(text, "k", 1.0) for text in ("heaviside(t - 0.3)", "heaviside(0.1 + 0.2 - t)", "where(3*t < 0.9, 1, 2)")
    ]
    nudged = parse_schedule("where(t < 0.3 + 1e-15, 1, 2)", "k", 1.0)
    (common,) = joint_breaks([*rates, nudged])
    assert common == pytest.approx(0.3, abs=1e-14)
    assert [rate.on(0.0, common)(common) for rate in (*rates, nudged)] == [0.0, 1.0, 1.0, 1.0]
    assert [rate.on(common, 1.0)(common) for rate in (*rates, nudged)] == [1.0, 0.0, 2.0, 2.0]


def test_a_narrow_pulse_has_pieces_that_no_step_can_leap_over() -> None:
    schedule = parse_schedule("1e6*exp(-((t - 3.05)/1e-6)^2)", "training.xi_w", T)
    assert any(abs(t - 3.05) < 1e-5 for t in schedule.pieces) and schedule.longest_step(3.05) < 1e-5
    assert not schedule.breaks and not parse_schedule("1 + sin(20*t)", "training.xi_w", T).breaks


@pytest.mark.parametrize(
    "text,words",
    [
        ("1 - t", ["t = "]),
        ("1 - 2*heaviside(t-3.05)*heaviside(3.0500001-t)", ["-1", "t = 3.05"]),
        ("1 - 2*exp(-((t-3.05)/1e-6)^2)", ["is -", "t = 3.0"]),
        ("1/(t-1/3)^2", ["t = 0.33333"]),
        ("tan(t)^2", ["t = 1.57079"]),
        ("sqrt(abs(t-0.3333333)-0.00001)", ["nan", "t = 0.33333"]),
        ("log(t)", ["t = 0"]),
        ("exp(200*t)", ["inf"]),
        ("1e200*t", ["1e+100"]),
        ("heaviside(t-1)*heaviside(1+1e-13-t)*1e13", ["jumps", "allowed"]),
        ("1 + sign(sin(1e5*t))", ["too many jumps"]),
        ("1 + sin(1e6*t)", ["narrow pulses"]),
        ([[1, 1.0]], ["table"]),
        ([[0, 1.0], [3, -1.0]], ["table"]),
        ([[0, 1.0], [3, inf]], ["table"]),
        ([[0, 1.0], [3, 2.0], [2, 1.0]], ["ascending"]),
        ([], ["table"]),
    ],
)
def test_wrong_rates_are_refused_before_the_run(text: Text, words: list[str]) -> None:
    started = time.process_time()
    with pytest.raises(InputError) as error:
        parse_schedule(text, "training.xi_w", T)
    message = str(error.value)
    assert time.process_time() - started < 2 * SECONDS and message.startswith("training.xi_w: ") and "allowed" in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "text", ["1 + cos(t)", "(t - 1)^2", "t^2 - t + 0.25", "exp(-t) - exp(-2*t)", "sqrt(t)", "t^t", "softplus(t)"]
)
def test_rates_that_touch_zero_are_accepted(text: str) -> None:
    assert not parse_schedule(text, "training.xi_w", T).breaks
