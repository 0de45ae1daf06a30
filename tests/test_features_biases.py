"""The features of neurons with biases: functions in tiles, moments, velocities and their divergence."""

from math import factorial, inf, sqrt

import numpy as np
import pytest
from closed_forms import gaussian_density, gaussian_rule
from numpy.typing import NDArray
from scipy.special import ndtr
from support import SELF, cloud_of

from mfpde.errors import RunError
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.neurons import Cloud, LearningRates, Rates
from mfpde.problem.activation import Activation, parse_activation

Array = NDArray[np.float64]


def he(k: int, x: Array) -> Array:
    """Orthonormal he_k(x)."""
    return np.polynomial.hermite_e.hermeval(x, [0.0] * k + [1 / sqrt(factorial(k))])


def exact_coefficients(name: str, sigma: Activation, s: float, b: float, most: int) -> Array:
    """c_k(s, b): in closed form, or by a rule of 2,000 points in g."""
    k = np.arange(most + 1)
    if name == "sin(u)+cos(u)":  # E exp(i (s G + b)) he_k(G) = (i s)^k exp(i b - s^2 / 2) / sqrt(k!)
        value = (1j * s) ** k * np.exp(1j * b - s**2 / 2) / np.array([sqrt(factorial(n)) for n in k])
        return np.asarray(value.imag + value.real)
    if name == "relu":
        beta = b / s
        later = [s * gaussian_density(np.array(beta)) * he(n - 2, np.array(-beta)) / sqrt(n * (n - 1)) for n in k[2:]]
        return np.array([b * ndtr(beta) + s * gaussian_density(np.array(beta)), s * ndtr(beta), *later])
    g, w = gaussian_rule(13.0, 100)
    value = sigma(s * g + b) * w
    return np.array([value @ he(n, g) for n in k])


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "sin(u)+cos(u)"])
def test_functions_with_biases_are_their_integrals_at_every_scale(name: str) -> None:
    """s^k |error of G_k| is what reaches the features: a share of 1e-12 of sigma's size for k <= 8, of 1e-11 for k <= 22."""
    K = 20
    sigma = parse_activation(name)
    features = HermiteFeatures(SELF, hermite_modes(1, K, 0, inf), sigma, biases=True)
    rng = np.random.default_rng(0)
    S, b = np.append(2.0 ** rng.uniform(-12, 6, 60), [1.0, 2.0]), np.append(2 * rng.standard_normal(60), [0.0, -3.0])
    found = features.functions(S, b) * np.sqrt(S)[:, None] ** np.arange(K + 3)
    exact = np.array([exact_coefficients(name, sigma, sqrt(s), x, K + 2) for s, x in zip(S, b, strict=True)])
    error = np.abs(found - exact) / np.maximum(1, np.sqrt(S) + np.abs(b))[:, None]
    assert error[:, :9].max() < 1e-12 and error.max() < 1e-11


def test_a_kinked_activation_is_held_where_w_is_tiny() -> None:
    """Below |w| = 2^-9 = s_0: E relu(s G + b) to s_0, at the kink, and to rounding 10 s_0 from it."""
    features = HermiteFeatures(SELF, hermite_modes(1, 2, 0, inf), parse_activation("relu"), biases=True)
    s, b = 2.0**-14, np.array([0.0, 10 * 2.0**-9, -1.0, 1.0])
    error = np.abs(features.functions(np.full(4, s**2), b)[:, 0] - np.maximum(b, 0.0))
    assert error[0] < 2.0**-9 and error[1:].max() < 1e-14


