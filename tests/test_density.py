"""Densities of the neurons: where they are, how exact, and what the command says."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from support import command, run_to

from mfpde.density.bins import Density
from mfpde.density.choice import Ruler, choose_map, choose_steps, follow_trial
from mfpde.density.grid import Grid
from mfpde.density.maps import Interpolated
from mfpde.density.marginal import density
from mfpde.density.points import Sampling, normal_cells, sample, slabs
from mfpde.density.run import read_density
from mfpde.discretisation.recorded import PushForward
from mfpde.discretisations import build_problem
from mfpde.errors import InputError
from mfpde.evolution.entropy import entropy_nodes
from mfpde.evolution.mean_field import LOBATTO, MeanField
from mfpde.evolution.passive import Passive, neurons, stacked, step, tensor_nodes
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.neurons import Cloud, LearningRates, Nodes, Rates
from mfpde.output.history import open_result
from mfpde.problem.activation import parse_activation
from mfpde.problem.config import load
from mfpde.solve import solve

SELF = MPI.COMM_SELF
P1 = ["target.polynomial=z1 + z1^2/2", "discretization.hermite_degree=6"]


def opened(path: Path) -> PushForward:
    with open_result(path) as file:
        run = read_density(file)
        assert isinstance(run, PushForward)
        return run


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_to(tmp_path_factory.mktemp("density") / "default.h5")


@pytest.fixture(scope="module")
def p1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_to(tmp_path_factory.mktemp("density") / "p1.h5", *P1, "input.dimension=10", "training.final_time=4")


def followed(run: PushForward, time: float, start: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """(A, X, R) of points a_0, r_0^2, y at a time."""
    return stacked(Passive(run.problem, run.modes, run.field, time)(neurons(run.problem.w, start)))


def log_determinants(passive: Passive, start: Nodes) -> list[np.ndarray]:
    """log D of points at every stop of those who follow them, carried along as the last row of their state."""
    p, found = len(start.v), []
    state = np.vstack((stacked(start), np.zeros(start.v.shape[1])))
    for legs in passive.legs:
        for leg in legs:
            state = step(leg, state, p)[0]
        found.append(state[p + 2])
    return found


def test_the_mean_field_is_exact_for_polynomials_of_degree_seven() -> None:
    times = np.array([0.0, 0.7])[:, None] + np.array([0.7, 1.3])[:, None] * LOBATTO
    field = MeanField(times, np.polynomial.polynomial.polyval(times, np.arange(1.0, 9.0))[..., None])
    for t in (0.0, 0.1, 0.7, 1.9, 2.0):
        assert abs(field(t, t)[0] / np.polynomial.polynomial.polyval(t, np.arange(1.0, 9.0)) - 1) < 1e-13


@pytest.mark.parametrize("p", [1, 2, 3])
def test_divergence_is_that_of_the_velocity(p: int) -> None:
    """Central differences with h = 1e-5 are exact to h^2 and eps / h."""
    features = HermiteFeatures(SELF, hermite_modes(p, 6, 2, 12.0), parse_activation("tanh(u + 0.5)"))
    rng = np.random.default_rng(0)
    n = 37
    a, w = rng.standard_normal(n), np.vstack((0.5 * rng.standard_normal((p, n)), rng.uniform(0.2, 1.0, n)))
    residual = rng.standard_normal(len(features.modes))

    def cloud(w: np.ndarray) -> Cloud:
        return Cloud.of(a, w[:p], np.ascontiguousarray(w[p]), np.ones(n))

    def velocity(w: np.ndarray) -> np.ndarray:
        out = Rates(None, np.empty((1, p, n)), np.empty((1, n)))
        features.velocities(cloud(w), residual, LearningRates(1.0, 1.0), out)
        assert out.r is not None
        return np.vstack((out.v[0], out.r))

    h = 1e-5 * np.eye(p + 1)[:, :, None]
    expected = sum((velocity(w + h[q])[q] - velocity(w - h[q])[q]) / 2e-5 for q in range(p + 1))
    found = np.empty((1, n))
    features.divergence(cloud(w), residual, LearningRates(0.0, 1.0), found)
    assert np.abs(found[0] - expected).max() < 1e-8 * np.abs(expected).max()


def test_sub_cells_have_all_mass_and_the_moments_of_the_law() -> None:
    for count in (1, 2, 3, 24, 25):
        y, mass = normal_cells(count, 0.3)
        assert mass.min() > 0 and abs(mass.sum() - 1) < 1e-14 and abs(mass @ y) < 1e-14
    # Conditional means keep the mean exactly and lose the variance within cells, 9 / 199 wide.
    y, mass = normal_cells(200)
    assert abs(mass @ y**2 - 1 + (9 / 198) ** 2 / 12) < 1e-5


def test_deposited_mass_is_exact_and_what_falls_outside_is_lost() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 10_000)), np.full(10_000, 1e-4)
    for edges in (np.linspace(-8, 8, 31), np.sort(rng.uniform(-8, 8, 31))):
        grid = Grid((edges, np.linspace(-1, 1, 11)), 4)
        grid.deposit(x, weight)
        assert abs(grid.raw.sum() - 1) < 1e-13 and grid.mass.min() >= 0
        inside = (np.abs(x[1]) < 1) & (x[0] > edges[0]) & (x[0] < edges[-1])
        assert abs(grid.mass.sum() - inside.mean()) < 1e-2


def test_points_in_the_stored_mean_field_go_where_the_nodes_of_the_run_went(default: Path, p1: Path) -> None:
    """The same method in the same steps: what is left is the interpolation of m(t)."""
    for path in (default, p1):
        run = opened(path)
        end = run.snapshots[-1]
        nodes = tensor_nodes(run.problem, run.rules)
        passive = Passive(run.problem, run.modes, run.field, end.time)
        assert np.abs(stacked(passive(nodes)) - end.values.reshape(len(end.values), -1)).max() < 1e-6
        start = run.snapshots[0].values
        assert np.abs(stacked(nodes).reshape(start.shape) - start).max() < 1e-12


def test_interpolation_between_labels_and_nodes_meets_followed_points(default: Path) -> None:
    """W1 <= 3e-4 at d = 10^4 with 32 x 2 labels, in r_0^2 as well."""
    run = opened(default)
    start = sample(run.problem, 500)
    map_at_end = Interpolated(run.rules, run.snapshots[-1].values)
    distance = np.linalg.norm(map_at_end.at(start) - followed(run, run.end, start), axis=0)
    assert distance.mean() < 3e-4


@pytest.mark.parametrize("d,coarse,fine", [(10, (12, 3, 3, 4), (16, 4, 4, 4)), (100, (12, 2, 2, 3), (16, 3, 2, 4))])
def test_tracers_need_few_labels(d: int, coarse: tuple[int, ...], fine: tuple[int, ...], tmp_path: Path) -> None:
    """W1 of followed points: the mean field is known long before the map between labels is."""
    found = []
    for number, (a, r, cells, degree) in enumerate((coarse, fine)):
        words = zip(("a_nodes", "r_nodes", "cells", "degree", "core_width"), (a, r, cells, degree, 1.0), strict=True)
        given = [f"discretization.{name}={value}" for name, value in words]
        path = run_to(tmp_path / f"{number}.h5", f"input.dimension={d}", "discretization.tolerance=1e-6", *given)
        run = opened(path)
        found.append(followed(run, run.end, sample(run.problem, 300)))
    assert np.linalg.norm(found[0] - found[1], axis=0).mean() < 2e-4


def l1(one: Density, other: Density) -> float:
    return float(np.abs(one.mass - other.mass).sum())


def test_the_default_density_keeps_its_stated_error(default: Path) -> None:
    found = density(default, ("v1", "v2"))
    assert found.values.shape == (200, 200) and found.method == "interpolated"
    assert found.error <= 2e-2 and found.values.min() >= 0
    assert abs(found.mass.sum() + found.lost_mass - 1) < 1e-14


@pytest.mark.parametrize("axes", [("a", "v1"), ("v1",), ("r", "v1")])
def test_the_stated_error_bounds_the_true_one(axes: tuple[str, ...], p1: Path) -> None:
    """Against ten times as many points at a fifth of the error, on the same bins."""
    rough = density(p1, axes, bins=60, accuracy=0.1)
    fine = density(p1, axes, bins=rough.edges, accuracy=0.015)
    assert l1(rough, fine) < rough.error + fine.error
    assert fine.error < 0.4 * max(rough.error, 0.05)


def test_a_symmetric_problem_has_a_symmetric_density(default: Path) -> None:
    """a, v1 -> -a, -v1 leaves z1 + z1 z2 alone; the sub-cells come in mirrored pairs."""
    for axes, flip in ((("a", "v1"), np.s_[::-1, ::-1]), (("v1", "v2"), np.s_[::-1, :])):
        found = density(default, axes, bins=50, accuracy=0.1)
        assert np.abs(found.values - found.values[flip]).max() < 1e-6 * found.values.max()


def test_any_time_of_the_run_can_be_drawn(default: Path) -> None:
    found = density(default, ("a",), time=0.0, bins=[np.linspace(-1.2, 1.2, 10)])
    expected = np.clip(np.diff(np.clip(found.edges[0], -1, 1)) / np.diff(found.edges[0]), 0, 1) / 2
    assert l1(found, Density(("a",), 0.0, found.edges, expected, 0.0, 0.0, "", 0)) < found.error
    middle = density(default, ("a", "v1"), time=3.3, bins=60)
    assert middle.time == 3.3 and middle.error < 2e-2


def test_atoms_and_points_are_not_interpolated(tmp_path: Path) -> None:
    """Two signs give two blobs; a point start gives a curve, on which each bin's mass is that of a_0."""
    signs = run_to(tmp_path / "signs.h5", "initial.a=rademacher", "training.final_time=2")
    found = density(signs, ("a",), bins=100)
    middle = (found.edges[0][1:] + found.edges[0][:-1]) / 2
    assert abs(found.mass[middle > 0].sum() - 0.5) < 1e-12 and found.mass[np.abs(middle) < 0.5].sum() < 1e-12
    point = run_to(tmp_path / "point.h5", "input.dimension=inf")
    curve = density(point, ("v1", "v2"), bins=100)
    assert curve.error < 2e-2 and (curve.values > 0).mean() < 0.05
    assert abs(curve.mass.sum() - 1) < 1e-14


