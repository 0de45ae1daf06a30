"""The finite network and online SGD: against closed kernels, against reduced particles, and against each other."""

from math import sqrt
from pathlib import Path

import h5py
import numpy as np
import pytest
from closed_forms import erf_loss, quadratic_loss, relu_kernel
from mpi4py import MPI
from support import QUADRATIC, coarse, follow, gauss_loss, measured, packed, rates_of

from mfpde.discretisations import start_flow
from mfpde.errors import InputError
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.particles.network import NetworkFlow, initial_network
from mfpde.particles.run import particles
from mfpde.particles.sgd import Sgd, modes_at
from mfpde.problem.activation import NAMES, derivative, parse_activation
from mfpde.problem.config import load
from mfpde.problem.problem import Problem

SELF = MPI.COMM_SELF
DEEP = ["discretization.hermite_degree=20", "discretization.radial_degree=0", "target.polynomial=z1"]


def random_neurons(n: int, d: int, size: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """a (n) and w (n, d) with |w| = size in all."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((n, d))
    return rng.standard_normal(n), size * w / np.linalg.norm(w, axis=1)[:, None]


def network_loss(problem: Problem, features: HermiteFeatures, times: list[float], start, tolerance: float = 1e-8):  # type: ignore[no-untyped-def]
    return measured(NetworkFlow(problem, features, *start), times, tolerance)


def test_the_loss_of_an_erf_network_is_that_of_the_arcsine_kernel() -> None:
    """At |w| = 1/2 the kernel's series in the degree falls like 3^-k: what K = 20 leaves is below 1e-9."""
    _, problem, features = coarse(*DEEP, "network.activation=erf", "input.dimension=7")
    a, w = random_neurons(150, 7, 0.5)  # more than one tile of rows, and not a multiple of the vector length
    flow = NetworkFlow(problem, features, a, w)
    assert abs(flow.measure(packed(flow))[0] - erf_loss(a, w)) < 1e-9


def test_the_velocity_of_an_erf_network_is_minus_n_times_the_gradient_of_its_loss() -> None:
    """Central differences of the closed loss with h = 1e-5 are exact to 1e-9 or so, times N."""
    _, problem, features = coarse(*DEEP, "network.activation=erf", "input.dimension=4", "training.xi_a=0.7", "training.xi_w=1.3")
    a, w = random_neurons(6, 4, 0.5)
    flow = NetworkFlow(problem, features, a, w)
    da, dw = flow.neurons(rates_of(flow, packed(flow)))
    h = 1e-5
    for i in range(6):
        step = h * np.eye(6)[i]
        assert abs(da[i] + 0.7 * 6 * (erf_loss(a + step, w) - erf_loss(a - step, w)) / (2 * h)) < 1e-7
        for q in range(4):
            move = h * np.outer(np.eye(6)[i], np.eye(4)[q])
            assert abs(dw[i, q] + 1.3 * 6 * (erf_loss(a, w + move) - erf_loss(a, w - move)) / (2 * h)) < 1e-7


def test_a_relu_pair_has_the_arc_cosine_kernel() -> None:
    """E(a2 = 1) - E(a2 = -1) = kernel / 2 - T_2, T_2 = w_1 / 2; at 75 degrees the series falls like 0.26^k."""
    _, problem, features = coarse(*DEEP, "network.activation=relu", "input.dimension=5")
    w = np.zeros((2, 5))
    w[0, 0], w[1, 0], w[1, 3] = 0.8, 1.5 * np.cos(np.radians(75)), 1.5 * np.sin(np.radians(75))
    plus, minus = (NetworkFlow(problem, features, np.array([1.0, sign]), w) for sign in (1.0, -1.0))
    change = plus.measure(packed(plus))[0] - minus.measure(packed(minus))[0]
    assert abs(2 * (change + w[1, 0] / 2) - relu_kernel(w[0], w[1])) < 1e-12


def test_a_quadratic_network_obeys_its_closed_equations_with_its_own_moments() -> None:
    config, problem, features = coarse(*QUADRATIC, "target.polynomial=z1**2 + z1*z2 - 1/2")
    a, w = initial_network(problem, 40, (0, 0), 0, 40)
    second = np.array([2 / 40 * w[a == sign].T @ w[a == sign] for sign in (1.0, -1.0)])
    exact = quadratic_loss(problem, config.record_times, second)
    assert np.abs(network_loss(problem, features, config.record_times, (a, w)) - exact).max() < 1e-7


def test_neurons_at_the_origin_move_as_the_limit_of_small_ones() -> None:
    _, problem, features = coarse("input.dimension=30")
    a, w = random_neurons(5, 30, 1e-7)
    small, zero = (NetworkFlow(problem, features, a, scale * w) for scale in (1.0, 0.0))
    assert np.abs(rates_of(small, packed(small)) - rates_of(zero, packed(zero))).max() < 1e-6


def test_initial_neurons_are_gaussian_up_to_a_rotation_of_the_complement() -> None:
    """Moments of the Gram matrix over 300 draws; five standard deviations."""
    _, problem, _ = coarse("input.dimension=6")
    grams = np.array([(w[:, 2:] @ w[:, 2:].T) for w in (initial_network(problem, 9, (0, k), 0, 9)[1] for k in range(300))])
    diagonal, off = grams[:, range(9), range(9)], grams[:, *np.tril_indices(9, -1)]
    assert np.abs(diagonal.mean(axis=0) - 4 / 6).max() < 5 * sqrt(2 * 4 / 36 / 300)
    assert np.abs(off.mean(axis=0)).max() < 5 * sqrt(4 / 36 / 300)
    # The square of the off-diagonal (mean 4/36) has a standard deviation of about twice its mean.
    assert np.abs((off**2).mean(axis=0) - 4 / 36).max() < 5 * 2 * 4 / 36 / sqrt(300)
    whole, part = (initial_network(problem, 150, (2, 1), *span) for span in ((0, 150), (70, 140)))
    assert np.array_equal(part[0], whole[0][70:140]) and np.array_equal(part[1], whole[1][70:140])


def test_the_network_tends_to_the_mean_field_loss_as_one_over_the_square_root_of_n() -> None:
    """12 repeats know each root mean square to 20%, so the order from a factor 16 to 0.1; to two standard deviations."""
    config, problem, features = coarse("input.dimension=20", "training.final_time=2.0")
    exact = gauss_loss(config, problem, features, 1, 16)

    def error(n: int) -> float:
        starts = (initial_network(problem, n, (0, repeat), 0, n) for repeat in range(12))
        runs = np.array([network_loss(problem, features, config.record_times, start, 1e-5) for start in starts])
        return float(np.sqrt(((runs - exact) ** 2).mean(axis=0).max()))

    assert abs(np.log(error(16) / error(256)) / np.log(16) - 0.5) < 0.2


@pytest.mark.parametrize("d", [3, 4])
def test_the_modes_at_samples_are_orthonormal_and_pair_with_neurons_as_the_features_do(d: int) -> None:
    """Gauss-Hermite quadrature over x: exact for the modes, spectral for tanh."""
    modes = hermite_modes(2, 5, 2, float(d))
    features = HermiteFeatures(SELF, modes, parse_activation("tanh(u + 0.5)"))
    points, w = np.polynomial.hermite_e.hermegauss(40 if d == 3 else 20)
    x = np.stack([g.ravel() for g in np.meshgrid(*[points] * d, indexing="ij")], axis=1)
    weight = np.prod(np.stack([g.ravel() for g in np.meshgrid(*[w / w.sum()] * d, indexing="ij")]), axis=0)
    value = modes_at(modes, float(d), x)
    assert np.abs((value * weight[:, None]).T @ value - np.eye(len(modes))).max() < 1e-11
    neuron = np.array([[0.3, -0.4, *([0.5] if d == 3 else [0.3, 0.4])]])
    reduced = NetworkFlow.reduced(np.ones(1), neuron, 1, 2)
    found = (weight * np.tanh(x @ neuron[0] + 0.5)) @ value
    assert np.abs(found - features.moments(reduced, np.ones(1)).all).max() < (1e-10 if d == 3 else 1e-6)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"step"}))
