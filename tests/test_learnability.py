"""Reflective subspaces, staircases, Taylor flows and their proofs, against independent evaluations."""

import random
import sys
from fractions import Fraction
from itertools import islice, product
from math import factorial, sqrt
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI
from support import labels_of, read

from mfpde.errors import InputError
from mfpde.features.hermite.modes import hermite_modes
from mfpde.learnability.__main__ import main
from mfpde.learnability.derivatives import derivatives_at_zero, generic_derivatives, hermite_derivatives
from mfpde.learnability.polynomials import heat_transform, raw_monomials, squared_norm, substitute
from mfpde.learnability.predictions import departure_time, follow_labels, predicted_times
from mfpde.learnability.reflective import THRESHOLD, Reflection, first_violation, reflection
from mfpde.learnability.report import learnability, parse_directions, parse_subspace, target_along, violation_of
from mfpde.learnability.subspaces import Span, dot, minus, orthogonal_basis, projector
from mfpde.learnability.taylor_flow import taylor_coefficients, taylor_flow
from mfpde.learnability.violation import quadrature_check
from mfpde.learnability.visibility import visibility
from mfpde.particles.characteristics import characteristics, normal_rule
from mfpde.problem.activation import parse_activation
from mfpde.problem.target import Target, hermite_target, parse_target

STAIRCASES = [
    # h*, dim S, isotropic leap, bound
    ("z1 + z1*z2 + z1*z2*z3", 0, 1, "0"),
    ("z1 + z1*z2*z3", 2, 2, "1/2"),
    ("z1*z2", 2, 2, "1/2"),
    ("z1 + z1*z2^2 - z1", 1, 2, "1"),
    ("z1 + z2 + z1*z2", 1, 2, "1/4"),
    ("z1 + z1*(z2^3 - 3*z2*z3^2)", 2, 3, "12"),
    ("z1^3 - 3*z1", 1, 3, "3"),
    ("z1 + z2*z3 + z1*z2*z3*z4", 3, 2, "1"),
    ("7 + 0*z1", 0, 0, "0"),
]


def reflect(target: Target, visible: object = None) -> Reflection:
    degrees = range(target.degree + 1) if visible is None else visible
    return reflection(heat_transform(target), target.p, tuple(degrees), 0.0 if target.rational else THRESHOLD)  # type: ignore[call-overload]


def rotation(p: int, seed: int) -> list[list[Fraction]]:
    """Columns of a random orthogonal matrix with rational entries: a product of Householder reflections."""
    draw = random.Random(seed)
    columns = [[Fraction(int(i == j)) for i in range(p)] for j in range(p)]
    for _ in range(p):
        n = [Fraction(draw.randint(-3, 3)) for _ in range(p)]
        n[draw.randrange(p)] += 4
        columns = [[x - 2 * dot(c, n) / dot(n, n) * y for x, y in zip(c, n, strict=True)] for c in columns]
    return columns


def rotated(target: Target, columns: list[list[Fraction]]) -> Target:
    """h*(R y) with R y = sum_j y_j columns[j]."""
    raw = raw_monomials(heat_transform(target))
    return hermite_target("", target.p, substitute(raw, columns) if raw else {})


@pytest.mark.parametrize("polynomial,dimension,leap,bound", STAIRCASES)
def test_the_largest_reflective_subspace_and_its_leap_are_those_known(
    polynomial: str, dimension: int, leap: int, bound: str
) -> None:
    part = reflect(parse_target(polynomial, None, 9))
    assert (part.reflective.dimension, part.isotropic_leap, part.bound) == (dimension, leap, Fraction(bound))


