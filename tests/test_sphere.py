"""Inner weights on the sphere |w| = 1: the start, the projected gradient, and closed forms of both."""

from pathlib import Path

import numpy as np
import pytest
from committee import at_infinity
from scipy.integrate import solve_ivp
from support import SELF, read

from mfpde.discretisations import start_flow
from mfpde.evolution.flow import Recording


def test_weights_on_the_sphere_are_the_committee_at_infinite_dimension(tmp_path: Path) -> None:
    history, rows = at_infinity(tmp_path, "initial.w=sphere", "training.constraint=sphere", sphere=True)
    assert np.abs(history["loss"] - rows[:, 0]).max() < 1e-6 and rows[-1, 0] < 0.1 * rows[0, 0]


def test_the_sphere_is_uniform_at_first_and_never_left() -> None:
    """E v^2 = 1/d, E v^4 = 3 / (d (d + 2)) on elements; |w| = 1 to 1e-14 at the end."""
    few = ["discretization.accuracy=false", "discretization.cells=8", "discretization.degree=5", "discretization.r_nodes=20"]
    few += ["discretization.a_nodes=2"]
    config, problem = read(*few, "initial.w=sphere", "training.constraint=sphere", "input.dimension=20", "target.polynomial=z1")
    flow, found = start_flow(SELF, problem, config.discretization), []
    flow.follow([0.0, 2.0], 1e-6, Recording(lambda step, vector: found.append(flow.nodes(vector.copy()))))
    start, end = found
    assert abs(start.weight @ start.v[0] ** 2 - 1 / 20) < 1e-7 and abs(start.weight @ start.v[0] ** 4 - 3 / 440) < 1e-7
    assert np.abs((end.v**2).sum(axis=0) + end.r**2 - 1).max() < 1e-14 and np.abs(end.v - start.v).max() > 0.1


@pytest.mark.parametrize("k", [3, 4])
def test_on_the_sphere_the_information_exponent_sets_the_flow_of_every_neuron(k: int) -> None:
    """h* = he_k(z1), sigma = he_k, a = 1, correlation loss: v' = k v^(k-1) (1 - v^2) for each neuron, E f h* = E v^k, over the
    density (1 - v^2)^((d - 3) / 2) of v_0; d = 100, to 1e-5 of it.
    """
    d, times = 100, [0.0, 0.5, 1.0]
    single = [f"target.polynomial=he{k}(z1)", f"network.activation=he{k}(u)", "initial.a=point(1)", "training.xi_a=0"]
    sphere = ["initial.w=sphere", "training.constraint=sphere", "training.interaction=false", f"input.dimension={d}"]
    fine = ["discretization.cells=8", "discretization.degree=5", "discretization.core_width=4", "discretization.r_nodes=10"]
    config, problem = read(*single, *sphere, *fine, "discretization.accuracy=false")
    flow, found = start_flow(SELF, problem, config.discretization), []
    flow.follow(times, 1e-10, Recording(lambda step, vector: found.append(flow.moments(vector, 0.0) @ flow.target)))
    v, weight = np.polynomial.legendre.leggauss(400)
    weight = weight * (1 - v**2) ** ((d - 3) / 2)
    moved = solve_ivp(lambda t, x: k * x ** (k - 1) * (1 - x**2), (0.0, 1.0), v, "DOP853", times, rtol=1e-10, atol=1e-14).y.T
    exact = moved**k @ weight / weight.sum()
    assert np.abs(np.array(found) - exact).max() < 1e-5 * exact[-1]
