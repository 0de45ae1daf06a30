"""Nets: their points, their nodes, what they say of their error, and the choice between them and panels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from scipy.stats import qmc

import mfpde
from mfpde.errors import InputError
from mfpde.evolution.net import net_nodes, node_count
from mfpde.kernel.study import solve_kernel
from mfpde.problem.config import load
from mfpde.quadrature.nets import LARGEST, _directions, scrambled_net, sobol_digits

SELF = MPI.COMM_SELF


def test_the_points_are_those_of_scipy() -> None:
    """In another order: SciPy's is that of Gray's code."""
    own = sobol_digits(_directions(), 0, 1024) * 2.0**-32
    theirs = qmc.Sobol(LARGEST, scramble=False, bits=32).random(1024)
    assert {*map(tuple, own.T)} == {*map(tuple, theirs)}
    assert np.array_equal(own[:, 100:200], sobol_digits(_directions(), 100, 200) * 2.0**-32)


def test_every_scramble_is_a_net_and_their_mean_has_no_bias() -> None:
    def integrand(u: np.ndarray) -> np.ndarray:
        return np.prod(1 + 0.5 * np.sin(3 * u) + np.abs(u - 0.3), axis=0)

    exact = (1 + (1 - np.cos(3)) / 6 + 0.29) ** 3
    means = []
    for seed in range(64):
        u = scrambled_net(3, np.random.default_rng(seed), 0, 256)
        assert all(np.array_equal(np.sort(np.floor(256 * row)), np.arange(256)) for row in u)
        # Elementary intervals of two directions hold as many points as their share.
        cells = np.floor(16 * u[0]) * 16 + np.floor(16 * u[1])
        assert np.array_equal(np.sort(cells), np.arange(256))
        means.append(integrand(u).mean())
    error = np.std(means, ddof=1) / 8
    assert abs(np.mean(means) - exact) < 4 * error < 2e-4


def test_atoms_multiply_the_nodes_and_keep_their_masses() -> None:
    problem = mfpde.build_problem(load(None, ["initial.a=points(-1: 0.2, 2: 0.8)", "input.dimension=10", "initial.b=rademacher"]))
    assert node_count(problem, 64) == 256
    nodes = net_nodes(problem, 64)
    assert nodes.b is not None and abs(nodes.weight.sum() - 1) < 1e-14
    assert abs(nodes.weight[nodes.a == 2].sum() - 0.8) < 1e-14 and abs(nodes.weight @ nodes.b) < 1e-14
    some = net_nodes(problem, 64, 0, 50, 120)
    assert np.array_equal(some.v, nodes.v[:, 50:120]) and np.array_equal(some.a, nodes.a[50:120])


@pytest.mark.parametrize(
    ("keys", "accuracy"),
    [
        ({"dimension": 4, "polynomial": "z1 + z1*z2"}, 5e-3),
        ({"dimension": 40, "activation": "sin(u) + cos(u)", "polynomial": "z1 + z2**2", "a": "normal(0.3, 0.5)"}, 3e-3),
        ({"dimension": 12, "activation": "gelu", "initial": {"a": "rademacher", "w": "sphere"}, "polynomial": "z1**2"}, 2e-3),
        ({"dimension": 20, "initial": {"b": "uniform(-1, 1)"}, "decay_w": 0.1, "polynomial": "z1"}, 2e-3),
    ],
)
def test_the_error_of_a_net_is_below_its_estimate(keys: dict[str, Any], accuracy: float) -> None:
    """Against panels that are finer."""
    common = {**keys, "final_time": 2.0, "times": 9}
    found = mfpde.run(comm=SELF, progress=False, nodes="net", accuracy=accuracy, **common)
    exact = mfpde.run(comm=SELF, progress=False, nodes="panels", accuracy=accuracy / 8, **common)
    assert found.attributes["discretisation"] == "net" and exact.attributes["discretisation"] == "flow"
    assert found.error is not None and (np.abs(found.loss - exact.loss) <= found.error).all()
    assert found.summary is not None and not any("accuracy" in line for line in found.summary.warnings)


def test_the_run_chooses_what_costs_less() -> None:
    small = {"accuracy": 1e-2, "final_time": 0.5, "times": 3, "comm": SELF, "progress": False}
    chosen = {d: mfpde.run(dimension=d, **small).attributes["discretisation"] for d in (3, 10**4, "inf")}
    assert chosen == {3: "net", 10**4: "flow", "inf": "flow"}
    with_panels = mfpde.run(dimension=3, cells=4, **small)
    assert with_panels.attributes["discretisation"] == "flow"


def test_more_than_three_directions_at_finite_d_take_a_net() -> None:
    """E at t = 0 is exact, and rotating two of the directions changes nothing."""
    common = {"dimension": 9, "accuracy": 2e-2, "final_time": 1.0, "times": 3, "comm": SELF, "progress": False}
    one = mfpde.run(polynomial="z1 + z2*z3*z4", **common)
    other = mfpde.run(polynomial="z4 + z1*z2*z3", **common)
    assert one.attributes["discretisation"] == "net" and one.error is not None and other.error is not None
    assert abs(one.loss[0] - 1) <= one.error[0] and (np.abs(one.loss - other.loss) <= one.error + other.error).all()


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (["discretization.nodes=net", "discretization.a_nodes=8"], "discretization.a_nodes"),
        (["discretization.net_points=1000"], "discretization.net_points"),
        (["discretization.net_points=1024", "discretization.nodes=panels"], "discretization.net_points"),
        (["discretization.net_points=1024", "discretization.frame=affine"], "discretization.nodes"),
        (["discretization.nodes=net", "input.dimension=inf", "initial.a=rademacher"], "discretization.nodes"),
        (["discretization.nodes=mesh"], "discretization.nodes"),
        (["target.polynomial=z1*z4", "discretization.cells=4"], "input.dimension"),
    ],
)
def test_what_a_net_cannot_do_is_one_line(given: list[str], key: str) -> None:
    with pytest.raises(InputError, match=f"^{key}: .*allowed|^{key}: a net needs") as raised:
        mfpde.build_problem(load(None, given))
    assert "\n" not in str(raised.value)


def test_a_kernel_matrix_is_refined_on_panels(tmp_path: Path) -> None:
    words = ["training.strategy=chen-ge", "discretization.nodes=net", f"output.file={tmp_path / 'kernel.h5'}"]
    config = load(None, words)
    with pytest.raises(InputError, match=r"^discretization\.nodes: .* allowed"):
        solve_kernel(SELF, config, mfpde.build_problem(config))


def test_a_net_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    keys = {"nodes": "net", "net_points": 256, "accuracy": False, "dimension": 5, "times": 5, "comm": SELF, "progress": False}
    whole = mfpde.run(final_time=2.0, **keys)
    first = mfpde.run(final_time=1.0, save=tmp_path / "first.h5", **keys)
    second = mfpde.run(restart=tmp_path / "first.h5", final_time=2.0, comm=SELF, progress=False)
    assert len(first.loss) == 5 and abs(second.loss[-1] - whole.loss[-1]) < 1e-12
    density = second.density(("a", "v1"), 2.0, 20)
    assert density.error < 0.1 and abs(density.mass.sum() + density.lost_mass - 1) < 1e-6