def test_stages_are_followed_with_their_own_activations_and_resets(tmp_path: Path) -> None:
    stages = (
        "[[training.stages]]\nduration = 2.0\nxi_w = 1.0\n"
        '[[training.stages]]\nduration = 1.0\nxi_a = "exp(-t)"\nxi_w = 0.5\nactivation = "sin(u) + cos(u)"\nreset_a = true\n'
    )
    (tmp_path / "stages.toml").write_text(f"{stages}[discretization]\naccuracy = false\na_nodes = 6\n[output]\nplot = false\n")
    config = load(tmp_path / "stages.toml", [f"output.file={tmp_path / 'stages.h5'}"])
    solve(SELF, config, build_problem(config))
    run = opened(tmp_path / "stages.h5")
    nodes = stacked(Passive(run.problem, run.modes, run.field, run.end)(tensor_nodes(run.problem, run.rules)))
    values = run.snapshots[-1].values
    assert np.abs(nodes - values.reshape(nodes.shape)).max() < 1e-6


def test_time_steps_and_maps_are_chosen_by_measurement(p1: Path, default: Path) -> None:
    for path in (default, p1):
        run = opened(path)
        ruler = Ruler(SELF, (0, 1), np.full(2, 0.01), 2e-2)
        trial = follow_trial(run, run.end)
        passive, error = choose_steps(run, ruler, run.end, trial)
        assert error <= 1e-3 and len(passive.legs[0]) < len(run.field.times)
        chosen, error = choose_map(run, ruler, run.end, trial, passive)
        assert error <= 1e-2
        found = chosen(slabs(run.problem, Sampling(16, (3,) * run.problem.p), 1000)[0], (0, 1))
        assert np.isfinite(found).all() and found.shape[:2] == (2, 1)


