"""Features against independent evaluations: quadrature over x, differences, closed forms."""

from math import inf, sqrt

import numpy as np
import pytest
from mpi4py import MPI

from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.features.hermite.table import build_table, evaluate, extend_table
from mfpde.neurons import Cloud, LearningRates, Rates
from mfpde.problem.activation import parse_activation

SELF = MPI.COMM_SELF


def cloud(a, v, r) -> Cloud:  # type: ignore[no-untyped-def]
    """Neurons a (n), v (n, p), r (n) with unit weights."""
    return Cloud.of(a, v.T, r, np.ones(len(a)))


def phi(features: HermiteFeatures, v, r, a=1.0) -> np.ndarray:  # type: ignore[no-untyped-def]
    """a phi_i of one neuron."""
    return features.moments(cloud(np.array([a]), v[None], np.array([r])), np.ones(1)).all


def neuron(rng: np.random.Generator, n: int, p: int):  # type: ignore[no-untyped-def]
    return rng.standard_normal(n), 0.7 * rng.standard_normal((n, p)), rng.uniform(0.2, 1.2, n)


@pytest.mark.parametrize("p,d", [(1, 5.0), (2, 6.0), (3, 9.0), (2, inf)])
def test_modes_reproduce_the_erf_kernel(p: int, d: float) -> None:
    """sum_i phi_i(w) phi_i(w') is the mean over rotations of V-perp of (2/pi) asin(...), to the truncation at K = 19."""
    K = 19
    features = HermiteFeatures(SELF, hermite_modes(p, K, 10, d), parse_activation("erf"))
    rng = np.random.default_rng(3)
    _, v, r = neuron(rng, 2, p)
    features_of = [phi(features, v[i], r[i]) for i in range(2)]
    if d == inf:
        cosine, weight = np.zeros(1), np.ones(1)
    else:  # the cosine of the angle in R^D has density (1 - c^2)^((D-3)/2)
        from scipy.special import roots_jacobi

        exponent = (d - p - 3) / 2
        cosine, weight = roots_jacobi(60, exponent, exponent)
    w01 = v[0] @ v[1] + r[0] * r[1] * cosine
    norms = [1 + 2 * (v[i] @ v[i] + r[i] ** 2) for i in range(2)]
    kernel = 2 / np.pi * np.arcsin(2 * w01 / sqrt(norms[0] * norms[1]))
    expected = weight @ kernel / weight.sum()
    # A geometric series in 2 |w| |w'| / sqrt(...), as for asin itself; and round-off.
    length = [np.hypot(np.linalg.norm(v[i]), r[i]) for i in range(2)]
    ratio = 2 * length[0] * length[1] / sqrt(norms[0] * norms[1])
    assert abs(features_of[0] @ features_of[1] - expected) < ratio ** (K + 1) / (1 - ratio) + 1e-14


@pytest.mark.parametrize("activation", ["tanh(u + 0.5)", "relu", "gelu"])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_velocity_is_the_gradient_of_the_potential(activation: str, p: int) -> None:
    """Central differences of Psi = sum_i c_i phi_i with h = 1e-5 are exact to h^2 and eps / h."""
    features = HermiteFeatures(SELF, hermite_modes(p, 5, 2, 12.0), parse_activation(activation))
    rng = np.random.default_rng(p)
    n = 11  # not a multiple of the vector length
    a, v, r = neuron(rng, n, p)
    residual = rng.standard_normal(len(features.modes))

    def psi(v, r):  # type: ignore[no-untyped-def]
        return np.array([phi(features, v[i], r[i]) for i in range(n)]) @ residual

    da, dv, dr = np.empty((1, n)), np.empty((1, p, n)), np.empty((1, n))
    features.velocities(cloud(a, v, r), residual, LearningRates(0.7, 1.3), Rates(da, dv, dr))
    h = 1e-5
    assert np.abs(da[0] + 0.7 * psi(v, r)).max() < 1e-12
    assert np.abs(dr[0] + 1.3 * a * (psi(v, r + h) - psi(v, r - h)) / (2 * h)).max() < 1e-8
    for q in range(p):
        step = h * np.eye(p)[q]
        assert np.abs(dv[0, q] + 1.3 * a * (psi(v + step, r) - psi(v - step, r)) / (2 * h)).max() < 1e-8


