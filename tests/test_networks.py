"""What networks are trained with in practice: laws of a, correlation loss, weight decay, noise in the labels.

Each is compared with a closed form, or with the committee of erf neurons.
"""

from math import exp, log, pi, sqrt
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from committee import ERF, TWO, at_infinity, compare_networks
from support import SELF, read

from mfpde.discretisations import start_flow
from mfpde.errors import InputError
from mfpde.evolution.flow import Recording
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.learnability.report import learnability
from mfpde.learnability.text import render
from mfpde.particles.run import particles
from mfpde.particles.sgd import Sgd
from mfpde.problem.activation import parse_activation
from mfpde.problem.laws import parse_law
from mfpde.problem.target import parse_target
from mfpde.quadrature.rules import gauss_rule
from mfpde.solve import solve


def test_laws_of_a_with_any_mean_have_gauss_rules_and_samples_of_their_moments() -> None:
    cases = {
        "point(1)": (1, 1), "normal(1, 0.5)": (1, 1.25), "uniform(0, 1)": (1 / 2, 1 / 3),
        "points(-1: 0.25, 1.5: 0.75)": (7 / 8, 31 / 16),
    }  # fmt: skip
    u = (np.arange(4000) + 0.5) / 4000
    for text, (first, second) in cases.items():
        law = parse_law(text)
        rule = gauss_rule(law, (6,))
        assert abs(rule.weights @ rule.nodes - first) < 1e-14 and abs(rule.weights @ rule.nodes**2 - second) < 1e-14
        assert abs(law.quantile(u).mean() - first) < 1e-3 and abs((law.quantile(u) ** 2).mean() - second) < 2e-3


def test_a_law_that_is_not_symmetric_is_told_of_in_one_line(tmp_path: Path) -> None:
    config, problem = read(
        *ERF, "initial.a=uniform(0, 1)", "training.final_time=0.1", "input.dimension=inf", f"output.file={tmp_path / 'out.h5'}"
    )
    (line,) = solve(SELF, config, problem).warnings
    assert "not symmetric about 0:" in line and "3.4" in line and "\n" not in line
    (line,) = read("initial.a=normal(0, 1)")[1].notices
    assert "not of bounded support:" in line
    assert read()[1].notices == () == read("initial.a='points(-2: 0.5, 2: 0.5)'")[1].notices
    report = learnability(parse_target("z1"), parse_activation("erf"), 4, (), parse_law("uniform(0, 1)"))
    assert "law of a" in render(report) and "not symmetric" in report.theorem
    assert "law of a" not in render(learnability(parse_target("z1"), parse_activation("erf"), 4, (), parse_law("uniform(-1, 1)")))


def test_at_infinite_dimension_a_law_of_two_points_is_the_arcsine_committee(tmp_path: Path) -> None:
    """To the Hermite truncation at degree 25."""
    history, rows = at_infinity(tmp_path)
    assert np.abs(history["loss"] - rows[:, 0]).max() < 1e-6 and rows[-1, 0] < 0.1 * rows[0, 0]


def test_correlation_loss_is_that_of_the_committee_and_both_are_recorded(tmp_path: Path) -> None:
    history, rows = at_infinity(tmp_path, "training.interaction=false", "training.final_time=1.5", interaction=False)
    assert np.abs(history["loss"] - rows[:, 0]).max() < 1e-6 and np.abs(history["correlation"] - rows[:, 1]).max() < 1e-6
    assert (np.diff(history["correlation"]) > 0).all()


def test_weight_decay_is_that_of_the_committee_and_the_regularised_loss_decreases(tmp_path: Path) -> None:
    history, rows = at_infinity(tmp_path, "training.decay_a=0.2", "training.decay_w=0.3", decay=(0.2, 0.3))
    assert np.abs(history["loss"] - rows[:, 0]).max() < 1e-6
    regularised = history["regularised_loss"]
    assert np.abs(regularised - rows[:, 0] - rows[:, 2]).max() < 1e-6 and (np.diff(regularised) < 0).all()