def test_slabs_are_mirrored_and_have_equal_mass() -> None:
    config = load(None, [])
    parts = slabs(build_problem(config), Sampling(37, (4, 5)), 100)
    assert abs(sum(len(part.a) * part.weight.sum() for part in parts) - 1) < 1e-14
    for one, other in zip(parts[::2], parts[1::2], strict=True):
        assert np.allclose(one.a, -other.a) and np.array_equal(one.square, other.square)
        assert np.array_equal(one.y[0], -other.y[0][::-1]) and np.array_equal(one.y[1], other.y[1])


def test_an_affine_file_is_drawn_from_its_nodes(tmp_path: Path) -> None:
    given = ["frame=affine", "a_nodes=4", "r_nodes=1", "cells=6"]
    path = run_to(tmp_path / "affine.h5", *(f"discretization.{word}" for word in given), "training.final_time=1")
    found = density(path, ("v1", "v2"), bins=50)
    assert np.isnan(found.error) and found.method == "nodes" and abs(found.mass.sum() - 1) < 1e-12
    with pytest.raises(InputError, match="snapshots"):
        density(path, ("v1", "v2"), time=0.3)


def test_the_command_writes_the_contract_on_any_ranks(default: Path, tmp_path: Path) -> None:
    values = []
    for ranks in (1, 2):
        words = ["--bins", "40,30", "--accuracy", "0.1", "--output", "D.h5", "--plot"]
        done = command("density", str(default), *words, ranks=ranks, cwd=tmp_path)
        assert done.returncode == 0 and "L1 error" in done.stdout, done.stderr
        with h5py.File(tmp_path / "D.h5") as file:
            values.append(file["density/values"][:])
            assert values[-1].shape == (40, 30) and file["density/edges_1"].shape == (31,)
            assert file.attrs["axes"] == "v1,v2" and file.attrs["time"] == 8 and 0 < file.attrs["error"] <= 0.1
            assert file.attrs["lost_mass"] < 1e-6
        assert (tmp_path / "D_v1_v2.png").stat().st_size > 0
    assert np.abs(values[0] - values[1]).max() < 1e-10 * values[0].max()


