"""The solver against the characteristic solution, and the same answer on any number of ranks."""

from collections.abc import Callable

import numpy as np
import pytest
from mpi4py import MPI
from support import coarse, exact_loss, follow, gauss_loss, labels_of, packed, read, states

from mfpde.discretisations import start_flow
from mfpde.errors import RunError
from mfpde.evolution.flow import Flow
from mfpde.evolution.integrate import integrate
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.moving.elements import make_elements
from mfpde.moving.flow import MovingFlow
from mfpde.particles.network import NetworkFlow, initial_network
from mfpde.particles.sampling import normal_rule, random_particles
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config

SMALL_P3 = ["training.final_time=6.0", "discretization.cells=4", "discretization.a_nodes=4", "discretization.r_nodes=1"]


def setup(*overrides: str, comm: MPI.Intracomm = MPI.COMM_SELF) -> tuple[Config, Problem]:
    base = ["discretization.frame=affine", "discretization.a_nodes=6", "discretization.r_nodes=2", "output.times=9"]
    return read(*base, *overrides, comm=comm)


def solve(config: Config, problem: Problem, comm: MPI.Intracomm = MPI.COMM_SELF, mesh_ranks: int = 0) -> np.ndarray:
    """Rows of loss and largest mass error at the record times."""
    flow = start_flow(comm, problem, config.discretization, mesh_ranks)
    return follow(flow, config.record_times, problem.numbers(config.discretization).tolerance)


def error_of(config: Config, problem: Problem, panels: int, points: int) -> float:
    return float(np.abs(solve(config, problem)[:, 0] - exact_loss(config, problem, normal_rule(panels, points))).max())


@pytest.mark.parametrize(
    "bound,panels,points,overrides",
    [
        (1e-8, 1, 12, ["input.dimension=10000"]),
        (1e-8, 1, 12, ["input.dimension=1e8"]),
        (1e-6, 1, 20, ["target.polynomial=z1 + z1^2/2", "input.dimension=100"]),
        (1e-9, 1, 1, ["input.dimension=inf", "discretization.tolerance=1e-9"]),
        (1e-9, 1, 1, ["initial.w=zero", "input.dimension=10", "discretization.tolerance=1e-9"]),
        (1e-8, 1, 12, ["network.activation=relu", "target.polynomial=z1", "input.dimension=1000"]),
        (1e-8, 1, 12, ["training.xi_a=0", "training.xi_w=exp(-t/4)"]),
        (1e-8, 1, 10, ["target.polynomial=z1 + z1*z2*z3", "input.dimension=1e6", *SMALL_P3]),
    ],
)
def test_loss_follows_the_characteristic_solution(bound: float, panels: int, points: int, overrides: list[str]) -> None:
    """The time stepper's tolerance of 1e-8 a step, or at d = 100 the nonlinear remainder on twelve cells, sets the bound."""
    assert error_of(*setup(*overrides), panels, points) < bound


@pytest.mark.parametrize("degree", [1, 2])
def test_dg_converges_with_order_at_least_degree_plus_one(degree: int) -> None:
    base = ["target.polynomial=z1 + z1^2/2", "input.dimension=30", "training.final_time=3.0", f"discretization.degree={degree}"]
    errors = [error_of(*setup(*base, "discretization.half_width=8", f"discretization.cells={n}"), 16, 6) for n in (12, 24)]
    assert np.log2(errors[0] / errors[1]) > degree + 0.8, errors


def test_the_error_decays_geometrically_in_the_degree() -> None:
    """Spectral accuracy on a fixed mesh, until the mass beyond the taper shows: half a decade a degree at the least."""
    base = ["target.polynomial=z1 + z1^2/2", "input.dimension=30", "training.final_time=3.0", "discretization.cells=8"]
    degrees = np.arange(1, 5)
    errors = [error_of(*setup(*base, "discretization.half_width=8", f"discretization.degree={k}"), 16, 6) for k in degrees]
    assert np.polyfit(degrees, np.log10(errors), 1)[0] < -0.5, errors


def test_energy_never_rises_and_mass_is_kept() -> None:
    """dE/dt = -int grad Phi . xi grad Phi <= 0, equation (2.6)."""
    rows = solve(*setup("target.polynomial=z1 + z1^2/2", "input.dimension=20"))
    assert (np.diff(rows[:, 0]) < 0).all()
    assert rows[:, 1].max() < 1e-12


def test_the_frame_is_exact_at_infinite_dimension() -> None:
    """The loss differs from that at d = inf like 1/d, to the next term (1e-5 of it) and the steps' 1e-9 a solution."""
    near, far, limit = (
        solve(*setup(f"input.dimension={d}", "discretization.tolerance=1e-9"))[:, 0] for d in ("1e6", "1e5", "inf")
    )
    difference = np.abs(near - limit).max()
    assert abs(np.abs(far - limit).max() / difference - 10) < 10 * 2e-9 / difference < 0.1