def test_functions_do_not_depend_on_what_was_looked_up_before() -> None:
    sigma = parse_activation("tanh")
    features = [HermiteFeatures(SELF, hermite_modes(2, K, 0, inf), sigma, biases=True) for K in (5, 12)]
    rng = np.random.default_rng(1)
    S, b = rng.uniform(0.1, 9, 50), rng.standard_normal(50)
    whole = features[0].functions(S, b)
    assert np.array_equal(
        np.concatenate([features[1].functions(S[i : i + 7], b[i : i + 7])[:, :8] for i in range(0, 50, 7)]), whole
    )


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("p", [1, 2])
def test_velocities_and_divergence_with_biases_are_derivatives_of_the_potential(activation: str, p: int) -> None:
    """Central differences with h = 1e-5 are exact to h^2 and eps / h; those of the velocity to 1e-7."""
    features = HermiteFeatures(SELF, hermite_modes(p, 5, 2, 12.0), parse_activation(activation), biases=True)
    rng = np.random.default_rng(p)
    n = 11  # not a multiple of the vector length
    a, v, r, b = cloud_of(rng, n, p)
    residual, xi, h = rng.standard_normal(len(features.modes)), (0.7, 1.3, 0.4), 1e-5

    def psi(v: Array, r: Array, b: Array) -> Array:
        one = Cloud(np.ones((n, 1)), np.ascontiguousarray(v.T)[:, :, None], r[:, None], b[:, None], weight=np.ones(1))
        return np.asarray(features.moments(one, np.zeros(n)).by_slice @ residual)

    def velocity(v: Array, r: Array, b: Array) -> Rates:
        out = Rates(np.empty((1, n)), np.empty((1, p, n)), np.empty((1, n)), np.empty((1, n)))
        features.velocities(Cloud.of(a, v, r, np.ones(n), b), residual, xi, out)
        return out

    now, zero = velocity(v, r, b), np.zeros(n)
    assert now.a is not None and now.r is not None and now.b is not None
    assert np.abs(now.a[0] + 0.7 * psi(v, r, b)).max() < 1e-12
    assert np.abs(now.b[0] + 0.4 * a * (psi(v, r, b + h) - psi(v, r, b - h)) / (2 * h)).max() < 1e-8
    assert np.abs(now.r[0] + 1.3 * a * (psi(v, r + h, b) - psi(v, r - h, b)) / (2 * h)).max() < 1e-8
    total = np.zeros(n)
    for q in range(p + 2):
        step = [h * (np.arange(p) == q)[:, None] + np.zeros((p, n)), h * (q == p) + zero, h * (q == p + 1) + zero]
        up, down = (velocity(v + side * step[0], r + side * step[1], b + side * step[2]) for side in (1, -1))
        rows = [np.concatenate((x.v[0], x.r, x.b))[q] for x in (up, down)]  # type: ignore[arg-type]
        total += (rows[0] - rows[1]) / (2 * h)
        if q < p:
            gradient = (psi(v + step[0], r, b) - psi(v - step[0], r, b)) / (2 * h)
            assert np.abs(now.v[0, q] + 1.3 * a * gradient).max() < 1e-8
    out = np.empty((1, n))
    features.divergence(Cloud.of(a, v, r, np.ones(n), b), residual, LearningRates(0.0, 1.3, 0.4), out)
    assert np.abs(out[0] - total).max() < 1e-7


def test_moments_with_biases_equal_quadrature_over_x() -> None:
    """m_(alpha, 0) = E[a sigma(w.x + b) he_alpha(z)] by Gauss-Hermite quadrature in z and y (one direction of V-perp)."""
    features = HermiteFeatures(SELF, hermite_modes(2, 4, 0, 3.0), parse_activation("tanh"), biases=True)
    v, r, b = np.array([0.3, -0.4]), np.array([0.5]), np.array([-0.7])
    found = features.moments(Cloud.of(np.ones(1), v[:, None], r, np.ones(1), b), np.ones(1)).all
    x, w = np.polynomial.hermite_e.hermegauss(60)
    w /= w.sum()
    z1, z2, y = np.meshgrid(x, x, x, indexing="ij")
    value = np.einsum("i,j,k,ijk->ij", w, w, w, np.tanh(v[0] * z1 + v[1] * z2 + r[0] * y + b[0]))
    for (i, j), m in zip(features.modes.alpha.tolist(), found, strict=True):
        assert abs(he(i, x) @ value @ he(j, x) - m) < 1e-12


def test_a_bias_that_blows_up_ends_the_run_with_one_line() -> None:
    features = HermiteFeatures(SELF, hermite_modes(1, 3, 0, inf), parse_activation("tanh"), biases=True)
    for b in (2e6, np.inf):
        with pytest.raises(RunError, match="blown up") as error:
            features.moments(Cloud.of(np.ones(1), np.zeros((1, 1)), np.ones(1), np.ones(1), np.array([b])), np.ones(1))
        assert "\n" not in str(error.value)