@pytest.mark.parametrize(
    "overrides,known",
    [
        ([], {}),
        (["training.interaction=false", "training.final_time=1.5"], {"interaction": False}),
        (["training.decay_a=0.2", "training.decay_w=0.3"], {"decay": (0.2, 0.3)}),
        (["initial.w=sphere", "training.constraint=sphere"], {"sphere": True}),
    ],
)
def test_finite_network_and_sgd_are_the_committee_of_the_same_neurons(overrides: list[str], known: dict[str, Any]) -> None:
    """The network to its truncation; SGD with 200 steps of 400 samples to 0.05."""
    compare_networks([TWO, *overrides], 1e-5, 0.05, **known)


@pytest.mark.parametrize("frame", ["flow", "affine"])
def test_without_forces_weights_decay_by_their_exact_factors_on_elements(frame: str) -> None:
    """exp(-xi lambda t) with the target 0 and no interaction; to the steps' 1e-9."""
    small = ["discretization.a_nodes=4", "discretization.r_nodes=2", "discretization.cells=4", "discretization.tolerance=1e-10"]
    forces = ["target.polynomial=0*z1", "training.interaction=false", "training.decay_a=0.3", "training.decay_w=0.2"]
    config, problem = read(f"discretization.frame={frame}", *small, *forces, "training.xi_a=2.0", "input.dimension=30")
    flow, found = start_flow(SELF, problem, config.discretization), []
    flow.follow([0.0, 1.7], 1e-10, Recording(lambda step, vector: found.append(flow.nodes(vector.copy()))))
    before, after = found
    assert np.abs(after.a - exp(-2 * 0.3 * 1.7) * before.a).max() < 1e-8 and np.abs(before.a).max() > 0.5
    assert np.abs(after.v - exp(-0.2 * 1.7) * before.v).max() < 1e-8
    assert np.abs(after.r - exp(-0.2 * 1.7) * before.r).max() < 1e-8


def test_weight_decay_changes_the_escape_from_a_plateau_as_its_formula_says() -> None:
    """h* = z1 z2, a = +-1 frozen, sigma = tanh(u + 1/2): x' = (kappa(r) - lambda) x with r = exp(-lambda t) and
    kappa(r) = E sigma''(r G), where E = 1/2 - kappa x^2: between two d the times obey
    int kappa - lambda dt + 1/2 log kappa = 1/2 log(d2 / d1). Here it leaves sooner, as kappa grows from 0.168 to 0.727 when r
    shrinks; without decay dT / dlog d = 1 / (2 kappa) = 2.975.
    """
    frozen = ["target.polynomial=z1*z2", "initial.a=rademacher", "training.xi_a=0", "training.final_time=400.0"]
    coarse = ["discretization.r_nodes=1", "discretization.cells=1", "discretization.degree=3", "discretization.hermite_degree=4"]
    g, weight = np.polynomial.hermite_e.hermegauss(60)
    slopes = []
    for decay in (0.0, 0.03):
        escape = []
        for d in (10**10, 10**14):
            times = np.arange(0.0, 110.0, 1.0).tolist()
            config, problem = read(*frozen, *coarse, f"input.dimension={d}", f"training.decay_w={decay}")
            flow, rows = start_flow(SELF, problem, config.discretization), []
            flow.follow(
                times, 1e-7, Recording(lambda step, vector, flow=flow, rows=rows: rows.append(flow.measure(vector, 0.0)[0]))
            )
            gap = np.maximum(0.5 - np.array(rows), 1e-15)
            escape.append(float(np.interp(log(1e-4), np.log(gap[: gap.argmax()]), times[: gap.argmax()])))
        slopes.append((escape[1] - escape[0]) / log(10**4))

        def rate(time: float, decay: float = decay) -> float:
            t = np.tanh(exp(-decay * time) * g + 0.5)
            return float(weight @ (-2 * t * (1 - t**2))) / sqrt(2 * pi)

        t = np.linspace(*escape, 2001)
        growth = np.trapezoid([abs(rate(x)) - decay for x in t], t) + 0.5 * log(rate(t[-1]) / rate(t[0]))
        assert abs(growth / (0.5 * log(10**4)) - 1) < 1e-3
    assert abs(slopes[0] - 2.975) < 0.01 and slopes[1] < slopes[0]


