"""Flows, trainings and their estimates: the same answer on any number of ranks."""

from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI
from support import AFFINE, alone, first_flow, follow, losses, packed, read, states

import mfpde
from mfpde.discretisation.grid import process_grid
from mfpde.discretisations import start_flow
from mfpde.evolution.indicators import indicators
from mfpde.moments.averaging import law_moments
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
SMALL = ["discretization.a_nodes=4", "discretization.r_nodes=2", "discretization.cells=6"]
STAGES = (
    "training.stages=[{duration=1.0, xi_w=1.0}, {duration=1.0, xi_a=1.0, xi_w='exp(-t)'},"
    " {duration=2.0, xi_a=0.5, activation='(1+u)**2', average=2, reset_a=true}, {duration=1.0, xi_a=2.0, activation='(1+u)**2'}]"
)


def setup(*overrides: str, comm: MPI.Intracomm = SELF) -> tuple[Config, Problem]:
    base = ["discretization.frame=affine", "discretization.a_nodes=6", "discretization.r_nodes=2", "output.times=9"]
    return read(*base, *overrides, comm=comm)


def solve(config: Config, problem: Problem, comm: MPI.Intracomm = SELF, mesh_ranks: int = 0) -> np.ndarray:
    """Rows of loss and largest mass error at the record times."""
    flow = start_flow(comm, problem, config.discretization, mesh_ranks)
    return follow(flow, config.record_times, problem.numbers(config.discretization).tolerance)


@pytest.mark.parametrize("overrides", [["target.polynomial=z1 + z1^2/2"], ["discretization.cells=6"]])
@pytest.mark.parametrize("mesh_ranks", sorted({1, WORLD.size}))
def test_the_answer_does_not_depend_on_the_ranks(overrides: list[str], mesh_ranks: int) -> None:
    """Slices over ranks and mesh over ranks: sums in another order, so the same to round-off."""
    config, problem = setup("input.dimension=100", "training.final_time=0.5", "output.times=5", *overrides, comm=WORLD)
    parallel = solve(config, problem, WORLD, mesh_ranks)
    serial = alone(lambda: solve(config, problem))
    assert np.abs(parallel[:, 0] - serial[:, 0]).max() < 1e-12
    assert parallel[:, 1].max() < 1e-12


def test_more_ranks_than_labels_leave_no_rank_waiting() -> None:
    config, problem = setup("input.dimension=inf", "initial.a=point(0)", comm=WORLD)
    assert len(solve(config, problem, WORLD)) == 9


