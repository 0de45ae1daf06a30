"""Target, activation, initial law, schedule and configuration."""

from math import erf, exp, factorial, inf, pi, sqrt
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from mfpde.discretisations import build_problem
from mfpde.errors import InputError
from mfpde.expressions.reading import SECONDS
from mfpde.problem.activation import parse_activation
from mfpde.problem.config import load
from mfpde.problem.defaults import Numbers, filled
from mfpde.problem.inner import InnerLaw, SquaredRadius
from mfpde.problem.laws import parse_law
from mfpde.problem.schedule import parse_schedule
from mfpde.problem.target import parse_target
from mfpde.quadrature.rules import gauss_rule

ROOT = Path(__file__).parents[1]


def test_target_equals_its_hermite_series() -> None:
    target = parse_target("z1 + 3*z1*z2**2 - z3^3/7 + 2")
    z = np.random.default_rng(0).standard_normal((3, 20))
    he = lambda k, x: np.polynomial.hermite_e.hermeval(x, [0] * k + [1]) / sqrt(factorial(k))  # noqa: E731
    pairs = zip(target.alpha.tolist(), target.coefficients, strict=True)
    series = sum(c * np.prod([he(k, z[i]) for i, k in enumerate(alpha)], axis=0) for alpha, c in pairs)
    assert target.p == 3 and target.degree == 3
    assert np.abs(series - (z[0] + 3 * z[0] * z[1] ** 2 - z[2] ** 3 / 7 + 2)).max() < 1e-13 * 50


def test_hermite_coefficients_match_closed_forms() -> None:
    s = np.array([0.0, 1e-3, 0.1, 0.7, 1.0, 3.0, 40.0])
    relu = parse_activation("relu").hermite(s, 4)
    expected = np.array([1 / sqrt(2 * pi), 0.5, 0.5 / sqrt(pi), 0.0, -1 / sqrt(48 * pi)])
    assert np.abs(relu - s[:, None] * expected).max() < 1e-14 * 40
    small = s[s <= 3]
    growth = parse_activation("exp").hermite(small, 6)
    k = np.arange(7)
    exact = small[:, None] ** k * np.exp(small[:, None] ** 2 / 2) / np.sqrt([factorial(int(i)) for i in k])
    assert np.abs(growth - exact).max() < 1e-14 * np.exp(9.0)  # of the norm of exp(s G)
    first = parse_activation("erf").hermite(s, 1)[:, 1]
    assert np.abs(first - 2 * s / np.sqrt(pi * (1 + 2 * s**2))).max() < 1e-14
    gate = parse_activation("step").hermite(s[1:], 0)[:, 0]
    assert np.abs(gate - 0.5).max() < 1e-14
    shifted = parse_activation("heaviside(u - 1)").hermite(s[1:], 0)[:, 0]
    assert np.abs(shifted - [0.5 - 0.5 * erf(1 / x / sqrt(2)) for x in s[1:]]).max() < 1e-14


@pytest.mark.parametrize("d,p", [(3, 2), (10, 2), (10**4, 1), (10**8, 3)])
def test_radius_rule_is_exact_for_moments_of_r_squared(d: int, p: int) -> None:
    rule = gauss_rule(SquaredRadius(d, p), (4,))
    expected = 1.0
    for k in range(8):
        assert abs(rule.weights @ rule.nodes**k / expected - 1) < 1e-12
        expected *= (d - p + 2 * k) / d
    gram = (rule.polynomials[0].T * rule.weights) @ rule.polynomials[0]
    assert np.abs(gram - np.eye(4)).max() < 1e-12


def test_laws_of_a_have_their_moments() -> None:
    for text, second, fourth in (
        ("uniform(-1, 1)", 1 / 3, 1 / 5),
        ("uniform(-2,2)", 4 / 3, 16 / 5),
        ("normal(0, 0.5)", 0.25, 3 / 16),
        ("rademacher", 1, 1),
        ("point(0)", 0, 0),
    ):
        rule = gauss_rule(parse_law(text), (5,))
        assert abs(rule.weights.sum() - 1) < 1e-14
        assert abs(rule.weights @ rule.nodes**2 - second) < 1e-13 and abs(rule.weights @ rule.nodes**4 - fourth) < 1e-13
    assert gauss_rule(InnerLaw("gaussian", inf, 2).squared_radius, (3,)).nodes.tolist() == [1.0]
    assert gauss_rule(InnerLaw("zero", 10.0, 2).squared_radius, (3,)).nodes.tolist() == [0.0]


def test_schedule_evaluates_its_expression() -> None:
    schedule = parse_schedule("exp(-t/2) + max(0, 1 - t)", "training.xi_a", 4.0)
    assert schedule(0.5) == pytest.approx(np.exp(-0.25) + 0.5, rel=1e-15) and not schedule.zero
    assert parse_schedule(0, "training.xi_a", 1.0).zero


def test_the_shipped_example_is_the_default_and_survives_a_round_trip(tmp_path: Path) -> None:
    default = load(None)
    assert load(ROOT / "examples" / "staircase.toml") == default
    (tmp_path / "again.toml").write_text(default.to_toml())
    assert load(tmp_path / "again.toml") == default


def test_a_fixed_resolution_that_is_not_given_is_chosen_from_p_and_d() -> None:
    def chosen(d: float, *overrides: str) -> Numbers:
        return filled(load(None, list(overrides)).discretization, 2, d, 2)

    small, large = (chosen(d, "discretization.a_nodes=7") for d in (10, 10**4))
    assert small.cells > large.cells > 0 and small.r_nodes > large.r_nodes > 0 and small.a_nodes == large.a_nodes == 7
    alike = [chosen(d) for d in (1e4, 1e8, inf)]
    assert alike[0] == alike[1] == alike[2]


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_valid(example: Path) -> None:
    build_problem(load(example))


