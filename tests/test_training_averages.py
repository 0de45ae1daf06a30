"""Averages of copies, and the kernel matrix of their law."""

from fractions import Fraction
from itertools import product
from math import inf, sqrt

import numpy as np
import pytest
from mpi4py import MPI
from support import AFFINE, first_flow, packed

from mfpde.features.hermite.features import HermiteFeatures
from mfpde.moments.averaging import EXTENDED, LawMoments, average_points, law_moments
from mfpde.moments.spectrum import Spectrum, kernel_modes, spectrum
from mfpde.neurons import Cloud
from mfpde.problem.activation import parse_activation

SELF = MPI.COMM_SELF


def discrete(v: np.ndarray, r: np.ndarray, weight: np.ndarray, complement: float, degree: int) -> LawMoments:
    """The moments of finitely many neurons, from the definition, in extended precision."""
    p = v.shape[1]
    values = {}
    for *beta, k in product(range(degree + 1), repeat=p + 1):
        if sum(beta) + 2 * k <= degree:
            terms = (
                EXTENDED.mpf(float(w)) * EXTENDED.mpf(float(b)) ** (2 * k)
                * np.prod([EXTENDED.mpf(float(x)) ** n for x, n in zip(a, beta, strict=True)])
                for a, b, w in zip(v, r, weight, strict=True)
            )  # fmt: skip
            values[tuple(beta), k] = sum(terms, EXTENDED.mpf(0))
    return LawMoments(p, complement, degree, values)


def cloud(n: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 1.5, n)
    return 0.6 * rng.standard_normal((n, p)) + 0.2, rng.uniform(0.3, 1.2, n), weight / weight.sum()


def test_moments_of_an_average_are_right_by_hand() -> None:
    """w = +-1: u = (w + w')/2 is -1, 0, 1 with 1/4, 1/2, 1/4.  |w_perp| = 1: E|u|^4 = E(1 + c)^2 / 4 = (1 + 1/D) / 4."""
    signs = discrete(np.array([[-1.0], [1.0]]), np.zeros(2), np.full(2, 0.5), inf, 6).average(2)
    assert [float(signs.values[(n,), 0]) for n in range(7)] == [1, 0, 0.5, 0, 0.5, 0, 0.5]
    for complement, expected in ((1, 0.5), (3, 1 / 3), (inf, 0.25)):
        sphere = discrete(np.zeros((1, 1)), np.ones(1), np.ones(1), complement, 4).average(2)
        assert abs(float(sphere.values[(0,), 2]) - expected) < 1e-15 and float(sphere.values[(0,), 1]) == 0.5


@pytest.mark.parametrize("p,copies,complement", [(1, 2, 2), (2, 3, 5), (3, 5, 1), (2, 6, 40)])
def test_moments_of_an_average_match_sampling(p: int, copies: int, complement: int) -> None:
    """Within five standard errors of 200,000 samples."""
    v, r, weight = cloud(7, p)
    moments = discrete(v, r, weight, complement, 6).average(copies)
    rng, samples = np.random.default_rng(1), 200_000
    u, perp = np.zeros((samples, p)), np.zeros((samples, complement))
    for _ in range(copies):
        label = rng.choice(len(v), samples, p=weight)
        e = rng.standard_normal((samples, complement))
        u += v[label] / copies
        perp += (r[label] / copies / np.linalg.norm(e, axis=1))[:, None] * e
    square = (perp**2).sum(axis=1)
    for (beta, k), value in moments.values.items():
        sampled = np.prod(u ** np.array(beta), axis=1) * square**k
        assert abs(sampled.mean() - float(value)) <= 5 * sampled.std() / sqrt(samples) + 1e-15


@pytest.mark.parametrize("overrides", [["input.dimension=30"], ["input.dimension=inf"], ["initial.w=zero"]])
def test_law_moments_are_the_sums_over_the_nodes(overrides: list[str]) -> None:
    small = ["discretization.a_nodes=4", "discretization.r_nodes=2", "discretization.cells=6"]
    flow, problem, _ = first_flow(*small, AFFINE, *overrides)
    vector, rng = packed(flow), np.random.default_rng(0)
    now = flow.layout.views(vector)
    if problem.w.is_point:
        now.v[...] = rng.standard_normal(now.v.shape)
        v, r, weight = now.v, now.r, flow.labels.weight
    else:
        now.M[...] = rng.standard_normal(now.M.shape)
        v = np.einsum("spq,qcn->pscn", flow.frames(now), flow.slices.y) + now.M.T[:, :, None, None]
        r, weight = now.r, flow.labels.weight[:, None, None] * flow.slices.weight * now.q
    moments = law_moments(SELF, flow.nodes(vector), problem.d - problem.p, 6)
    assert moments is not None
    for (beta, k), value in moments.values.items():
        direct = (weight * np.prod([x**b for x, b in zip(v, beta, strict=True)], axis=0) * r ** (2 * k)).sum()
        size = (weight * np.prod([np.abs(x) ** b for x, b in zip(v, beta, strict=True)], axis=0) * r ** (2 * k)).sum()
        assert abs(float(value) - direct) <= 1e-13 * max(size, 1e-300)