@pytest.mark.parametrize("polynomial", [case[0] for case in STAIRCASES] + ["2*z1 - z1*z2 + z2^2*z3/3 + z4*z1^2 + z4*z2^3"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_report_does_not_depend_on_the_basis(polynomial: str, seed: int) -> None:
    """S of h*(R y) is R^T S, and every number is the same, exactly."""
    target = parse_target(polynomial, None, 9)
    columns = rotation(target.p, seed)
    turned = rotated(target, columns)
    before, after = reflect(target), reflect(turned)
    back = [[dot(column, row) for column in columns] for row in before.reflective.rows]
    assert all(after.reflective.contains(row) for row in back)
    assert after.reflective.dimension == before.reflective.dimension
    assert (after.bound, after.isotropic_leap) == (before.bound, before.isotropic_leap)
    key = [[(s.leap, s.degree, len(s.directions)) for s in part.steps] for part in (before, after)]
    assert key[0] == key[1]
    assert after.projected == (substitute(before.projected, columns) if before.projected else {})
    flows = [
        taylor_flow(heat_transform(h), part.learned, generic_derivatives(16 + h.degree), 12)
        for h, part in ((target, before), (turned, after))
    ]
    assert flows[0].dimensions == flows[1].dimensions
    for w, v in zip(flows[0].coefficients, flows[1].coefficients, strict=True):
        assert [dot(column, w) for column in columns] == list(v)


def test_the_largest_subspace_contains_every_reflective_one() -> None:
    """Against brute force: all subspaces spanned by small whole vectors, tested one by one through Theorem 1."""
    for polynomial in ("z1 + z2*z3", "z1 + z2 + z1*z2 + z3^2", "z1*z2 + z3^3", "z1 + z2 - z3 + z1*z2*z3"):
        target = parse_target(polynomial, None, 9)
        q, part, degrees = heat_transform(target), reflect(target), range(target.degree + 1)
        vectors = [v for v in product((-1, 0, 1), repeat=3) if any(v)]
        spaces = [Span(3, 0.0, [a, b]) for a in vectors for b in vectors]
        found = [s for s in spaces if first_violation(q, part.v, s, degrees) is None]
        assert all(part.reflective.contains(row) for s in found for row in s.rows)
        assert max((s.dimension for s in found), default=0) == part.reflective.dimension


@pytest.mark.parametrize(
    "activation", ["tanh(u + 0.5)", "relu", "sigmoid", "step", "abs", "u^2 - u", "u^3 + u^2", "tanh", "max(u - 1/3, -u/10)"]
)
def test_quadrature_of_the_definition_agrees_with_the_algebra(activation: str) -> None:
    """0 on S to round-off; on any larger subspace the average is not small, so the check can fail."""
    sigma = parse_activation(activation)
    for polynomial in ("z1 + z1*z2*z3", "z1^2 + z1^2*z2 - z2", "z1 + z2 + z1^2*z2 - z3^2 + z1"):
        target = parse_target(polynomial)
        q, seen = heat_transform(target), visibility(sigma, target.degree)
        for shift, degrees in ((True, seen.definition), (False, seen.flow)):
            part = reflect(target, degrees)
            check = quadrature_check(q, part.learned, part.reflective, sigma, shift=shift, samples=8)
            assert check.reflective < 1e-13
            basis = orthogonal_basis(part.learned)
            if basis:  # hand the direction that was added last to S
                more = Span(target.p, 0.0, [*part.reflective.rows, basis[-1]])
                wrong = quadrature_check(q, minus(part.v, more), more, sigma, shift=shift, samples=8)
                assert first_violation(q, part.v, more, degrees) is not None and wrong.reflective > 1e-3


def test_a_polynomial_activation_sees_its_degree_only_and_parity_shows_without_bias() -> None:
    cases = {
        "u^2 - u": ((0, 1, 2), (0, 1, 2)),
        "u^3": ((0, 1, 2, 3), (1, 3)),
        "u^4 + u": ((0, 1, 2, 3, 4), (0, 1, 2, 4)),
        "tanh": ((0, 1, 2, 3, 4, 5), (1, 3, 5)),
        "sigmoid": ((0, 1, 2, 3, 4, 5), (0, 1, 3, 5)),
        "relu": ((0, 1, 2, 3, 4, 5), (0, 1, 2, 4)),
        "gelu": ((0, 1, 2, 3, 4, 5), (0, 1, 2, 4)),
        "cos": ((0, 1, 2, 3, 4, 5), (0, 2, 4)),
        "relu(u - 1)": ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5)),
        "max(u, 0) + min(u, 0)": ((0, 1), (1,)),
        "abs(u)*abs(u) + 3": ((0, 1, 2), (0, 2)),
    }
    for name, expected in cases.items():
        seen = visibility(parse_activation(name), 5)
        assert (seen.definition, seen.flow) == expected, name
        assert seen.largest_unseen < 1e-14 and seen.smallest_seen > 1e-6, name


