"""The examples that compare with the literature: the core of each on a small case, against theory that shares no code with it."""

from math import inf, log, sqrt
from pathlib import Path

import information_exponent
import numpy as np
import pytest
import quadratic
import soft_committee
import two_time_scales
from numpy.polynomial.hermite_e import hermegauss
from scipy.integrate import solve_ivp

import mfpde

PHASES = Path(__file__).parents[1] / "examples" / "phase_diagram.toml"


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_closed_form_of_the_correlation_is_that_of_the_neurons(k: int) -> None:
    """10,000 neurons of the sphere in 100 dimensions by v' = k v^(k-1) (1 - v^2); the midpoint rule errs by 1e-8."""
    d, time = 100.0, information_exponent.predicted(k, 100.0)
    v = (np.arange(10_000) + 0.5) / 5_000 - 1
    weight = (1 - v**2) ** ((d - 3) / 2)
    moved = solve_ivp(lambda t, v: k * v ** (k - 1) * (1 - v**2), (0, time), v, "DOP853", [time / 2, time], rtol=1e-9, atol=1e-12)
    expected = weight @ moved.y**k / weight.sum()
    assert np.abs(information_exponent.correlation(k, d, moved.t) - expected).max() < 1e-6


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_run_on_the_sphere_finds_the_target_when_it_must(k: int) -> None:
    """For k = 1, 2 and d = 100 the correlation is smooth in y, for k = 3 not yet steep: 512 nodes give it to 1e-4."""
    run = information_exponent.measure(k, 100.0, cells=32, degree=15, tolerance=1e-6)
    assert run.error < 1e-4 and abs(run.escape - run.truth) < run.uncertainty


def test_neurons_of_he_4_escape_one_after_another() -> None:
    """In 100 dimensions a node of 192 holds at most 1/60 of them, by which E f h* may be wrong."""
    run = information_exponent.measure(4, 100.0, cells=24)
    assert run.error < 1 / 60 and abs(run.escape / run.truth - 1) < 0.05


@pytest.mark.parametrize("k,exponent", [(3, 0.5), (4, 1.0)])
def test_the_escape_time_grows_by_the_information_exponent(k: int, exponent: float) -> None:
    """Exact times: they approach their law like log(d) d^(-(k-2)/2).  Those of he_2 at 10^6 and 10^8 differ by log(100) / 4."""
    early, late = (information_exponent.escape(k, d) for d in (1e6, 1e8))
    assert abs(log(late / early) / log(100) - exponent) < 1e-3
    assert abs(late / information_exponent.predicted(k, 1e8) - 1) < 1e-3
    apart = information_exponent.escape(2, 1e8) - information_exponent.escape(2, 1e6)
    assert abs(apart - log(100) / 4) < 1e-5


def test_the_gradient_of_the_committee_is_that_of_its_potential() -> None:
    group = soft_committee.students(30.0, 2)
    state = group.start + 0.1 * np.random.default_rng(0).standard_normal(len(group.start))
    v, r = group.split(state)
    h = 1e-5
    moved = [group.potential(v + h * e, r, state) - group.potential(v - h * e, r, state) for e in np.eye(2)]
    turned = group.potential(v, r + h, state) - group.potential(v, r - h, state)
    expected = -np.concatenate((np.column_stack(moved).ravel(), turned)) / (2 * h)
    assert np.abs(group.rates(0.0, state) - expected).max() < 1e-9


@pytest.mark.parametrize("d", [100.0, inf])
def test_a_committee_machine_follows_its_arcsines(d: float) -> None:
    """Within the estimated error, and 1e-6 for the particles."""
    times = np.linspace(0.0, 40.0, 9)
    E, error = soft_committee.measured(d, times)
    exact = soft_committee.reference(d, times, 2)
    assert (np.abs(E - exact) <= error + 1e-6).all() and error.max() < 1e-3 / 6


def test_the_symmetric_plateau_ends_at_the_rate_of_its_instability() -> None:
    """What E is below the plateau grows like e^(2 lambda t) / d while it is small: d = 10^12 is log(100) / (2 lambda) late."""
    plateau, rate = soft_committee.instability(300.0)
    assert rate > 0
    later = log(100) / (2 * rate)
    deep = [plateau - soft_committee.reference(d, np.array([0.0, t]), 2)[1] for d, t in ((1e10, 150.0), (1e12, 150.0 + later))]
    assert deep[0] > 1e-6 * plateau and abs(deep[1] / deep[0] - 1) < 0.02


@pytest.mark.parametrize("law,d", [("rademacher", 10.0), ("rademacher", 1e8), ("point(1)", 100.0), ("point(1)", inf)])
def test_a_quadratic_network_follows_its_moment_matrices(law: str, d: float) -> None:
    times = np.linspace(0.0, 2.5, 11)
    E, error = quadratic.measured(d, law, times)
    exact = quadratic.reference(d, quadratic.LAWS[law], times)
    assert (np.abs(E - exact) <= error + 1e-9).all() and error.max() < 2e-5