@pytest.mark.parametrize("mesh_ranks", [m for m in range(1, WORLD.size + 1) if WORLD.size % m == 0])
def test_flows_cost_no_communicators(mesh_ranks: int) -> None:
    """MPICH has 2048: a program that solves a hundred problems to an accuracy starts more flows than that."""
    grids = [process_grid(WORLD, 8, 8, mesh_ranks) for _ in range(2500)]
    assert {grid.mesh_comm.size for grid in grids} == {mesh_ranks}
    assert len(grids[0].mesh_comm.allgather(grids[0].group)) == mesh_ranks
    assert {*grids[0].mesh_comm.allgather(grids[-1].group)} == {WORLD.rank // mesh_ranks}


def test_a_mesh_file_gives_the_same_loss_as_the_box() -> None:
    path = Path(__file__).parents[2] / "meshes" / "skewed_square.xdmf"
    short = ["training.final_time=1.0", "output.times=3", "discretization.a_nodes=4", "discretization.r_nodes=1"]
    config, problem = setup(*short, f"discretization.mesh={path}", comm=WORLD)
    box, _ = setup(*short, comm=WORLD)
    losses = [solve(c, problem, WORLD, WORLD.size)[:, 0] for c in (config, box)]
    assert np.abs(losses[0] - losses[1]).max() < 1e-8  # at d = 10^4 cells of any shape are exact to the time step's error


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_flow_with_biases_is_the_same_on_all_ranks_as_on_one(activation: str) -> None:
    """Each rank makes the tiles of its own neurons: E(t) to 1e-12 all the same."""
    keys = ["initial.b=normal(0,1)", "input.dimension=30", "target.polynomial=z1", f"network.activation={activation}"]
    config, problem = read(*keys, "discretization.b_nodes=4", "discretization.a_nodes=4", comm=WORLD)
    flows = (start_flow(comm, problem, config.discretization) for comm in (SELF, WORLD))
    alone, together = (follow(flow, [0.0, 0.5, 1.0], 1e-8)[:, 0] for flow in flows)
    assert np.abs(alone - together).max() < 1e-12 and alone[-1] < 0.9 * alone[0]


def test_indicators_are_the_same_on_any_number_of_ranks() -> None:
    """All of them, of a state in which none is 0; in an affine frame nothing folds."""
    base = [AFFINE, "discretization.cells=4", "discretization.half_width=4", "input.dimension=10", "discretization.a_nodes=3"]

    def found(comm: MPI.Intracomm) -> list[float]:
        flow, *_ = first_flow(*base, "target.polynomial=z1 + z1*z2", comm=comm)
        vector = states(flow, [2.0], 1e-6, method="petsc")[0]
        columns = flow.observe(2.0, vector).columns
        return [float(columns[f"/history/{name}"]) for name in indicators() if name != "fold"]

    serial = alone(lambda: found(SELF))
    assert np.allclose(found(WORLD), serial, rtol=1e-9, atol=0) and min(serial) > 0


def assert_independent_of_the_ranks(overrides: list[str]) -> None:
    """Collective. Times and losses of all stages to 1e-12."""

    def rows(comm: MPI.Intracomm) -> np.ndarray:
        return np.concatenate(losses(*first_flow(*overrides, comm=comm)))

    assert np.abs(rows(WORLD) - alone(lambda: rows(SELF))).max() < 1e-12


@pytest.mark.parametrize("overrides", [["input.dimension=100"], ["initial.w=zero"]])
def test_stages_give_the_same_loss_on_any_number_of_ranks(overrides: list[str]) -> None:
    base = [*SMALL, STAGES, "target.polynomial=z1 + z1^2/2", "discretization.tolerance=1e-6", "output.times=2", *overrides]
    assert_independent_of_the_ranks(base)


def test_tuples_of_labels_give_the_same_loss_on_any_number_of_ranks() -> None:
    stages = "training.stages=[{duration=1.0, xi_w=1.0}, {duration=1.0, xi_a=1.0, xi_w=1.0, average=2, reset_a=true}]"
    base = ["initial.w=zero", "discretization.a_nodes=3", stages]
    assert_independent_of_the_ranks(base)


def test_law_moments_are_the_same_on_any_number_of_ranks() -> None:
    """Slices or the mesh divided: to the rounding of the density's normalisation."""
    base = [*SMALL, AFFINE, "input.dimension=100", "target.polynomial=z1 + z1^2/2", "discretization.cells=8"]
    slices, problem, config = first_flow(*base, comm=WORLD)
    mesh = start_flow(WORLD, problem, config.discretization, WORLD.size)
    flows = (slices, mesh, first_flow(*base)[0])
    *parallel, serial = (law_moments(flow.comm, flow.nodes(packed(flow)), problem.d - problem.p, 6) for flow in flows)
    assert serial is not None
    for moments in parallel:
        assert (moments is None) == (WORLD.rank > 0)
        if moments is not None:
            assert max(abs(float(moments.values[key] - serial.values[key])) for key in serial.values) < 1e-14


def test_the_estimate_does_not_depend_on_the_ranks() -> None:
    small = {"polynomial": "z1 + z1^2/2", "dimension": 100, "final_time": 0.5, "times": 3, "accuracy": 1e-2}

    def solved(comm: MPI.Intracomm) -> np.ndarray:
        found = mfpde.run(comm=comm, progress=False, **small)
        assert found.error is not None and found.error[-1] > 0
        return np.array([found.loss, found.error])

    assert np.abs(alone(lambda: solved(SELF)) - solved(WORLD)).max() < 1e-12


def test_all_ranks_hold_the_curves() -> None:
    result = mfpde.run(
        comm=WORLD, progress=False, polynomial="z1", dimension=100, final_time=0.5, times=3, accuracy=False, a_nodes=3
    )
    losses = WORLD.allgather(result.loss.tolist())
    assert all(loss == losses[0] for loss in losses) and len(losses[0]) == 3
    assert (result.plot() is None) == (WORLD.rank > 0)