def test_the_projected_target_is_the_average_over_s() -> None:
    """h*_{S perp} and the bound against Gauss-Hermite averages over S, in a rotated basis."""
    target = rotated(parse_target("z1 + z1*z2*z3 - z1^2/2 + z2^2*z1"), rotation(3, 5))
    part = reflect(target)
    h = raw_monomials(heat_transform(target))
    nodes, weight = np.polynomial.hermite_e.hermegauss(6)
    weight = weight / weight.sum()
    grid = np.array(list(product(range(6), repeat=3)))
    z, w = nodes[grid], weight[grid].prod(axis=1)
    onto = np.array([[float(x) for x in column] for column in projector(part.learned)]).T
    value = lambda f, x: sum(float(c) * np.prod(x ** np.array(a), axis=-1) for a, c in f.items())  # noqa: E731
    for point in np.random.default_rng(0).standard_normal((4, 3)):
        average = w @ value(h, point @ onto.T + z @ (np.eye(3) - onto).T)
        assert abs(average - value(part.projected, point)) < 1e-12
    assert abs(w @ (value(h, z) - value(part.projected, z)) ** 2 / 2 - float(part.bound)) < 1e-12
    assert float(squared_norm(heat_transform(target))) == pytest.approx(w @ value(h, z) ** 2, rel=1e-12)


def test_irrational_coefficients_give_the_same_subspaces_with_a_wide_margin() -> None:
    part = reflect(parse_target("sqrt(2)*z1 + sqrt(2)*z2 + z1*z2"))
    assert part.reflective.dimension == 1 and part.reflective.contains([Fraction(1), Fraction(-1)])
    turned = target_along("z1 + z1*z2*z3", *parse_directions("sqrt(3)/2, 1/2, 0; -1/2, sqrt(3)/2, 0; 0, 0, 1"))
    part = reflect(turned)
    assert not turned.rational and part.reflective.dimension == 2 and part.isotropic_leap == 2
    assert float(part.bound) == pytest.approx(0.5, abs=1e-15)
    assert part.smallest_kept > 1e-3 and part.largest_dropped < 1e-30


def test_v_is_found_from_directions_in_many_dimensions() -> None:
    """Redundant directions: z3 = z1 + z2 as forms in x adds no dimension; an isometry changes nothing else."""
    directions, rational = parse_directions("3/5, 0, 4/5, 0; 0, 1, 0, 0; 3/5, 1, 4/5, 0")
    target = target_along("z1 + z1*z2 + z3 - z1 - z2", directions, rational)
    part = reflect(target)
    assert rational and part.v.dimension == 2
    assert part.v.contains(directions[0]) and part.v.contains(directions[1])
    plain = reflect(parse_target("z1 + z1*z2"))
    assert (part.reflective.dimension, part.bound, part.isotropic_leap) == (0, plain.bound, plain.isotropic_leap)


