"""Reduced particles against closed forms, the spectral reference and each other."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from closed_forms import quadratic_loss
from mpi4py import MPI
from support import AFFINE, QUADRATIC, coarse, command, follow, gauss_loss, labels_of, measured

from mfpde.discretisations import build_problem, start_flow
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.particles.reduced import choose_v_rule, run_gauss
from mfpde.particles.run import particles
from mfpde.particles.sampling import BLOCK, random_particles, sobol_particles
from mfpde.problem.config import load
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config

SELF = MPI.COMM_SELF


def sampled_loss(sampler, config: Config, problem: Problem, features: HermiteFeatures, count: int, repeat: int = 0):  # type: ignore[no-untyped-def]
    flow = LagrangianFlow(problem, features, sampler(problem, count, (0, repeat), 0, count))
    return measured(flow, config.record_times, 1e-8)


def test_a_quadratic_network_obeys_its_closed_equations() -> None:
    """Two nodes a direction integrate the quadratic moments exactly: what is left is the integration's tolerance."""
    config, problem, features = coarse(*QUADRATIC, "target.polynomial=z1**2 + z1*z2 - 1/2")
    exact = quadratic_loss(problem, config.record_times)
    assert exact[-1] < 0.5 * exact[0]
    assert np.abs(gauss_loss(config, problem, features, 1, 2) - exact).max() < 1e-9


def test_finite_elements_solve_the_quadratic_network() -> None:
    """Its flow is linear in w, so the frame is exact at every d: only the time step's tolerance of 1e-8 is left."""
    config, problem, _ = coarse(AFFINE, *QUADRATIC, "target.polynomial=z1**2 + z1*z2 - 1/2")
    exact = quadratic_loss(problem, config.record_times)
    rows = follow(start_flow(SELF, problem, config.discretization), config.record_times, 1e-9)
    assert np.abs(rows[:, 0] - exact).max() < 1e-8


def test_random_particles_err_like_one_over_the_square_root_of_their_number() -> None:
    """The root mean square over 24 repeats is known to 15%, so the order from a factor 16 in N to 0.08."""
    config, problem, features = coarse("input.dimension=50")
    exact = gauss_loss(config, problem, features, 1, 16)

    def error(count: int) -> float:
        runs = np.array([sampled_loss(random_particles, config, problem, features, count, repeat) for repeat in range(24)])
        return float(np.sqrt(((runs - exact) ** 2).mean(axis=0).max()))

    assert abs(np.log(error(100) / error(1600)) / np.log(16) - 0.5) < 0.16  # two standard deviations


def test_sobol_particles_converge_faster_than_random_ones() -> None:
    """In four dimensions with smooth integrands: an order of nearly 1, taken from a factor 16 in N."""
    config, problem, features = coarse("input.dimension=50", "discretization.a_nodes=12", "discretization.r_nodes=3")
    exact = gauss_loss(config, problem, features, 1, 16)
    errors = [np.abs(sampled_loss(sobol_particles, config, problem, features, count) - exact).max() for count in (256, 4096)]
    assert np.log(errors[0] / errors[1]) / np.log(16) > 0.8


def test_panels_are_chosen_where_one_gauss_rule_converges_slowly() -> None:
    for d, panels in ((10, True), (10_000, False)):
        config, problem, features = coarse("target.polynomial=z1 + z1**2/2", f"input.dimension={d}", "training.final_time=8.0")
        labels = labels_of(config, problem)
        rule = choose_v_rule(problem, labels, features, config.record_times, 64, 1e-8)
        assert (len(rule.counts) > 1) is panels and len(rule) == 64
        chosen = run_gauss(problem, labels, features, config.record_times, rule, 1e-9).records
        exact, single = (gauss_loss(config, problem, features, *rule) for rule in ((32, 8), (1, 64)))
        error = np.abs(np.array([row[1] for row in chosen]) - exact).max()
        assert error <= max(np.abs(single - exact).max(), 1e-8)
        assert len(choose_v_rule(problem, labels, features, config.record_times, 16, 1e-8).counts) == 1


def test_a_point_start_needs_no_nodes_in_v() -> None:
    """d = inf: every sampling of v and r is the point itself."""
    config, problem, features = coarse("input.dimension=inf")
    assert np.array_equal(gauss_loss(config, problem, features, 1, 5), gauss_loss(config, problem, features, 1, 1))


