"""Runs with biases, sigma(w.x + b): against code that knows no Hermite modes, finite networks, SGD; ranks, density, entropy."""

from io import BytesIO
from math import sqrt
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from closed_forms import gaussian_density, gaussian_rule
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import ndtr
from support import SELF, cloud_of, command, measured, packed, rates_of, read, states

import mfpde
from mfpde.density.run import read_density
from mfpde.errors import InputError
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.evolution.passive import Passive, stacked, step
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.neurons import Nodes
from mfpde.particles.network import NetworkFlow, initial_biases, initial_network
from mfpde.particles.sampling import random_particles, sobol_particles
from mfpde.particles.sgd import Sgd

Array = NDArray[np.float64]


Run = dict[str, dict[str, Any]]
SMALL: Run = {
    "target": {"polynomial": "z1 + z1**2/2"},
    "network": {"activation": "tanh"},
    "input": {"dimension": "inf"},
    "training": {"final_time": 2.0},
    "output": {"times": 5, "plot": False},
}


def small(**sections: dict[str, Any]) -> Run:
    """The small problem with other keys."""
    return {name: SMALL.get(name, {}) | sections.get(name, {}) for name in {**SMALL, **sections}}


@pytest.mark.parametrize("activation,d", [("tanh", "inf"), ("relu", 20)])
def test_constant_biases_that_are_not_trained_are_a_shift_of_the_activation(activation: str, d: Any) -> None:
    """Another table and the same flow: E(t) to the tables' 1e-12, and the time steps' tolerance."""
    numbers = {"accuracy": False, "hermite_degree": 8, "tolerance": 1e-11, "a_nodes": 8, "r_nodes": 2, "cells": 2}
    shared: Run = {"input": {"dimension": d}, "discretization": numbers}
    shifted = {"tanh": "tanh(u + 0.4)", "relu": "max(u + 0.4, 0)"}[activation]
    plain = mfpde.run(small(**shared, network={"activation": shifted}))
    moved = small(**shared, network={"activation": activation}, initial={"b": "point(0.4)"})
    moved["training"] |= {"xi_b": 0.0}
    assert np.abs(plain.loss - mfpde.run(moved).loss).max() < 1e-10


def smoothed(name: str, mean: Array, r: Array) -> tuple[Array, Array, Array]:
    """E sigma(mean + r G), and its derivatives in mean and r."""
    if name == "relu":
        value, density = ndtr(mean / r), gaussian_density(mean / r)
        return mean * value + r * density, value, density
    if name == "sin(u)+cos(u)":
        damped = np.exp(-0.5 * r**2)
        value = damped * (np.sin(mean) + np.cos(mean))
        return value, damped * (np.cos(mean) - np.sin(mean)), -r * value
    g, w = np.polynomial.hermite_e.hermegauss(32)
    w = w / w.sum()
    value = np.tanh(mean[..., None] + r[..., None] * g)
    return value @ w, (1 - value**2) @ w, ((1 - value**2) * g) @ w