def test_the_derivative_of_an_activation_matches_differences(name: str) -> None:
    activation = parse_activation(name)
    u, h = np.linspace(-3.03, 3.07, 62), 1e-6
    difference = (activation(u + h) - activation(u - h)) / (2 * h)
    assert np.abs(derivative(activation)(u) - difference).max() < 1e-8 * np.exp(3)


def test_a_step_of_sgd_is_a_step_down_the_population_gradient_on_average() -> None:
    """One step on 2^17 samples: five standard errors, a sample's gradient being of size 1 or so."""
    _, problem, features = coarse(*DEEP, "network.activation=erf", "input.dimension=4", "training.xi_a=0.7", "training.xi_w=1.3")
    a, w = random_neurons(6, 4, 0.5)
    training = Sgd(problem, features, a, w, 2**17, 0.5, (0, 0))
    training.run([0.5], lambda time, loss, moments: None)
    flow = NetworkFlow(problem, features, a, w)
    da, dw = flow.neurons(rates_of(flow, packed(flow)))
    assert np.abs((training.a - a) / 0.5 - da).max() < 5 * 0.7 / sqrt(2**17)
    assert np.abs((training.w - w) / 0.5 - dw).max() < 5 * 1.3 * 2 / sqrt(2**17)


def test_sgd_records_the_population_loss() -> None:
    """The part in the modes is exact; the rest is a mean over 1024 samples, known to 5% of itself."""
    _, problem, features = coarse(
        "network.activation=erf", "input.dimension=5", "target.polynomial=z1", "target.subspace_dimension=2"
    )
    a, w = random_neurons(50, 5, 0.6)
    loss, moments = Sgd(problem, features, a, w, 1, 0.1, (0, 0)).measure()
    inside = 0.5 * ((moments - features.modes.target_coefficients(problem.target)) ** 2).sum()
    exact = erf_loss(a, w)
    assert abs(loss - exact) < 0.2 * (exact - inside) < 0.01 * exact