@pytest.mark.parametrize(
    "override,words",
    [
        ("network.activatoin=relu", ["network.activatoin", "'activation'"]),
        ("netwrok.activation=relu", ["netwrok", "'network'"]),
        ("network.activation=rellu", ["network.activation", "'relu'"]),
        ("network.activation=1/u", ["network.activation", "finite"]),
        ("network.activation=exp(u^2)", ["network.activation", "finite"]),
        ("network.activation=sqrt(u)", ["network.activation", "finite"]),
        ("network.activation=__import__('os')", ["network.activation"]),
        ("training.final_time='long'", ["training.final_time", "float"]),
        ("training.xi_a=-1", ["training.xi_a", "non-negative"]),
        ("training.xi_w=1-t", ["training.xi_w", "t = "]),
        ("training.xi_w=u", ["training.xi_w", "'u'"]),
        ("target.polynomial=z1*z9", ["target.polynomial", "z8"]),
        ("target.polynomial=x1", ["target.polynomial", "'x1'", "z1"]),
        ("target.polynomial=exp(z1)", ["target.polynomial", "polynomial"]),
        ("target.polynomial=z1^31", ["target.polynomial", "31", "20"]),
        ("target.subspace_dimension=9", ["subspace_dimension", "8"]),
        ("input.dimension=2", ["input.dimension", "3"]),
        ("input.dimension=10.5", ["input.dimension", "integer"]),
        ("initial.a=uniform(1, 0)", ["initial.a", "no positive width"]),
        ("initial.a='points(-1: 0.5, 2: 0.6)'", ["initial.a", "sum to 1.1"]),
        ("initial.a='points(1: 0.5, 1: 0.5)'", ["initial.a", "twice"]),
        ("initial.a='points(1, 2)'", ["initial.a", "points(-1: 0.5, 2: 0.5)"]),
        ("initial.a=cauchy", ["initial.a", "uniform"]),
        ("initial.w=gauss", ["initial.w", "allowed: 'gaussian', "]),
        ("input.dimension='many'", ["input.dimension", "'inf'"]),
        ("discretization.cells=-1", ["discretization.cells", "0 to 4096"]),
        ("output.times=[3.0, 1.0]", ["output.times", "ascending"]),
        ("nonsense", ["--set", "section.key"]),
    ],
)
def test_bad_input_is_one_line_that_names_the_key(override: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        build_problem(load(None, [override]))
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


@pytest.mark.parametrize(
    "text,words",
    [
        ("1/(u-1/3)", ["u = 0.333333"]),
        ("1/(u-1/3)^2", ["u = 0.333333"]),
        ("log(abs(u-1/3))", ["u = 0.333333"]),
        ("where(u < 0.5, 0, 1/(u-1/2))", ["u = 0.5"]),
        ("1/(u-500)", ["u = 49"]),
        ("tan(u)", ["u = 1.5707"]),
        ("sign(sin(100*u))", ["4096"]),
        ("sin(1e6*u)", ["changes too quickly"]),
        ("(((u+1)**100)**100)**100", ["exponents up to 100"]),
        ("exp(10**100)", ["1e+100"]),
        ("u*asin(2)", ["real"]),
        ("u*max()", ["0 arguments"]),
        ("+".join(f"tanh({i}*u)" for i in range(1, 400)), ["names and numbers"]),
        ("1e60*tanh(u)", ["finite"]),
    ],
    ids=lambda x: x[:24] if isinstance(x, str) else "",
)
def test_activations_that_are_infinite_or_too_costly_are_refused_within_seconds(text: str, words: list[str]) -> None:
    started = process_time()
    with pytest.raises(InputError) as error:
        parse_activation(text)
    message = str(error.value)
    assert process_time() - started < 2 * SECONDS and message.startswith("network.activation: ") and "allowed" in message
    assert all(word in message for word in words), message


def test_activations_without_poles_are_not_refused() -> None:
    for text in ("1/(2 + sin(u))", "exp(u)/(1 + exp(u))", "sqrt(u^2 - 2*u + 1)", "tanh(u - 1/3)/(u - 1/3)", "sin(100*u)"):
        assert not parse_activation(text).kinks
    assert parse_activation("where(abs(u) < 1e-3, 1 + u/2, (exp(u) - 1)/u)").kinks == (-1e-3, 0.0, 1e-3)
    assert parse_activation("max(u, u^2 - 1, sin(u))").kinks[2:] == pytest.approx([0.0, 1.409624004002596, (1 + sqrt(5)) / 2])
    assert len(parse_activation("abs(sin(u))").kinks) == 637
    assert parse_activation("where(u < 0, exp(u) - 1, u)").hermite(np.ones(1), 0)[0, 0] == pytest.approx(
        exp(0.5) * (1 - erf(1 / sqrt(2))) / 2 - 0.5 + 1 / sqrt(2 * pi), rel=1e-14
    )


def test_a_narrow_bump_of_the_activation_is_not_leapt_over() -> None:
    eps, at = 1e-5, 0.3
    c = parse_activation("exp(-((u - 0.3)/1e-5)^2)").hermite(np.ones(1), 0)[0, 0]
    width = 1 + eps**2 / 2  # E exp(-((G - at)/eps)^2) is a Gaussian integral
    assert c == pytest.approx(eps / sqrt(2 * width) * exp(-(at**2) / (2 * width)), rel=1e-9)


def test_a_kink_at_zero_needs_a_spread_start() -> None:
    with pytest.raises(InputError, match=r"initial\.w"):
        build_problem(load(None, ["network.activation=relu", "initial.w=zero"]))
