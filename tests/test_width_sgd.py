"""SGD with small steps, without samples: kicks by given x against second differences, Euler's error against Euler's steps."""

from math import inf

import numpy as np
import pytest
from support import SELF, read
from test_width import Array, Cloud

from mfpde.neurons import Nodes
from mfpde.problem.activation import derivative
from mfpde.problem.problem import Problem
from mfpde.width.course import Leg, legs
from mfpde.width.fields import Truncation
from mfpde.width.kicks import ANGLES, Kicks, Samples, angles, gauss_samples
from mfpde.width.sgd import SgdEvolution
from mfpde.width.study import Study, nodes_of

K, DIRECTIONS = 6, 16


def start(problem: Problem, seed: int) -> tuple[Nodes, Array, Array]:
    """Three nodes at d = 3 and p = 1, and the same as neurons around the circle with their weights."""
    rng, n = np.random.default_rng(seed), 3
    a, v, r, b = rng.uniform(-1, 1, n), rng.standard_normal((1, n)) / 2, rng.uniform(0.4, 0.9, n), rng.uniform(-1, 1, n)
    weight, biases = rng.dirichlet(np.full(n, 5.0)), problem.b is not None
    angle = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    rows = [(a[i], v[0, i], r[i] * np.cos(t), r[i] * np.sin(t), b[i] * biases) for i in range(n) for t in angle]
    return Nodes(a, v, r, weight, b if biases else None), np.array(rows), np.repeat(weight, DIRECTIONS) / DIRECTIONS


def kick(problem: Problem, cloud: Cloud, state: Array, z: float, y: float) -> Array:
    """What a sample x = (z, y, 0) does to neurons (a, w, b), per unit of the step."""
    stage, x = problem.stages[0], np.array([z, y, 0.0])
    a, u = state[:, 0], state[:, 1:-1] @ x + state[:, -1]
    sigma = stage.activation(u)
    eps = stage.interaction * float(cloud.weight * a @ sigma) - float(problem.target(np.array([[z]]))[0])
    bent = a * derivative(stage.activation)(u)
    xi = stage.rates(0.0)
    return -eps * np.column_stack((xi.a * sigma, xi.w * bent[:, None] * x, xi.b * bent))


@pytest.mark.parametrize("case", [[], ["initial.b=uniform(-1, 1)", "training.xi_a=0.5"], ["training.interaction=false"]], ids=str)
def test_kicks_by_given_samples_change_the_loss_by_their_second_differences(case: list[str]) -> None:
    """All sectors, and the term of Ito: to 1e-3 of the largest value, as harmonics of degree > K are left out."""
    _, problem = read("target.polynomial=z1+z1**2/2", "input.dimension=3", "training.final_time=3", *case)
    nodes, state, law = start(problem, 1)
    rng = np.random.default_rng(2)
    samples = Samples(rng.standard_normal((1, 6)), rng.uniform(0.3, 1.5, 6), np.full(6, 1 / 6))
    kicks = [Kicks(problem, problem.stages[0], nodes.weight, samples, centred=False)]
    run = SgdEvolution(problem, Truncation(K, K, K), nodes, legs(problem), kicks=kicks)
    found = run.run(lambda record: 1.0 if record == 0 else 0.0)
    cloud = Cloud(problem, K, law)
    middle, second, first = cloud.losses(state), 0.0, 0.0
    for z, y, weight in zip(samples.z[0], samples.y, samples.weight, strict=True):
        move = kick(problem, cloud, state, z, y)
        h = 0.02 / np.abs(move).max()
        near, far = ([cloud.losses(state + side * step * move) for side in (1, -1)] for step in (h, 2 * h))
        second += weight * (16 * (near[0] + near[1]) - (far[0] + far[1]) - 30 * middle) / (12 * h * h)
        first += weight * ((8 * (near[0] - near[1]) - (far[0] - far[1])) / (12 * h)) ** 2
    assert np.abs(found.noise - 0.5 * second).max() < 1e-3 * np.abs(found.noise).max()
    assert np.abs(found.deviation - np.sqrt(first)).max() < 1e-3 * found.deviation.max()
    assert np.abs(found.noise).max() > 0.1


