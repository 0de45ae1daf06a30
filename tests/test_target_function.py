"""Targets that are no polynomials: their Hermite coefficients, teachers, and the energy beyond the modes."""

from math import exp, factorial, pi, sqrt
from pathlib import Path

import h5py
import numpy as np
from committee import ERF, TWO, compare_networks, of_two_values
from scipy import special
from support import SELF, read

from mfpde.learnability.report import learnability
from mfpde.learnability.text import render
from mfpde.problem.activation import parse_activation
from mfpde.problem.target import Target, parse_function, parse_target
from mfpde.solve import solve

Array = np.ndarray


def he(z: Array, k: int) -> Array:
    """The orthonormal Hermite polynomial of degree k."""
    return np.polynomial.hermite_e.hermeval(z, [0] * k + [1]) / sqrt(factorial(k))


def coefficient(target: Target, *alpha: int) -> float:
    """h_alpha; 0 if it is not listed."""
    found = (c for row, c in zip(target.alpha.tolist(), target.coefficients.tolist(), strict=True) if tuple(row) == alpha)
    return next(found, 0.0)


def test_hermite_coefficients_of_functions_are_closed_formulas() -> None:
    """sign: h_1 = sqrt(2/pi), h_3 = -1/sqrt(3 pi). max(z1, z2): h_0 = 1/sqrt(pi), h_10 = h_01 = 1/2, E max^2 = 1.
    relu(z1 + z2) z1: h_00 = 1/2, E = 2. Unit circle: h_00 = 1 - 2 exp(-1/2) up to the sign, E = 1.
    """
    for text, energy, values in [
        ("sign(z1)", 1.0, {(1,): sqrt(2 / pi), (3,): -1 / sqrt(3 * pi), (2,): 0.0}),
        ("max(z1, z2)", 1.0, {(0, 0): 1 / sqrt(pi), (1, 0): 0.5, (0, 1): 0.5}),
        ("relu(z1 + z2)*z1", 2.0, {(0, 0): 0.5}),
        ("sign(z1^2 + z2^2 - 1)", 1.0, {(0, 0): 2 * exp(-0.5) - 1, (1, 0): 0.0}),
        ("sign(z1) + sign(z1 - z3)", 3.0, {(1, 0, 0): sqrt(2 / pi) * (1 + sqrt(0.5)), (0, 0, 1): -sqrt(1 / pi)}),
    ]:
        target = parse_function(text)
        assert target.energy is not None and abs(target.energy - energy) < 1e-7, text
        assert all(abs(coefficient(target, *alpha) - value) < 1e-8 for alpha, value in values.items()), text
        assert 0 < target.beyond(20) < target.beyond(6) < energy / 2


def test_a_polynomial_given_as_a_function_is_that_polynomial() -> None:
    found, known = (parse("z1 + z1*z2 - 2*z2^3") for parse in (parse_function, parse_target))
    assert found.exact == known.exact and found.energy is None and (found.alpha == known.alpha).all()


def test_hermite_coefficients_of_a_teacher_are_those_of_a_dense_grid() -> None:
    """Smooth functions of two variables on a product Gauss rule of 100 x 100 points, to 1e-9."""
    target = parse_function("tanh(z1 + 0.5*z2) - 0.3*z2*erf(z1*z2/2) + exp(-z2^2)")
    x, w = np.polynomial.hermite_e.hermegauss(160)
    z1, z2 = np.meshgrid(x, x, indexing="ij")
    weight = np.outer(w, w) / (2 * pi)
    value = np.tanh(z1 + 0.5 * z2) - 0.3 * z2 * special.erf(z1 * z2 / 2) + np.exp(-(z2**2))
    assert abs((weight * value**2).sum() - target.energy) < 1e-8
    for alpha in [(0, 0), (1, 0), (1, 2), (3, 0), (2, 2), (5, 1)]:
        dense = (weight * value * he(z1, alpha[0]) * he(z2, alpha[1])).sum()
        assert abs(coefficient(target, *alpha) - dense) < 1e-8, alpha
    z = np.random.default_rng(0).standard_normal((2, 5))
    plain = np.tanh(z[0] + 0.5 * z[1]) - 0.3 * z[1] * special.erf(z[0] * z[1] / 2) + np.exp(-(z[1] ** 2))
    assert np.abs(target(z) - plain).max() < 1e-14


TEACHER = "target.function='z1 + erf(2*z1 - z2) - 0.5*erf(z2)'"
TEACHERS = [(1.0, 2.0, -1.0), (-0.5, 0.0, 1.0)]


def test_a_teacher_network_is_the_arcsine_committee_at_infinite_dimension(tmp_path: Path) -> None:
    """The energy beyond the modes is part of E: without it the difference would be as large as that."""
    options = ["training.final_time=2.0", "discretization.hermite_degree=31"]
    path = tmp_path / "out.h5"
    config, problem = read(ERF[0], TEACHER, *ERF[2:], TWO, "input.dimension=inf", f"output.file={path}", *options)
    solve(SELF, config, problem)
    rows, _ = of_two_values(2, teachers=TEACHERS).run(config.record_times)
    with h5py.File(path) as file:
        assert np.abs(file["history/loss"][:] - rows[:, 0]).max() < 0.05 * file["target"].attrs["beyond"] < 1e-3
        assert abs(file["target"].attrs["energy"] - 2 * rows[0, 0]) < 1e-7


def test_finite_network_and_sgd_learn_from_a_teacher_as_the_committee_does() -> None:
    compare_networks([TWO, "training.final_time=2.0", TEACHER], 1e-3, 0.05, teachers=TEACHERS)


def test_the_error_estimate_covers_a_target_that_is_no_polynomial(tmp_path: Path) -> None:
    """The default path at d = inf against the committee."""
    path = tmp_path / "out.h5"
    wanted = ["discretization.accuracy=0.003", "training.final_time=2.0", "output.times=9", "output.plot=false"]
    config, problem = read(ERF[0], TEACHER, TWO, "input.dimension=inf", f"output.file={path}", *wanted)
    solve(SELF, config, problem)
    rows, _ = of_two_values(2, teachers=TEACHERS).run(config.record_times)
    with h5py.File(path) as file:
        error = np.abs(file["history/loss"][:] - rows[:, 0])
        assert (error <= file["error/estimate"][:] + 1e-12).all()


def test_learnability_says_that_it_works_on_the_truncated_target() -> None:
    """tanh(z1 + z2) sees one direction of two: rank decisions are not those of rounding errors."""
    report = learnability(parse_function("tanh(z1 + z2)"), parse_activation("tanh(u + 0.5)"), 4, ())
    said = render(report)
    assert "truncated" in said and "at degree" in said and report.definition.v.dimension == 1