def test_the_density_lies_in_the_confidence_band_of_sgd() -> None:
    """At N = 300 and small steps the biases (1/N, and of the step) are smaller than the band of 12 runs; the band is the 99.9%
    one, for it is asked to hold at all records together."""
    from scipy.stats import t as student

    config, problem, features = coarse(
        "input.dimension=12", "target.polynomial=z1 + z1**2/2", "training.final_time=2.0", "discretization.hermite_degree=10"
    )
    density = follow(start_flow(SELF, problem, config.discretization), config.record_times, 1e-7)[:, 0]
    runs = []
    for repeat in range(12):
        start = initial_network(problem, 300, (0, repeat), 0, 300)
        loss: list[float] = []
        training = Sgd(problem, features, *start, 200, 0.02, (0, repeat))
        training.run(config.record_times, lambda time, value, moments: loss.append(value))  # noqa: B023
        runs.append(loss)
    mean, error = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / sqrt(12)
    assert (np.abs(mean - density) < student.ppf(0.9995, 11) * error).all()
    assert (error < 0.02 * density).all()  # the band says something


@pytest.mark.parametrize("method", ["network", "sgd"])
def test_full_networks_run_from_a_configuration(method: str, tmp_path: Path) -> None:
    small = ["particles.particles=20", "particles.repeats=2", "input.dimension=30", "training.final_time=0.5"]
    config, problem, _ = coarse(*small, f"particles.method={method}", f"output.file={tmp_path / 'out.h5'}")
    summary = particles(SELF, config, problem)
    assert summary.particles == 20 and 0 < summary.loss < summary.first_loss and summary.band > 0
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["particles/v"].shape == (20, 2) and len(file["repeats"]) == 2 and file.attrs["complete"]


def test_sgd_refuses_what_it_cannot_sample() -> None:
    from mfpde.discretisations import build_problem
    from mfpde.particles.methods import METHODS

    for override, word in (("input.dimension=inf", "input.dimension"), ("network.activation=step", "network.activation")):
        config = load(None, [override, "particles.method=sgd", "initial.w=gaussian"])
        problem = build_problem(config)
        with pytest.raises(InputError, match=word):
            METHODS["sgd"](SELF, config, problem, hermite_modes(2, 6, 2, 10.0))(0, lambda *row: None)