def test_the_moment_matrices_keep_what_the_flow_keeps() -> None:
    """They are those of neurons that move by w' = -a H w in 5 dimensions; E of a = 1 ends at the 4/3 of positive matrices."""
    d, n, rng = 5, 4000, np.random.default_rng(1)
    a, w = np.repeat([1.0, -1.0], n // 2), rng.standard_normal((n, d))
    for sign in (1, -1):  # whitened: the moments at t = 0 are exact
        half = w[a == sign]
        w[a == sign] = half @ np.linalg.inv(np.linalg.cholesky(half.T @ half / len(half))).T / np.sqrt(d)
    B = np.zeros((d, d))
    B[:2, :2] = quadratic.TARGET

    def rates(time: float, flat: np.ndarray) -> np.ndarray:
        w = flat.reshape(n, d)
        Q = (a[:, None] * w).T @ w / n - B
        return (-a[:, None] * (w @ (4 * Q + 2 * np.trace(Q) * np.eye(d)))).ravel()

    end = solve_ivp(rates, (0, 0.5), w.ravel(), "DOP853", rtol=1e-9, atol=1e-11).y[:, -1].reshape(n, d)
    M, P = quadratic.moments(d, 0.0, np.array([0.0, 0.5]))[0][-1]
    assert np.abs((a[:, None] * end).T @ end / n - np.pad(M, (0, 3)))[:2].max() < 1e-7
    assert np.abs((end.T @ end / n)[:2, :2] - P).max() < 1e-7
    assert abs(quadratic.reference(100.0, 1.0, np.array([0.0, 60.0]))[-1] - 4 / 3) < 1e-6


@pytest.mark.parametrize("eps", [1.0, 0.1])
def test_coefficients_of_a_fast_second_layer_are_those_of_its_neurons(eps: float) -> None:
    """E within its estimated error at all records, those within the first steps as well; coefficients to 1e-2.

    Half as many labels change the reference by 5e-6 at most, and by its rounding, less than 1e-10, up to t = eps / 8.
    """
    times = np.union1d(two_time_scales.records(eps, 20), eps / 8)
    run, exact = two_time_scales.measure(eps, times), two_time_scales.reference(eps, times)
    E = ((exact - 1) ** 2).sum(axis=1) / 2
    rough = np.abs(two_time_scales.reference(eps, times, 12) - exact).max(axis=1)
    assert rough.max() < 5e-6 and rough[times <= eps / 8].max() < 1e-10
    allowed = run.error + np.where(times <= eps / 8, 1e-10, 5e-6)
    assert (np.abs(run.loss - E) <= allowed).all() and run.error.max() < 2e-3
    assert np.abs(run.coefficients - exact).max() < 1e-2


def test_degrees_are_learned_on_time_scales_of_their_own() -> None:
    """Degree 0 follows 1 - e^(-t / eps) up to O(eps); that of degree 2 grows by eps^(1/4) from 1e-3 to 1e-2."""
    found = {}
    for eps in (1e-2, 1e-3):
        times = two_time_scales.records(eps)
        times = times[times < 0.4]
        found[eps] = two_time_scales.learned(times, two_time_scales.reference(eps, times, 12))
        assert abs(found[eps][0] / (eps * log(2)) - 1) < 0.02 and (np.diff(found[eps]) > 0).all()
    exponents = np.log(found[1e-2] / found[1e-3]) / log(10)
    assert abs(exponents[0] - 1) < 0.02 and abs(exponents[2] - 0.25) < 0.05 and 1 / 6 < exponents[3] < 0.27 < exponents[1] < 0.5


def test_the_phase_diagram_has_the_slope_in_log_d_of_its_linearised_flow() -> None:
    """At c = 0, v' = 2 |c_2| v near v = 0 for the neurons of one sign of a: 100 times d takes log(100) / (4 |c_2|) longer.

    The times are good to what the errors of the loss move.
    """
    x, w = hermegauss(120)
    c2 = float(w @ (np.tanh(x + 0.5) * (x**2 - 1)) / w.sum() / sqrt(2))
    when, moved = [], []
    for d in (1e4, 1e6):
        result = mfpde.run(PHASES, progress=False, parameters={"c": 0.0}, dimension=d, final_time=35.0, times=141)
        assert result.error is not None
        reached = result.time_to_level(0.9)
        when.append(reached.time)
        moved.append(reached.error)
    assert abs(when[1] - when[0] - log(100) / (4 * abs(c2))) < sum(moved) + 6e-3 and max(moved) < 0.1
