"""The stated error of a density is that against the exact one, the run's own error included."""

from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI
from support import command

from mfpde.density.bins import Density
from mfpde.density.grid import Grid
from mfpde.density.marginal import density, recorded_density
from mfpde.density.run import read_density
from mfpde.discretisation.recorded import PushForward
from mfpde.discretisations import build_problem
from mfpde.evolution.mean_field import LOBATTO, FieldShift, MeanField
from mfpde.features.hermite.modes import hermite_modes
from mfpde.output.history import BULK, open_result
from mfpde.problem.config import load
from mfpde.solve import solve

SELF = MPI.COMM_SELF
# A narrow ridge that the modes beyond K bend.
RIDGE = ["target.polynomial=z1 + 0.5*z1**2", "network.activation=tanh(u + 0.3)", "input.dimension=inf", "training.final_time=6.0"]


def run_to(path: Path, *overrides: str) -> Path:
    config = load(None, [*RIDGE, "output.times=9", "output.plot=false", f"output.file={path}", *overrides])
    solve(SELF, config, build_problem(config))
    return path


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_to(tmp_path_factory.mktemp("density") / "rough.h5", "discretization.accuracy=2e-3")


def distance(one: Density, other: Density) -> float:
    return float(np.abs(one.mass - other.mass).sum())


def test_the_stated_error_counts_that_of_the_run_and_most_of_it_is_corrected(rough: Path, tmp_path: Path) -> None:
    fine = run_to(tmp_path / "fine.h5", "discretization.accuracy=1e-5")
    found = density(rough, ("a", "v1"), bins=100)
    exact = density(fine, ("a", "v1"), bins=found.edges, accuracy=5e-3)
    with open_result(rough, BULK) as file:
        run = read_density(file)
    assert isinstance(run, PushForward)
    uncorrected = recorded_density(
        PushForward(run.problem, run.modes, run.field, run.rules, run.snapshots), ("a", "v1"), bins=list(found.edges)
    )
    assert np.isnan(uncorrected.field_error) and exact.field_error < 0.1 * found.field_error
    assert distance(uncorrected, exact) > 2 * (uncorrected.error + exact.error)  # what had been stated was wrong
    assert distance(found, exact) <= found.error + exact.error
    assert distance(found, exact) < 0.5 * distance(uncorrected, exact)
    assert found.field_error < found.error < 10 * max(distance(found, exact), exact.error)


def test_an_error_that_is_too_large_is_said(rough: Path) -> None:
    done = command("density", str(rough), "--axes", "a,v1", "--accuracy", "1e-3", cwd=rough.parent)
    assert done.returncode == 0 and "the run's mean field" in done.stdout
    assert done.stderr.startswith("mfpde: warning: the L1 error is ") and done.stderr.count("\n") == 1
    assert "smaller discretization.accuracy" in done.stderr
    done = command("density", str(rough), "--axes", "a,v1", "--accuracy", "0.9", cwd=rough.parent)
    assert done.returncode == 0 and not done.stderr


def test_a_shift_is_carried_to_all_steps_by_straight_lines_within_stages() -> None:
    coarse, fine = hermite_modes(1, 4, 0, np.inf), hermite_modes(1, 6, 0, np.inf)
    times = np.array([0.0, 1.0])[:, None] + LOBATTO
    field = MeanField(times, np.random.default_rng(0).standard_normal((2, 8, len(coarse))))
    known = np.array([0.0, 1.0, 1.0, 2.0])  # a stage ends at 1
    values = np.array([0.0, 1.0, 5.0, 7.0])[:, None] * np.arange(1.0, len(fine) + 1)
    found = FieldShift(known, values, fine).added(field, coarse)
    expected = np.where(np.arange(2)[:, None] == 0, times, 5 + 2 * (times - 1))[..., None] * np.arange(1.0, len(fine) + 1)
    expected[..., : len(coarse)] += field.moments
    inside = (times > 0) & (times != 1)
    assert np.abs(found.moments - expected)[inside].max() < 1e-13


def test_sub_cells_are_laid_out_to_their_neighbours_without_a_pattern() -> None:
    """An affine image of a lattice, whose points are apart by more than two bins, is uniform inside."""
    y = np.arange(40.0) - 19.5
    first, second = np.meshgrid(y, y, indexing="ij")
    x = np.array([0.09 * first + 0.02 * second, -0.03 * first + 0.08 * second])[:, None]
    weight = np.full((40, 40), 1 / 1600)
    edges = (np.linspace(-0.5, 0.5, 26),) * 2
    spread = []
    for parts in ((), (8, 8)):
        grid = Grid(edges, 2)
        grid.deposit(x, weight, parts)
        assert abs(grid.raw.sum() - 1) < 1e-13
        spread.append(float(np.ptp(grid.mass) / grid.mass.mean()))
    assert spread[0] > 1 and spread[1] < 0.1