@pytest.mark.parametrize(
    "axes,time,bins,said",
    [
        (("v1", "v9"), None, 200, "'v9'"),
        (("v1", "v1"), None, 200, "axes"),
        (("a", "v1", "v2"), None, 200, "axes"),
        (("a",), 9.0, 200, "time 9"),
        (("a",), None, 0, "bins"),
        (("a",), None, [[1.0, 0.0]], "bins"),
    ],
)
def test_bad_input_names_what_is_allowed(
    axes: tuple[str, ...], time: float | None, bins: int | list[list[float]], said: str, default: Path
) -> None:
    with pytest.raises(InputError, match=said):
        density(default, axes, time, bins)  # type: ignore[arg-type]


def test_bad_input_ends_the_command_with_one_line_and_status_2(default: Path, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no")
    before, run = default.read_bytes(), str(default)
    for words in ([run, "--bins", "many"], ["text.h5"], [run, "--output", "text.h5"], [run, "--output", run]):
        done = command("density", *words, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert default.read_bytes() == before and (tmp_path / "text.h5").read_text() == "no"


def test_the_determinant_of_the_map_is_carried_along(p1: Path) -> None:
    """det d(A, X, R) / d(a_0, v_0, r_0) by passive differences equals exp(log D), which is positive."""
    run = opened(p1)
    rng = np.random.default_rng(0)
    start = np.array([rng.uniform(-1, 1, 40), rng.normal(0, 10**-0.5, 40), rng.uniform(0.6, 1.2, 40)])
    passive = Passive(run.problem, run.modes, run.field, 2.0)

    def at(x: np.ndarray) -> np.ndarray:
        return stacked(passive(Nodes(x[0], x[1:2], x[2], np.ones(x.shape[1]))))

    h = 1e-4 * np.eye(3)[:, :, None]
    columns = [(8 * (at(start + e) - at(start - e)) - at(start + 2 * e) + at(start - 2 * e)) / 1.2e-3 for e in h]
    D = np.linalg.det(np.moveaxis(np.array(columns), 2, 0))
    (log_D,) = log_determinants(passive, Nodes(start[0], start[1:2], start[2], np.ones(40)))
    assert np.abs(np.exp(log_D) / D - 1).max() < 1e-5


def test_entropy_is_a_column_of_the_history(p1: Path, default: Path) -> None:
    """E log D = -0.3128 and -0.7530 at t = 2 and 4 for p = 1, d = 10; as many rows as there are records."""
    with h5py.File(p1) as file:
        entropy, time = file["history/entropy"][:], file["history/time"][:]
    assert len(entropy) == len(time) and entropy[0] == 0
    found = [entropy[np.abs(time - t).argmin()] for t in (2.0, 4.0)]
    assert np.abs(np.array(found) - [-0.3128, -0.7530]).max() < 1e-4
    # Between the steps, by the interpolant: against nodes that stop there.
    run = opened(default)
    with h5py.File(default) as file:
        entropy, time = file["history/entropy"][:], file["history/time"][:]
    stops = [float(time[k]) for k in (3, 37, 80)]
    nodes = entropy_nodes(run.problem)
    passive = Passive(run.problem, run.modes, run.field, stops[-1], stops=stops)
    expected = [log_D @ nodes.weight for log_D in log_determinants(passive, nodes)]
    assert np.abs(entropy[[3, 37, 80]] - expected).max() < 1e-6


def test_signs_and_points_have_no_entropy(tmp_path: Path) -> None:
    for number, given in enumerate(("initial.a=rademacher", "input.dimension=inf")):
        path = run_to(tmp_path / f"{number}.h5", given, "training.final_time=0.5")
        with h5py.File(path) as file:
            assert "entropy" not in file["history"]


def test_a_sphere_and_a_decay_are_followed_like_the_run(tmp_path: Path) -> None:
    """Terms, constraints and losses are those of the stages."""
    for number, given in enumerate((["initial.w=sphere"], ["training.decay_a=0.1", "training.decay_w=0.2"])):
        path = run_to(
            tmp_path / f"{number}.h5", "input.dimension=100", "training.final_time=2", "discretization.a_nodes=6", *given
        )
        run = opened(path)
        nodes = stacked(Passive(run.problem, run.modes, run.field, run.end)(tensor_nodes(run.problem, run.rules)))
        values = run.snapshots[-1].values
        assert np.abs(nodes - values.reshape(nodes.shape)).max() < 1e-6