def test_the_limiter_in_every_step_keeps_the_density_non_negative() -> None:
    config, problem = setup("target.polynomial=z1 + z1^2/2", "input.dimension=20", "discretization.limiter=step")
    flow = start_flow(MPI.COMM_SELF, problem, config.discretization)
    smallest: list[float] = []
    flow.follow([0.0, 2.0, 4.0], 1e-8, lambda step, vector: smallest.append(flow.layout.views(vector).q.min()))
    assert min(smallest) >= 0


def test_characteristics_converge_spectrally_in_their_nodes() -> None:
    config, problem = setup("input.dimension=100", "training.final_time=4.0")
    curves = [exact_loss(config, problem, normal_rule(1, n)) for n in (4, 8, 16)]
    coarse, fine = (np.abs(curve - curves[2]).max() for curve in curves[:2])
    assert fine < 1e-3 * coarse


def particle_flow() -> Flow:
    _, problem, features = coarse("input.dimension=30")
    return LagrangianFlow(problem, features, random_particles(problem, 40, (0, 0), 0, 40))


def network_flow() -> Flow:
    _, problem, features = coarse("input.dimension=15")
    return NetworkFlow(problem, features, *initial_network(problem, 12, (0, 0), 0, 12))


def element_flow() -> Flow:
    config, problem, features = coarse("input.dimension=30")
    elements = make_elements(MPI.COMM_SELF, labels_of(config, problem), ((0.0,), ()), (3, 4))
    return MovingFlow(problem, features, elements)


@pytest.mark.parametrize("make", [particle_flow, network_flow, element_flow])
def test_two_time_integrators_of_different_order_agree_on_any_flow(make: Callable[[], Flow]) -> None:
    """At 1e-11 a step; PETSc's steps end at the records, the other's records come from its interpolant."""
    flow = make()
    times = [0.0, 0.3, 1.1, 2.0]
    found = {method: np.array(states(flow, times, 1e-11, method=method)) for method in ("petsc", "dop853")}
    assert all(np.array_equal(rows[0], packed(flow)) for rows in found.values())
    assert np.abs(found["petsc"] - found["dop853"]).max() < 1e-9 < np.abs(np.diff(found["petsc"], axis=0)).max()


def test_elements_that_follow_the_flow_are_particles_at_their_nodes() -> None:
    """One cell for each label: product Gauss nodes, so the same loss; and two cells in a direction converge to it."""
    config, problem, features = coarse("input.dimension=100", "training.final_time=2.0")
    labels = labels_of(config, problem)
    one, two = (
        MovingFlow(problem, features, make_elements(MPI.COMM_SELF, labels, edges, (12, 12))) for edges in (((), ()), ((0.0,), ()))
    )
    exact = gauss_loss(config, problem, features, 1, 12)
    assert np.abs(follow(one, config.record_times, 1e-10)[:, 0] - exact).max() < 1e-12
    assert np.abs(follow(two, config.record_times, 1e-10)[:, 0] - exact).max() < 1e-8


class Fenced:
    """y' = -1000 y from 1, which cannot be evaluated beyond |y| = 2, nor after a time."""

    comm, size, breaks = MPI.COMM_SELF, 1, ()

    def __init__(self, until: float) -> None:
        self.until, self.met = until, 0

    def pack(self, vector: np.ndarray) -> None:
        vector[:] = 1.0

    def rates(self, time: float, vector: np.ndarray, out: np.ndarray) -> float:
        if abs(vector[0]) > 2 or time > self.until:
            self.met += 1
            raise RunError("beyond the fence")
        out[:] = -1000 * vector
        return np.inf

    def scales(self) -> np.ndarray:
        return np.ones(1)

    def after_step(self, vector: np.ndarray) -> bool:
        return False

    def unit_of_time(self, time: float) -> float:
        return 1.0

    def longest_step(self, time: float) -> float:
        return np.inf

    def fastest(self, time: float, vector: np.ndarray) -> str:
        return ""


def test_a_step_that_cannot_be_evaluated_is_rejected_and_the_last_one_says_why() -> None:
    flow, seen = Fenced(np.inf), []
    integrate(flow, [1.0], 1e-3, lambda step, vector: seen.append(float(vector[0])), method="dop853")
    assert flow.met and abs(seen[0]) < 1e-2
    with pytest.raises(RunError, match="beyond the fence"):
        integrate(Fenced(0.5), [1.0], 1e-3, lambda step, vector: None, method="dop853")