def test_moments_equal_quadrature_over_x() -> None:
    """m_(alpha, 0) = E[a sigma(w.x) he_alpha(z)] by Gauss-Hermite quadrature in z and y (one direction of V-perp)."""
    features = HermiteFeatures(SELF, hermite_modes(2, 4, 0, 3.0), parse_activation("tanh(u + 0.5)"))
    v, r = np.array([[0.3, -0.4]]), np.array([0.5])
    found = phi(features, v[0], r[0])
    x, w = np.polynomial.hermite_e.hermegauss(60)
    w /= w.sum()
    z1, z2, y = np.meshgrid(x, x, x, indexing="ij")
    value = np.einsum("i,j,k,ijk->ij", w, w, w, np.tanh(v[0, 0] * z1 + v[0, 1] * z2 + r[0] * y + 0.5))
    from math import factorial

    for (i, j), m in zip(features.modes.alpha.tolist(), found, strict=True):
        he = [np.polynomial.hermite_e.hermeval(x, [0] * k + [1]) / sqrt(factorial(k)) for k in (i, j)]
        assert abs(he[0] @ value @ he[1] - m) < 1e-12


@pytest.mark.parametrize("name", ["tanh(u + 0.5)", "relu", "gelu", "abs(u - 0.3)", "sin(3*u)"])
def test_table_matches_quadrature_at_every_scale(name: str) -> None:
    """s^k |error of G_k| is what reaches the features: 1e-12 of the size of sigma."""
    activation = parse_activation(name)
    table = build_table(activation, 8, 16.0)
    s = np.concatenate((np.geomspace(1e-3, 3.99, 400), np.geomspace(0.05, 0.07, 40)))
    exact = activation.hermite(s, 8)
    assert np.abs(evaluate(table, s**2) * s[:, None] ** np.arange(9) - exact).max() < 1e-12
    longer = extend_table(table, activation, 100.0)
    assert longer.S_max >= 100 and np.array_equal(longer.coefficients[: len(table.coefficients)], table.coefficients)


def test_features_extend_their_table_when_a_neuron_leaves_it() -> None:
    features = HermiteFeatures(SELF, hermite_modes(1, 3, 1, 10.0), parse_activation("tanh"), largest=1.0)
    wide = HermiteFeatures(SELF, hermite_modes(1, 3, 1, 10.0), parse_activation("tanh"), largest=1e4)
    assert np.array_equal(*(phi(table, np.array([20.0]), 3.0) for table in (features, wide)))


@pytest.mark.parametrize("n", [1, 4, 7, 8, 19, 64])
@pytest.mark.parametrize("p,K", [(1, 4), (2, 6), (3, 9)])
def test_velocities_do_not_depend_on_what_the_moments_kept(p: int, K: int, n: int) -> None:
    """The table's values are kept from one call to the next, or looked up again; the last group of neurons is not full."""
    features = HermiteFeatures(SELF, hermite_modes(p, K, 2, 12.0), parse_activation("gelu"))
    rng = np.random.default_rng(n)
    a, v, r = neuron(rng, 3 * n, p)
    slices = Cloud(
        a.reshape(3, n), np.ascontiguousarray(v.reshape(3, n, p).swapaxes(1, 2)), r.reshape(3, n), weight=rng.uniform(size=n)
    )
    residual, kept = rng.standard_normal(len(features.modes)), features.room(3, n)
    label = rng.uniform(size=3)
    plain, storing = features.moments(slices, label), features.moments(slices, label, kept)
    assert np.array_equal(plain.by_slice, storing.by_slice)
    weight = np.outer(label, slices.weight).ravel()
    direct = sum(weight[i] * phi(features, v[i], r[i], a[i]) for i in range(3 * n))
    assert np.abs(plain.all - direct).max() < 1e-13 * n
    rates = [Rates(np.empty((3, n)), np.empty((3, p, n)), np.empty((3, n))) for _ in range(2)]
    for out, memory in zip(rates, (None, kept), strict=True):
        features.velocities(slices, residual, LearningRates(0.7, 1.3), out, memory)
    assert all(np.array_equal(getattr(rates[0], name), getattr(rates[1], name)) for name in ("a", "v", "r"))