def reference(name: str, b: tuple[Array, Array], times: Array) -> Array:
    """E(t) of the small problem at d = inf without Hermite modes: f(z) = E_rho a E sigma(v z + r G + b) on nodes of z."""
    z, w = np.polynomial.hermite_e.hermegauss(32)
    w = w / w.sum()
    h = z + z**2 / 2
    x, weight = np.polynomial.legendre.leggauss(8)
    a0, b0 = (x.ravel() for x in np.meshgrid(np.concatenate(((x - 1) / 2, (x + 1) / 2)), b[0], indexing="ij"))
    weight = np.outer(np.tile(weight, 2) / 4, b[1]).ravel()

    def parts(state: Array) -> tuple[Array, Array, tuple[Array, Array, Array]]:
        a, v, r, b = state.reshape(4, -1)
        s = smoothed(name, v[:, None] * z + b[:, None], np.broadcast_to(r[:, None], (len(r), len(z))))
        return a, (weight * a) @ s[0] - h, s

    def rates(time: float, state: Array) -> Array:
        a, error, (value, by_mean, by_r) = parts(state)
        u = w * error
        return np.concatenate((-value @ u, -a * (by_mean @ (u * z)), -a * (by_r @ u), -a * (by_mean @ u)))

    start = np.concatenate((a0, np.zeros_like(a0), np.ones_like(a0), b0))
    found = solve_ivp(rates, (0.0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-7, atol=1e-7)
    return np.array([0.5 * w @ parts(y)[1] ** 2 for y in found.y.T])


@pytest.mark.parametrize("law", ["point(0)", "normal(0, 1)"])
@pytest.mark.parametrize("name", ["tanh", "relu", "sin(u)+cos(u)"])
def test_trained_biases_agree_with_code_that_knows_no_hermite_modes(name: str, law: str) -> None:
    """Within the run's own estimate, at the default accuracy, and 1e-6 of the reference; biases matter far beyond it."""
    run = mfpde.run(small(network={"activation": name}, initial={"b": law}))
    nodes, weights = gaussian_rule(6.0, 6, 8 if name == "tanh" else 11) if law != "point(0)" else (np.zeros(1), np.ones(1))
    exact = reference(name, (nodes, weights / weights.sum()), run.time)
    assert run.error is not None and (np.abs(run.loss - exact) <= run.error + 1e-6).all()
    assert run.error.max() < 2e-4
    without = mfpde.run(small(network={"activation": name}, discretization={"accuracy": False}))
    assert abs(run.loss[-1] - without.loss[-1]) > 20 * run.error[-1]


def few_neurons(d: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(3)
    return rng.uniform(-1, 1, 5), 0.7 * rng.standard_normal((5, d)), rng.standard_normal(5)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_gradient_of_a_network_is_that_of_weights_of_a_constant_entry_of_x(activation: str) -> None:
    """Of the loss of (w, b).(x, 1), by differences of a quadrature over x in R^2 that knows neither biases nor modes.

    K = 30 truncates relu: the energy beyond is 1e-4 of the loss, and its gradients 1e-2.
    """
    _, problem = read(
        "target.polynomial=z1", "input.dimension=2", f"network.activation={activation}", "initial.b=normal(0,1)",
        "discretization.hermite_degree=30", "training.xi_a=1", "training.xi_w=1", "training.xi_b=2",
    )  # fmt: skip
    a, w, b = few_neurons(2)
    w *= 0.5
    features = HermiteFeatures(SELF, hermite_modes(1, 30, 15, 2.0), problem.stages[0].activation, biases=True)
    flow = NetworkFlow(problem, features, a, w, b)
    out = rates_of(flow, packed(flow))
    x, weight = gaussian_rule(8.0, 20)
    inputs = np.stack([*(c.ravel() for c in np.meshgrid(x, x, indexing="ij")), np.ones(len(x) ** 2)])
    weight = np.outer(weight, weight).ravel()
    sigma = problem.stages[0].activation

    def loss(a: Array, wide: Array) -> float:
        return float(0.5 * weight @ (a @ sigma(wide @ inputs) / len(a) - inputs[0]) ** 2)

    wide, h = np.column_stack((w, b)), 1e-4
    gradient = np.empty_like(wide)
    for i in range(5):
        for q in range(3):
            step = np.zeros_like(wide)
            step[i, q] = h
            gradient[i, q] = 5 * (loss(a, wide + step) - loss(a, wide - step)) / (2 * h)
    bound = 1e-2 if activation == "relu" else 1e-5
    assert np.abs(flow.neurons(out)[1] + gradient[:, :2]).max() < bound
    biases = flow.biases(out)
    assert biases is not None and np.abs(biases + 2 * gradient[:, 2]).max() < 2 * bound
    assert abs(flow.measure(packed(flow))[0] - loss(a, wide)) < bound / 10


def test_networks_with_biases_tend_to_the_mean_field_like_one_over_n() -> None:
    """E of N neurons exceeds the limit by c / N: N (E_N - E) agrees at two N within three standard errors of 12 networks."""
    keys = ["input.dimension=20", "initial.b=normal(0,0.7)", "network.activation=tanh", "training.final_time=2.0"]
    _, problem = read(*keys, "target.polynomial=z1 + z1**2/2", "discretization.hermite_degree=8", "output.times=3")
    features = HermiteFeatures(SELF, hermite_modes(1, 8, 2, 20.0), problem.stages[0].activation, biases=True)
    limit = LagrangianFlow(problem, features, sobol_particles(problem, 2**13, (0, 0), 0, 2**13))
    exact = measured(limit, [0.0, 1.0, 2.0], 1e-7)
    excess = []
    for n in (40, 160):
        drawn = [(n, (1, repeat), 0, n) for repeat in range(12)]
        flows = (NetworkFlow(problem, features, *initial_network(problem, *d), initial_biases(problem, *d)) for d in drawn)
        found = n * (np.array([measured(flow, [0.0, 1.0, 2.0], 1e-6) for flow in flows]) - exact)
        excess.append((found.mean(axis=0), found.std(axis=0) / sqrt(12)))
    gap = np.abs(excess[0][0] - excess[1][0])
    assert (gap <= 3 * np.hypot(excess[0][1], excess[1][1]) + 0.1).all()
    assert (np.abs(excess[1][0]) / 160 < 0.05).all()


def test_sgd_with_biases_follows_the_population_gradient() -> None:
    """One step with 2^17 samples, from the same neurons: standard errors are 1 / sqrt(2^17) = 3e-3 of the step's size."""
    _, problem = read("input.dimension=4", "initial.b=normal(0,1)", "network.activation=tanh", "training.xi_b=0.5")
    features = HermiteFeatures(SELF, hermite_modes(2, 10, 5, 4.0), problem.stages[0].activation, biases=True)
    a, w, b = few_neurons(4)
    flow, training = NetworkFlow(problem, features, a, w, b), Sgd(problem, features, a, w, 2**17, 0.5, (0, 0), b=b)
    out = rates_of(flow, packed(flow))
    loss = training.measure()[0]
    training.run([0.5], lambda *row: None)
    rate = flow.biases(out)
    assert rate is not None and training.b is not None and np.abs((training.b - b) / 0.5 - rate).max() < 0.02
    assert np.abs(rate).max() > 0.05
    assert np.abs((training.w - w) / 0.5 - flow.neurons(out)[1]).max() < 0.03
    assert abs(loss - flow.measure(packed(flow))[0]) < 0.05 * loss


def test_decay_shrinks_biases_by_its_exact_factor_in_elements_and_networks() -> None:
    """exp(-xi_b decay_b t) without interaction, as a = 0 and h* does not see them: to the steps' 1e-8."""
    keys = ["initial.a=point(0)", "initial.b=uniform(-1,2)", "training.xi_a=0", "training.xi_b=0.5", "training.decay_b=0.6"]
    _, problem = read(*keys, "input.dimension=20", "network.activation=tanh")
    features = HermiteFeatures(SELF, hermite_modes(2, 4, 1, 20.0), problem.stages[0].activation, biases=True)
    start = random_particles(problem, 30, (0, 0), 0, 30)
    flow = LagrangianFlow(problem, features, start)
    end = flow.nodes(states(flow, [2.0], 1e-10)[0])
    assert end.b is not None and start.b is not None and np.abs(end.b - np.exp(-0.6) * start.b).max() < 1e-8
    assert np.abs(flow.penalty(packed(flow)) - 0.3 * (start.b**2).mean()) < 1e-12
    drawn = 30, (0, 0), 0, 30
    network = NetworkFlow(problem, features, *initial_network(problem, *drawn), initial_biases(problem, *drawn))
    before, after = network.biases(packed(network)), network.biases(states(network, [2.0], 1e-10)[0])
    assert before is not None and after is not None and np.abs(after - np.exp(-0.6) * before).max() < 1e-8


def test_the_rate_of_biases_is_that_of_the_inner_weights_unless_given() -> None:
    keys = ["initial.b=point(0)", "training.xi_w=where(t < 1, 1, 0.5)"]
    assert read(*keys)[1].stages[0].xi_b(2.0) == 0.5
    stage = read(*keys, "training.xi_b=3")[1].stages[0]
    assert stage.xi_b(2.0) == 3.0 and stage.unit_of_time(2.0) == 1 / 3 and stage.trains == (True, True, True)
    assert read()[1].stages[0].trains == (True, True, False)


@pytest.mark.parametrize(
    "keys,message",
    [
        (["training.xi_b=1"], "training.xi_b: has no effect without biases"),
        (["training.decay_b=1"], "training.decay_b: has no effect without biases"),
        (["discretization.b_nodes=4"], "discretization.b_nodes: has no effect without biases"),
        (["initial.b=nothing"], "initial.b: 'nothing' is no law of b"),
        (["initial.b=point(0)", "discretization.frame=affine"], 'discretization.frame: "affine" has no biases'),
        (
            ["initial.b=point(0)", "training.strategy=chen-ge"],
            "training.strategy: averages of copies are of neurons without biases",
        ),
        (["initial.b=point(0)", "training.xi_b=0", "training.decay_b=1"], "training.decay_b: 1 has no effect, as xi_b = 0"),
        (["initial.b=point(0)", "initial.w=zero", "network.activation=abs(u - 1)"], "differentiable everywhere"),
    ],
)
def test_what_does_not_go_with_biases_is_refused_in_one_line(keys: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        read(*keys)
    assert message in str(error.value) and "\n" not in str(error.value) and "allowed" in str(error.value)


@pytest.mark.parametrize("module", ["kernel", "learnability"])
def test_commands_that_know_no_biases_say_so(module: str, tmp_path: Path) -> None:
    (tmp_path / "biases.toml").write_text('[initial]\nb = "point(0)"\n')
    done = command(module, "biases.toml", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "initial.b" in done.stderr and "allowed" in done.stderr


def test_biases_on_the_sphere_are_free() -> None:
    """|w| stays 1, and b moves."""
    keys = ["initial.w=sphere", "training.constraint=sphere", "input.dimension=20", "initial.b=point(0)"]
    _, problem = read(*keys, "network.activation=tanh")
    features = HermiteFeatures(SELF, hermite_modes(2, 4, 1, 20.0), problem.stages[0].activation, biases=True)
    flow = LagrangianFlow(problem, features, random_particles(problem, 30, (0, 0), 0, 30))
    end: Nodes = flow.nodes(states(flow, [2.0], 1e-8)[0])
    assert np.abs((end.v**2).sum(axis=0) + end.r**2 - 1).max() < 1e-12
    assert end.b is not None and np.abs(end.b).max() > 0.05


def test_the_density_of_biases_is_a_marginal_with_their_second_moment(tmp_path: Path) -> None:
    """Bins of b hold mass 1, and E b^2 as the nodes have it, to half a bin; b_0 at t = 0 has its law's, 1/4."""
    result = mfpde.run(
        small(initial={"b": "uniform(-1, 0.5)"}, input={"dimension": 30}, discretization={"accuracy": 1e-2, "nodes": "panels"})
    )
    path = tmp_path / "out.h5"
    result.save(path)
    with h5py.File(path) as file:
        B, mass = file["slices/snapshots/0001/B"][:], file["slices/y_weight"][:]
        assert file["slices/label_b"].shape == file["slices/label_a"].shape and file["resolution/b_counts"][:].sum() > 1
        square = float(np.einsum("l,cn,lcn->", file["slices/label_weight"][:], mass, B**2))
    for time, expected, bound in ((0.0, 0.25, 2e-3), (None, square, 1e-2)):
        found = result.density(("b",), time, 100)
        centre = (found.edges[0][1:] + found.edges[0][:-1]) / 2
        assert abs(found.mass.sum() + found.lost_mass - 1) < 1e-9 and found.lost_mass < 1e-4
        assert abs(found.mass @ centre**2 - expected) < bound
    assert abs(square - 0.25) > 0.03
    both = result.density(("b", "v1"), None, 40)
    assert both.values.shape == (40, 40) and abs(both.mass.sum() + both.lost_mass - 1) < 1e-9


def test_entropy_with_biases_is_the_determinant_of_the_map() -> None:
    """log D along neurons against determinants of central differences of the flow with h = 1e-4, to 1e-5."""
    numbers = {"accuracy": False, "hermite_degree": 6, "tolerance": 1e-9, "a_nodes": 8, "b_nodes": 6, "r_nodes": 2, "cells": 2}
    result = mfpde.run(small(initial={"b": "normal(0, 1)"}, input={"dimension": 30}, discretization=numbers))
    with h5py.File(BytesIO(result.image)) as file:
        run = read_density(file)
        assert np.isfinite(file["history/entropy"][:]).all()
    passive = Passive(run.problem, run.modes, run.field, run.end)
    rng = np.random.default_rng(0)
    a, v, r, b = cloud_of(rng, 6, 1)
    start, h = stacked(Nodes(a, v, r, np.ones(6), b)), 1e-4

    def moved(x: Array) -> Array:
        return stacked(passive(Nodes(x[0], x[1:2], x[2], np.ones(x.shape[1]), x[3])))

    columns = [(moved(start + h * e[:, None]) - moved(start - h * e[:, None])) / (2 * h) for e in np.eye(4)]
    determinant = np.linalg.det(np.array(columns).transpose(2, 1, 0))
    state = np.vstack((start, np.zeros(6)))  # with log D, carried along as the last row
    for leg in passive.legs[0]:
        state = step(leg, state, 1)[0]
    log_d = state[4]
    assert np.abs(log_d - np.log(determinant)).max() < 1e-5 and np.abs(log_d).max() > 0.1