@pytest.mark.parametrize("sampler", [random_particles, sobol_particles])
def test_a_particle_depends_on_its_number_alone(sampler) -> None:  # type: ignore[no-untyped-def]
    _, problem, _ = coarse()
    whole = sampler(problem, 4 * BLOCK, (3, 1), 0, 4 * BLOCK)
    for first, last in ((0, 5), (BLOCK - 7, 2 * BLOCK + 9), (4 * BLOCK, 4 * BLOCK)):
        part = sampler(problem, 4 * BLOCK, (3, 1), first, last)
        assert np.array_equal(part.a, whole.a[first:last]) and np.array_equal(part.v, whole.v[:, first:last])
        assert np.array_equal(part.r, whole.r[first:last])
    other = sampler(problem, 4 * BLOCK, (3, 2), 0, BLOCK)
    assert not np.array_equal(other.a, whole.a[:BLOCK])


def test_random_particles_have_the_initial_law() -> None:
    """Means of 2^16 particles: five standard deviations are 0.02 of each quantity's own size."""
    for law, second in (("uniform(-2, 2)", 4 / 3), ("normal(0, 0.5)", 0.25), ("rademacher", 1.0), ("point(0)", 0.0)):
        _, problem, _ = coarse("input.dimension=20", f"initial.a={law}")
        drawn = random_particles(problem, 2**16, (0, 0), 0, 2**16)
        assert abs((drawn.a**2).mean() - second) < 0.02 * second + 1e-15
        assert np.abs((drawn.v**2).mean(axis=1) * 20 - 1).max() < 0.03
        assert abs((drawn.r**2).mean() * 20 / 18 - 1) < 0.02


def test_the_command_line_writes_the_mean_and_band_of_its_repeats(tmp_path: Path) -> None:
    words = ["--set", "particles.repeats=5", "--set", "particles.particles=100", "--set", "output.times=4", "--output", "out.h5"]
    words += ["--set", "training.final_time=2"]
    done = command("particles", *words, ranks=2, cwd=tmp_path)
    assert done.returncode == 0 and "5 repeats" in done.stdout, done.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        runs = np.array([file[f"repeats/{k:04d}/loss"][:] for k in range(5)])
        history = file["history"]
        assert np.abs(history["loss"][:] - runs.mean(axis=0)).max() < 1e-14
        half = 2.7764451 * runs.std(axis=0, ddof=1) / np.sqrt(5)  # Student's t with 4 degrees of freedom
        assert np.abs(history["loss_high"][:] - runs.mean(axis=0) - half).max() < 1e-8
        assert history["coefficients"].shape == (4, len(file["modes/radial"])) and file["particles/v"].shape == (100, 2)
        assert file.attrs["complete"] and "[particles]" in file.attrs["config"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "out_loss.png"]
    shown = command("inspect", "out.h5", cwd=tmp_path)
    assert shown.returncode == 0 and "repeats: 5" in shown.stdout, shown.stderr


@pytest.mark.parametrize(
    "override,words",
    [
        ("particles.method=networks", ["particles.method"]),
        ("particles.particles=0", ["particles.particles", "1"]),
        ("particles.partikels=5", ["'particles'"]),
        ("particles.repeats=0", ["particles.repeats"]),
    ],
)
def test_bad_input_is_one_line(override: str, words: list[str], tmp_path: Path) -> None:
    done = command("particles", "--set", override, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and all(word in done.stderr for word in words), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_samplings_that_do_not_fit_are_refused() -> None:
    from mfpde.errors import InputError

    for wrong in (
        ["particles.sampling=sobol", "particles.particles=100"],
        ["particles.sampling=gauss", "particles.repeats=2"],
        ["particles.method=sgd", "particles.sampling=sobol"],
    ):
        with pytest.raises(InputError, match=r"particles.*allowed"):
            load(None, wrong)


def test_the_loss_approaches_infinite_dimension_like_one_over_d() -> None:
    """1/d: the loss at d = 10^4 lies half as far from d = inf as at 5 10^3."""
    losses = []
    for d in ("5000", "10000", "inf"):
        config, problem, features = coarse(f"input.dimension={d}")
        losses.append(gauss_loss(config, problem, features, 1, 8))
    ratio = np.abs(losses[0] - losses[2]).max() / np.abs(losses[1] - losses[2]).max()
    assert abs(ratio - 2) < 0.02


def test_particles_refuse_a_training_in_stages(tmp_path: Path) -> None:
    from mfpde.errors import InputError

    config = load(None, ["training.strategy=chen-ge", "initial.w=zero", f"output.file={tmp_path / 'out.h5'}"])
    with pytest.raises(InputError, match=r"training\.stages.*allowed"):
        particles(SELF, config, build_problem(config))
    assert list(tmp_path.iterdir()) == []