@pytest.mark.parametrize("activation,complement", [("tanh(u + 0.5)", False), ("sin(u + 0.5)", False), ("sin(u + 0.5)", True)])
def test_taylor_coefficients_match_the_flow_integrated_numerically(activation: str, complement: bool) -> None:
    """The series at a small time against Runge-Kutta on the defining averages E[h* sigma'(w.z + r G) (z, G)]."""
    from scipy.integrate import solve_ivp

    target = parse_target("z1 + z1*z2 - z2^2/2 + z1*z2^2/3")
    sigma = parse_activation(activation)
    q = heat_transform(target)
    order = 12
    source = hermite_derivatives if complement else derivatives_at_zero
    derivatives = source(sigma, order + 6)
    assert derivatives is not None
    w = list(islice(taylor_coefficients(q, 2, derivatives), order))
    nodes, weight = np.polynomial.hermite_e.hermegauss(40)
    weight = weight / weight.sum()
    z1, z2, g = np.meshgrid(nodes, nodes, nodes if complement else np.zeros(1), indexing="ij")
    density = weight[:, None, None] * weight[None, :, None] * (weight if complement else np.ones(1))
    h = (z1 + z1 * z2 - z2**2 / 2 + z1 * z2**2 / 3) * density

    def rates(t: float, x: np.ndarray) -> np.ndarray:
        u = x[0] * z1 + x[1] * z2 + x[2] * g + 0.5
        slope = h * np.cos(u) if activation.startswith("sin") else h / np.cosh(u) ** 2
        return np.array([(slope * z1).sum(), (slope * z2).sum(), (slope * g).sum()])

    start, errors = [0.0, 0.0, 1.0 if complement else 0.0], []
    for time in (0.4, 0.2):
        series = sum(np.array([float(x) for x in v]) * time**k for k, v in enumerate(w, 1))
        exact = solve_ivp(rates, (0, time), start, "DOP853", rtol=1e-13, atol=1e-14).y[:2, -1]
        errors.append(np.abs(series - exact).max())
    # W_13 leads, and 2^13 may lose to W_14 at most a factor of 4 where the series still converges.
    assert np.log2(errors[0] / errors[1]) > order - 1 and errors[1] < 1e-6


def test_the_chain_needs_the_order_of_proposition_d1() -> None:
    """z1, z1 z2, .., z1...zp: s = 2^(p-1), for almost all sigma and for given ones."""
    sigma = [derivatives_at_zero(parse_activation(name), 24) for name in ("tanh(u + 0.5)", "exp(u)")]
    for p in (1, 2, 3, 4):
        target = parse_target(" + ".join("*".join(f"z{i + 1}" for i in range(k)) for k in range(1, p + 1)), None, 9)
        for derivatives in (generic_derivatives(24), *sigma):
            assert derivatives is not None
            flow = taylor_flow(heat_transform(target), reflect(target).learned, derivatives, 12)
            assert flow.order == 2 ** (p - 1) and flow.smallest_kept > 1e-6 and flow.largest_dropped < 1e-50


def test_kappa_from_60_digits_agrees_with_the_tables() -> None:
    """kappa_n(0, 1) = sqrt(n!) c_n(1), for kinks and jumps as well."""
    for name in ("relu", "step", "tanh(u + 0.5)", "max(u - 1/3, -u/10)", "softplus"):
        sigma = parse_activation(name)
        table = sigma.hermite(np.ones(1), 8)[0] * np.sqrt([factorial(n) for n in range(9)])
        digits = [float(x) for x in hermite_derivatives(sigma, 9).values]
        assert np.abs(table - digits).max() < 1e-13 * np.sqrt(factorial(8)), name


def test_derivatives_at_zero_are_exact_where_they_can_be() -> None:
    for name, exact in (
        ("u^3/6 - u", True),
        ("exp(-2*u)", True),
        ("sin(u) + cos(u)", True),
        ("tanh(u)", False),
        ("exp(u^2/40)", False),
    ):
        sigma = parse_activation(name)
        found = derivatives_at_zero(sigma, 9)
        assert found is not None and found.exact is exact and sigma.taylor is not None
        expected = np.array(sigma.taylor[:9]) * np.sqrt([factorial(n) for n in range(9)])
        assert np.abs(np.array([float(x) for x in found.values]) - expected).max() < 1e-12 * max(1, np.abs(expected).max())
    assert derivatives_at_zero(parse_activation("relu"), 9) is None


def test_a_given_subspace_is_answered_with_its_reason() -> None:
    target = parse_target("z1 + z1*z2*z3 + z1*z2")
    report = learnability(target, parse_activation("tanh(u + 0.5)"), others=())
    bad, _ = violation_of(report, parse_subspace("z2, z3", target))
    assert bad is not None and bad.powers == (1,) and list(bad.vector) == [0, 1, 0]  # E[h* z1 z2] = 1
    trapped = learnability(parse_target("z1 + z1*z2*z3"), parse_activation("relu"), others=())
    assert violation_of(trapped, parse_subspace("z2 - z3", trapped.target)) == (None, None)