@pytest.mark.parametrize("copies", [1, 2, 3, 4])
def test_points_of_an_average_have_its_moments(copies: int) -> None:
    flow, *_ = first_flow("discretization.a_nodes=6", "input.dimension=inf")
    vector = packed(flow)
    now = flow.layout.views(vector)
    now.v[...] = np.random.default_rng(0).standard_normal(now.v.shape)
    now.r[...] = np.random.default_rng(1).uniform(0.5, 1.5, now.r.shape)
    law = law_moments(SELF, flow.nodes(vector), inf, 4)
    assert law is not None
    points = average_points(SELF, flow.nodes(vector), copies)
    assert abs(points.weight.sum() - 1) < 1e-14 and not points.a.any()
    for (beta, k), value in law.average(copies).values.items():
        direct = points.weight @ (np.prod(points.v.T ** np.array(beta), axis=1) * points.r ** (2 * k))
        assert abs(float(value) - direct) < 1e-13


@pytest.mark.parametrize("p,d,degree", [(1, 5.0, 4), (2, 7.0, 4), (3, 40.0, 3), (2, inf, 4)])
def test_kernel_matrix_is_the_gram_matrix_of_the_features(p: int, d: float, degree: int) -> None:
    """The compiled features, by tables of c_k(s), against polynomials in moments; to the tables' 1e-12."""
    activation = parse_activation(f"(1 + u)**{degree} - u/3")
    modes = kernel_modes(p, degree, d, True)
    features = HermiteFeatures(SELF, modes, activation)
    v, r, weight = cloud(9, p)
    assert activation.polynomial is not None
    found = spectrum(discrete(v, r, weight, d - p, 2 * degree), activation.polynomial, modes)
    alone = Cloud(np.ones((len(v), 1)), np.ascontiguousarray(v[:, :, None]), r[:, None], weight=np.ones(1))
    phi = features.moments(alone, np.ones(len(v))).by_slice
    gram = (phi.T * weight) @ phi
    assert np.abs(found.matrix - gram).max() < 1e-12 * np.abs(gram).max()
    assert np.array_equal(found.matrix, found.matrix.T)
    rebuilt = (found.vectors * found.eigenvalues) @ found.vectors.T
    assert np.abs(rebuilt - gram).max() < 1e-12 * np.abs(gram).max()


def test_eigenvalues_stay_accurate_below_the_rounding_of_the_largest() -> None:
    """w = 1 or 1 + e with sigma = 1 + u: K = [[1, E u], [E u, E u^2]], of determinant Var u = e^2/4."""
    e = 2.0**-30
    law = discrete(np.array([[1.0], [1.0 + e]]), np.zeros(2), np.full(2, 0.5), inf, 2)
    found = spectrum(law, (Fraction(1), Fraction(1)), kernel_modes(1, 1, inf, False))
    exact = e**2 / 4 / (2 + e + e**2 / 2)  # over the trace: the other eigenvalue, to e^2
    assert abs(found.eigenvalues[0] / exact - 1) < 1e-14  # it is 5e-20 of the other
    assert abs(np.linalg.eigvalsh(found.matrix)[0] / exact - 1) > 0.5  # what double precision makes of it


def test_a_law_of_few_points_leaves_a_null_space() -> None:
    """Four points cannot tell six modes apart: K is positive semidefinite, with two eigenvalues 0 to 32 digits."""
    v, r, weight = cloud(4, 2)
    square = (Fraction(1), Fraction(2), Fraction(1))
    found = spectrum(discrete(v, 0 * r, weight, inf, 4), square, kernel_modes(2, 2, inf, False))
    assert np.abs(found.eigenvalues[:2]).max() < 1e-30 < found.eigenvalues[2] and not found.certain[:2].any()


def test_the_uncertainty_is_what_another_law_changes() -> None:
    """To first order, of eigenvalues and of E(t): what remains is of second order in the change of the law."""
    v, r, weight = cloud(9, 2)
    modes, polynomial = kernel_modes(2, 2, 20.0, True), (Fraction(1), Fraction(2), Fraction(1))
    target, start = np.random.default_rng(3).standard_normal(len(modes)), np.zeros(len(modes))
    time = np.array([0.0, 0.3, 3.0, 30.0])
    here = discrete(v, r, weight, 18, 4)

    def energy(found: Spectrum) -> np.ndarray:
        return 0.5 * ((found.coefficients(start, target, time) - target) ** 2).sum(axis=1)

    missed = []
    for change in (1e-3, 1e-4):
        other = discrete(v + change * np.sin(7 * v), r, weight, 18, 4)
        one, two = spectrum(here, polynomial, modes, [other]), spectrum(other, polynomial, modes)
        found = one.loss_uncertainty(start, target, time)
        assert found[0] < 1e-15 and (found[1:] > 0).all()
        missed.append(max(
            np.abs(one.uncertainty - np.abs(two.eigenvalues - one.eigenvalues)).max(),
            np.abs(found - np.abs(energy(two) - energy(one))).max(),
        ))  # fmt: skip
    assert missed[0] < 1e-4 and missed[1] < missed[0] / 50
    assert np.isnan(two.uncertainty).all() and np.isnan(two.loss_uncertainty(start, target, time)).all()
    twice = spectrum(here, polynomial, modes, [other, other])
    assert np.allclose(twice.uncertainty, 2 * one.uncertainty)