def test_the_term_of_finite_steps_is_that_of_steps_of_euler() -> None:
    """Rates that change in time, at eta = 0.05 and 0.025, extrapolated: to 1%."""
    _, problem = read("target.polynomial=z1+z1**2/2", "input.dimension=3", "training.final_time=2", "training.xi_w=1+t/2")
    nodes, state, law = start(problem, 3)
    found = SgdEvolution(problem, Truncation(4, 4, 2), nodes, legs(problem, 4.0)).run(lambda record: 0.0)
    cloud = Cloud(problem, 4, law)
    exact, errors = follow(cloud, state, legs(problem, 8.0)[0]), []
    for steps in (40, 80):
        moved, eta = state.copy(), 2.0 / steps
        for step in range(steps):
            moved = moved + eta * cloud.rates(0, step * eta, moved)[0]
        errors.append((cloud.rates(0, 2.0, moved)[1] - exact) / eta)
    limit = 2 * errors[1] - errors[0]
    assert abs(found.euler[-1] - limit) < 0.01 * abs(limit) and abs(limit) > 1e-3 and found.euler[0] == 0


def follow(cloud: Cloud, state: Array, leg: Leg) -> float:
    """E at the end, by fine steps of the method of order 4."""
    h = leg.length
    for step in range(leg.steps):
        t = step * h
        one = cloud.rates(0, t, state)[0]
        two = cloud.rates(0, t + h / 2, state + h / 2 * one)[0]
        three = cloud.rates(0, t + h / 2, state + h / 2 * two)[0]
        four = cloud.rates(0, t + h, state + h * three)[0]
        state = state + h / 6 * (one + 2 * two + 2 * three + four)
    return cloud.rates(0, leg.interval.end, state)[1]


def test_noise_in_labels_adds_its_square_exactly() -> None:
    """q is linear in tau^2, and so is the square of the deviation."""
    _, problem = read("target.polynomial=z1", "input.dimension=5", "training.final_time=1")
    n = Nodes(np.array([-0.5, 0.8]), np.array([[0.3, -0.2]]), np.array([0.8, 1.0]), np.full(2, 0.5))
    none, one, two = (SgdEvolution(problem, Truncation(4, 2, 3), n, legs(problem), tau).run() for tau in (0.0, 1.0, 2.0))
    for curve in (lambda x: x.noise, lambda x: x.deviation**2):
        assert np.abs(curve(two) - curve(none) - 4 * (curve(one) - curve(none))).max() < 1e-6 * curve(two).max()
    assert one.noise[-1] > 1.2 * none.noise[-1]


def test_the_noise_does_not_depend_on_the_modes() -> None:
    """Columns in x-space: q at K = 6 and 9 to 1%, and half the steps to 3%."""
    _, problem = read("target.polynomial=z1+z1**2/2", "input.dimension=10", "training.final_time=4")
    nodes = nodes_of(problem, {**Study(SELF, problem, 0.1).thin})
    few, many, fine = (
        SgdEvolution(problem, Truncation(K, 2, 4), nodes, legs(problem, more)).run() for K, more in ((6, 2.0), (9, 2.0), (6, 4.0))
    )
    largest = few.noise.max()
    assert np.abs(few.noise - many.noise).max() < 0.01 * largest and np.abs(few.noise - fine.noise[::2]).max() < 0.03 * largest


@pytest.mark.parametrize("D", [1, 2, 3, 50, 10**6])
def test_angles_integrate_harmonics(D: int) -> None:
    """E P_l P_l' = delta / N_l, with N_1 = D and N_2 = (D - 1)(D + 2)/2."""
    x, weight, P = angles(D, 1 if D == 1 else 3)
    assert abs(weight.sum() - 1) < 1e-13 and len(x) == (2 if D == 1 else ANGLES)
    size = [1.0, D, (D - 1) * (D + 2) / 2, inf if D == 1 else (D + 4) * D * (D - 1) / 6]
    for i, row in enumerate(P):
        for j, other in enumerate(P):
            assert abs(weight @ (row * other) - (i == j) / size[i]) < 1e-12
    assert np.abs(P[1] - x).max() < 1e-14


def test_samples_have_the_moments_of_x() -> None:
    _, problem = read("input.dimension=12")
    x = gauss_samples(problem)
    assert abs(x.weight.sum() - 1) < 1e-12 and np.abs((x.z * x.weight) @ x.z.T - np.eye(2)).max() < 1e-12
    assert abs(x.weight @ x.y**2 - 10) < 1e-11 and abs(x.weight @ x.y**4 - 120) < 1e-9