@pytest.mark.parametrize(
    "text,words",
    [("z4", ["--subspace", "z4"]), ("z1*z2", ["linear", "z1"]), ("0*z1", ["is 0"]), ("z3", ["not in V"]), ("z1 + 1", ["linear"])],
)
def test_a_bad_subspace_is_one_line(text: str, words: list[str]) -> None:
    target = parse_target("z1 + z1*z2", 3)
    with pytest.raises(InputError) as error:
        parse_subspace(text, target)
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("text", ["1, 2; 3", "1, u", "", "1, 0; exp"])
def test_bad_directions_are_one_line(text: str) -> None:
    with pytest.raises(InputError, match="--directions") as error:
        target_along("z1 + z1*z2", *parse_directions(text))
    assert "\n" not in str(error.value)


def test_prediction_meets_the_dynamics() -> None:
    """d = inf: the neurons stay in U and the rate is a kappa_2; finite d: departures at the times of the linearised rate."""
    few = ["initial.a=rademacher", "discretization.r_nodes=1", "target.polynomial=z1*z2", "training.final_time=36.0"]
    dimensions, times = [1e4, 1e5, 1e6], np.linspace(0, 36, 361)
    config, problem = read(*few, "input.dimension=inf")
    labels = follow_labels(MPI.COMM_SELF, problem, config.discretization, times.tolist(), np.eye(2))
    kappa = sqrt(2) * parse_activation("tanh(u + 0.5)").hermite(np.ones(1), 2)[0, 2]
    assert labels.v.max() == 0 and np.abs(labels.loss - 0.5).max() < 1e-14
    assert np.abs(labels.rate - abs(kappa)).max() < 1e-7  # differences: 1e-4 squared
    found = []
    for d in dimensions:
        config, problem = read(*few, f"input.dimension={int(d)}")
        curve = characteristics(
            problem, labels_of(config, problem), hermite_modes(2, 6, 2, d), times.tolist(), normal_rule(1, 12), 1e-8
        )
        found.append(departure_time(times, curve.loss, labels.loss, 0.01))
    slope = np.polyfit(np.log(dimensions), found, 1)[0]
    # Corrections to the linear phase are of relative order DROP / E = 2%, and cancel between the d but for 1/d.
    assert abs(slope * 2 * abs(kappa) - 1) < 1e-3
    assert np.abs(predicted_times(labels, dimensions, 2, found[2]) - found).max() < 0.02


def test_the_command_line_reports_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["learnability", *words])
        status = main()
        return status, *capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    (tmp_path / "case.toml").write_text('[target]\npolynomial = "z1 + z1*z2*z3"\n')
    status, said, _ = run("case.toml", "--subspace", "z2, z3", "--order", "6")
    assert status == 0 and "bound        E >= 1/2" in said and "Definition 3.3: reflective" in said
    for words, said in (
        (["--polynomial", "z1*z12"], "z12"),
        (["--polynomial", "z1", "--activation", "rellu"], "'relu'"),
        (["case.toml", "--subspace", "z9"], "--subspace"),
        (["--order", "0"], "--order"),
        (["--search", "sprase"], "sparse"),
        (["none.toml"], "none.toml"),
    ):
        status, _, error = run(*words)
        assert status == 2 and error.count("\n") == 1 and said in error, error


def test_texts_are_read_as_a_target_and_an_activation() -> None:
    given, read = (
        learnability(*pair, order=2) for pair in [("z1*z2", "relu"), (parse_target("z1*z2"), parse_activation("relu"))]
    )
    assert given.definition.bound == read.definition.bound == Fraction(1, 2) and given.theorem == read.theorem
    for pair, word in ((("z1 + y", "relu"), "'y'"), (("z1", "tahn"), "tahn")):
        with pytest.raises(InputError, match=word):
            learnability(*pair)