def test_label_noise_adds_the_variance_of_its_recursion() -> None:
    """One neuron f = a x_1 with w fixed, a -> a + eta mean (x_1 + s e - a x_1) x_1: with e = a - 1

        E e_+^2 = E e^2 (1 - 2 eta + eta^2 (1 + 2/B)) + eta^2 s^2 / B,    E = 1/2 E e^2,

    over 200 runs to five standard errors. The noise's own risk s^2 / 2 is not in it.
    """
    linear = ["network.activation=identity", "target.polynomial=z1", "discretization.hermite_degree=1"]
    _, problem = read(*linear, "input.dimension=2", "training.xi_w=0", "initial.a=point(0)")
    features = HermiteFeatures(SELF, hermite_modes(1, 1, 0, 2.0), problem.stages[0].activation)
    eta, s, batch, steps, runs = 0.2, 3.0, 4, 12, 200
    one, w, found = np.zeros(1), np.array([[1.0, 0.0]]), []
    training = Sgd(problem, features, one, w, batch, eta, (0, 0), s)
    for seed in range(runs):
        training.a, training.seed = one.copy(), (seed, 0)
        training.run([eta * steps], lambda *row: found.append(row[1]))
    expected = 0.5
    for _ in range(steps):
        expected = expected * (1 - 2 * eta + eta**2 * (1 + 2 / batch)) + 0.5 * eta**2 * s**2 / batch
    loss = np.array(found)
    assert abs(loss.mean() - expected) < 5 * loss.std() / sqrt(runs) < expected


@pytest.mark.parametrize(
    "overrides,words",
    [
        (["particles.label_noise=0.1"], ["particles.label_noise", "sgd"]),
        (["training.decay_a=0.1", "training.xi_a=0"], ["training.decay_a", "xi_a = 0"]),
        (["training.decay_w=-1"], ["training.decay_w", "0 to"]),
        (["training.strategy=chen-ge", "training.interaction=false"], ["training.interaction", "strategy"]),
        (["target.function=sign(z1)", "target.polynomial=z1"], ["target.polynomial", "target.function"]),
        (["target.function=1/z1"], ["target.function", "finite"]),
        (["target.function=1/(z1 - z2)"], ["target.function", "allowed"]),
        (["target.function=sign(z4)"], ["target.function", "z4"]),
        (["target.function=sign(z1)", "discretization.hermite_degree=60", "target.subspace_dimension=3"], ["up to 24"]),
        (["target.function=sign(z1)", "training.strategy=chen-ge"], ["training.strategy_degree", "target.function"]),
        (["training.constraint=sphere"], ["training.constraint", "initial.w"]),
        (["initial.w=sphere", "discretization.frame=affine"], ["discretization.frame", "flow"]),
        (["initial.w=sphere", "training.constraint=sphere", "training.decay_w=1"], ["training.decay_w", "sphere"]),
        (["training.interaction=0.5"], ["training.interaction", "true, false"]),
    ],
)
def test_what_does_not_go_together_is_one_line(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read(*overrides)
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("method", ["reduced", "gauss", "network", "sgd"])
def test_particle_files_have_the_trained_losses_beside_e(tmp_path: Path, method: str) -> None:
    path = tmp_path / "out.h5"
    trained = ["training.interaction=false", "training.decay_w=0.1", "training.decay_a=0.1", "training.final_time=0.5"]
    how = ["method=reduced", "sampling=gauss"] if method == "gauss" else [f"method={method}", "repeats=2"]
    few = ["particles.particles=16", *(f"particles.{word}" for word in how), "input.dimension=8", "output.times=3"]
    config, problem = read(*ERF[:2], *trained, *few, f"output.file={path}")
    particles(SELF, config, problem)
    with h5py.File(path) as file:
        history, target = file["history"], file["target/coefficients"][:]
        assert np.abs(history["correlation"][:] - history["coefficients"][:] @ target).max() < 1e-14
        assert (history["regularised_loss"][:] > history["loss"][:]).all()
