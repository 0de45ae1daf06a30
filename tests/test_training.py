"""Stages, averages of copies, and the kernel matrix of training a alone."""

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from support import AFFINE, Told, command, first_flow, labels_of, losses, packed, read, states

from mfpde.discretisations import build_problem
from mfpde.errors import InputError
from mfpde.evolution.flow import StageFlow, Step, loss
from mfpde.evolution.integrate import Method
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.kernel.report import render
from mfpde.kernel.study import solve_kernel
from mfpde.moments.averaging import average_points, law_moments
from mfpde.moments.linear import LinearFlow
from mfpde.particles.characteristics import characteristics, normal_rule
from mfpde.problem.config import load
from mfpde.problem.problem import Problem
from mfpde.training.training import DensityFlow, Silent, next_flow, train

SELF = MPI.COMM_SELF
CHEN_GE = "training.strategy=chen-ge"
SMALL = ["discretization.a_nodes=4", "discretization.r_nodes=2", "discretization.cells=6"]
STAGES = (
    "training.stages=[{duration=1.0, xi_w=1.0}, {duration=1.0, xi_a=1.0, xi_w='exp(-t)'},"
    " {duration=2.0, xi_a=0.5, activation='(1+u)**2', average=2, reset_a=true}, {duration=1.0, xi_a=2.0, activation='(1+u)**2'}]"
)


def displaced(flow: DensityFlow) -> np.ndarray:
    """The state at t = 0, with its frames (or its neurons) moved at random."""
    vector = packed(flow)
    now = flow.layout.views(vector)  # type: ignore[attr-defined]
    place = now.M if hasattr(now, "M") else now.v
    place += np.random.default_rng(0).standard_normal(place.shape)
    return vector


def linear_stage(flow: DensityFlow, problem: Problem, vector: np.ndarray, copies: int) -> LinearFlow:
    """The second stage by moments, from the state `vector` of the first."""
    law = law_moments(flow.comm, flow.nodes(vector), problem.d - problem.p, 2 * problem.stages[-1].degree)
    return LinearFlow(flow.comm, problem, 1, flow.modes, None if law is None else law.average(copies))


@pytest.mark.parametrize("method", ["petsc", "dop853"])
@pytest.mark.parametrize("overrides", [["input.dimension=inf"], ["input.dimension=40", AFFINE]])
def test_the_two_solutions_of_the_linear_stage_agree(overrides: list[str], method: Method) -> None:
    """Eigen-decomposition against the time integrators at tolerance 1e-13 a step: 1e-10."""
    last = "{duration=30.0, xi_a='exp(-t/20)', activation='(1+u)^2', average=3, reset_a=true}"
    flow, problem, _ = first_flow(*SMALL, f"training.stages=[{{duration=1.0, xi_w=1.0}}, {last}]", *overrides)
    linear = linear_stage(flow, problem, displaced(flow), 3)
    times = np.linspace(0.0, 30.0, 7)
    rows = [linear.moments(vector) for vector in states(linear, times.tolist(), 1e-13, method=method)]
    assert np.abs(np.array(rows) - linear.exact(times)).max() < 1e-10
    assert np.abs(rows[-1] - rows[0]).max() > 0.1


@pytest.mark.parametrize("dimension,copies", [("30", 1), ("inf", 1), ("inf", 3)])
def test_moments_give_what_the_neurons_themselves_do(dimension: str, copies: int) -> None:
    """The linear stage against the whole flow: of the density (one copy), and of the tuples of labels at d = inf."""
    two = "training.stages=[{duration=1.0, xi_w=1.0}, {duration=5.0, xi_a=1.0, activation='(1+u)^2', reset_a=true}]"
    flow, problem, _ = first_flow(*SMALL, AFFINE, two, f"input.dimension={dimension}")
    vector = displaced(flow)
    linear = linear_stage(flow, problem, vector, copies)
    general = flow.next_stage(1, vector)
    if copies > 1:
        features = HermiteFeatures(SELF, flow.modes, problem.stages[1].activation)
        general = LagrangianFlow(problem, features, average_points(SELF, flow.nodes(vector), copies), 1)
    times = [0.0, 1.0, 5.0]
    rows = [general.observe(t, x).moments for t, x in zip(times, states(general, times, 1e-14), strict=True)]
    assert np.abs(np.array(rows) - linear.exact(np.array(times))).max() < 1e-10


def test_the_loss_never_rises_within_a_stage_and_time_runs_through() -> None:
    flow, problem, config = first_flow(*SMALL, STAGES)
    rows = losses(flow, problem, config)
    assert len(rows) == 4
    for stage, found in zip(problem.stages, rows, strict=True):
        assert found[0][0] == stage.start and found[-1][0] == pytest.approx(stage.start + stage.duration)
        assert all(after[1] < before[1] for before, after in pairwise(found))
    for before, after in pairwise(rows[:2] + rows[2:]):
        assert before[-1][0] == pytest.approx(after[0][0])
    assert rows[1][0][1] == pytest.approx(rows[0][-1][1], abs=1e-12)  # other rates: the density goes on
    assert rows[3][0][1] == pytest.approx(rows[2][-1][1], abs=1e-12)


def test_a_training_cut_in_two_is_the_same_training() -> None:
    """Also with a carried a that the first part has made vary inside the slices; to the tolerance of the steps."""
    base = [*SMALL, AFFINE, "input.dimension=100", "target.polynomial=z1 + z1^2/2", "discretization.tolerance=1e-10"]
    two = "training.stages=[{duration=1.0, xi_a=1.0, xi_w=1.0}, {duration=1.0, xi_a=1.0, xi_w=1.0}]"
    whole, parts = (losses(*first_flow(*base, cut))[-1][-1][1] for cut in ("training.final_time=2.0", two))
    assert abs(whole - parts) < 1e-8


def test_an_untrained_a_is_still_carried() -> None:
    """After joint training a varies with v; then w alone moves, and each neuron keeps its a: as along characteristics."""
    base = [*SMALL, AFFINE, "discretization.cells=0", "input.dimension=100", "target.polynomial=z1 + z1^2/2"]
    flow, problem, config = first_flow(*base, "training.stages=[{duration=1.0, xi_a=1.0, xi_w=1.0}, {duration=1.0, xi_w=1.0}]")
    _, whole = read(*base, "training.final_time=2.0", "training.xi_a=heaviside(1 - t)")
    exact = characteristics(whole, labels_of(config, problem), flow.modes, [0.0, 2.0], normal_rule(16, 8))
    # The mesh's error at d = 100 and the jump's in time.
    assert abs(losses(flow, problem, config)[-1][-1][1] - exact.loss[-1]) < 1e-6


def test_another_activation_after_an_average_takes_the_tuples_of_labels() -> None:
    last = "{duration=2.0, xi_a=1.0, xi_w=0.1, activation='tanh(u+1)', average=2, reset_a=true}"
    stages = f"training.stages=[{{duration=2.0, xi_w=1.0}}, {last}]"
    flow, problem, config = first_flow("initial.w=zero", "discretization.a_nodes=6", stages)
    rows = losses(flow, problem, config)
    assert not problem.stages[1].by_moments and rows[1][0][1] == pytest.approx(1.0) and rows[1][-1][1] < 0.95
    assert all(after[1] < before[1] for before, after in pairwise(rows[1]))


def test_the_rate_approaches_its_limit_like_one_over_d() -> None:
    """d (lambda(d) / lambda(inf) - 1) is the same at 10^5 and 10^7, to the next term of 1e-5 and the steps' 1e-10 * 10^7."""
    base = ["discretization.a_nodes=4", "discretization.r_nodes=2", "discretization.cells=4", CHEN_GE, "training.final_time=4.0"]

    def rate(d: str) -> float:
        flow, problem, _ = first_flow(*base, f"input.dimension={d}")
        linear = next_flow(train(problem, flow, [], 1e-12, Silent(), stages=1), problem, 1)
        assert isinstance(linear, LinearFlow)
        return linear.rate_on_V

    limit = rate("inf")
    near, far = (d * (rate(str(d)) / limit - 1) for d in (1e7, 1e5))
    assert abs(near) > 1 and abs(near / far - 1) < 1e-2


def test_a_target_of_variables_that_are_never_found_has_a_null_space() -> None:
    """z1 + z1 z2 z3 at d = inf: w_2 = w_3 = 0 for ever, so the loss cannot fall below E|h* - z1|^2 / 2 = 1/2."""
    overrides = ["target.polynomial=z1 + z1*z2*z3", "input.dimension=inf", CHEN_GE, "training.strategy_time=50.0"]
    flow, problem, config = first_flow("discretization.a_nodes=8", *overrides)
    seen: list[LinearFlow] = []
    rows: list[float] = []

    def record(current: StageFlow, step: Step, vector: np.ndarray) -> None:
        rows.append(float(loss(current.observe(step.time, vector).moments, flow.target)))

    def enter(current: StageFlow) -> None:
        if isinstance(current, LinearFlow):
            seen.append(current)

    train(problem, flow, config.record_times, problem.numbers(config.discretization).tolerance, Told(record, enter))
    assert (np.abs(seen[0].spectrum.eigenvalues[:10]) < 1e-28).all()
    assert 0.5 < rows[-1] < 0.6


def test_the_strategy_is_a_line_that_stands_for_its_stages(tmp_path: Path) -> None:
    keys = ["training.final_time=3.0", "training.strategy_time=7.0", "training.strategy_copies=2"]
    last = "{duration=7.0, xi_a=1.0, activation='(1 + u)**2', average=2, reset_a=true}"
    one = build_problem(load(None, [CHEN_GE, *keys]))
    two = build_problem(load(None, [f"training.stages=[{{duration=3.0, xi_w=1.0}}, {last}]"]))
    for a, b in zip(one.stages, two.stages, strict=True):
        assert (a.start, a.duration, a.activation, a.average, a.reset_a, a.by_moments) == (
            b.start, b.duration, b.activation, b.average, b.reset_a, b.by_moments,
        )  # fmt: skip
        assert (a.xi_a.constant, a.xi_w.constant) == (b.xi_a.constant, b.xi_w.constant)
    for override in (STAGES, CHEN_GE):
        config = load(None, [override])
        (tmp_path / "again.toml").write_text(config.to_toml())
        assert load(tmp_path / "again.toml") == config


@pytest.mark.parametrize(
    "overrides,words",
    [
        (["training.stages=[{duration=-1.0}]"], ["training.stages[0].duration", "1e-12"]),
        (["training.stages=[{duration='long'}]"], ["training.stages[0].duration", "float"]),
        (["training.stages=[{}]"], ["training.stages[0]", "duration"]),
        (["training.stages=[{duration=1.0, xi_q=1.0}]"], ["training.stages[0].xi_q", "'xi_w'"]),
        (["training.stages=[{duration=1.0, xi_a=-1.0}]"], ["training.stages[0].xi_a", "non-negative"]),
        (["training.stages=[{duration=1.0}, {duration=2.0, xi_w='1-t'}]"], ["training.stages[1].xi_w", "t = "]),
        (["training.stages=[{duration=1.0, activation='rellu'}]"], ["training.stages[0].activation", "'relu'"]),
        (
            ["training.stages=[{duration=1.0, xi_w=1.0, activation='u^7'}]"],
            ["training.stages[0].activation", "hermite_degree", "7"],
        ),
        (["training.stages=[{duration=1.0, activation='u^6'}]", "discretization.radial_degree=2"], ["radial_degree", "3"]),
        (
            ["network.activation=u^7", "training.stages=[{duration=1.0, xi_a=1.0, reset_a=true}]"],
            ["network.activation", "degree 7"],
        ),
        (["training.stages=[{duration=1.0, average=0}]"], ["training.stages[0].average", "1 to 6"]),
        (["training.stages=[{duration=1.0, average=2}]"], ["training.stages[0].average", "reset_a"]),
        (["training.stages=[{duration=1.0, average=2, reset_a=true, xi_w=1.0}]"], ["training.stages[0].xi_w", "xi_w = 0"]),
        (["training.stages=[{duration=1.0, average=2, reset_a=true}]"], ["training.stages[0].activation", "polynomial"]),
        (
            ["training.stages=[{duration=1.0, xi_w=1.0}, {duration=1.0, xi_w=1.0, average=6, reset_a=true}]", "initial.w=zero"],
            ["training.stages[1].average", "200000"],
        ),
        ([STAGES.replace("xi_a=2.0, activation='(1+u)**2'", "activation='u'")], ["training.stages[3].activation", "reset_a"]),
        ([STAGES, "training.final_time=3.0"], ["training.final_time", "training.stages"]),
        ([STAGES, CHEN_GE], ["training.strategy", "training.stages"]),
        ([CHEN_GE, "training.xi_a=1.0"], ["training.xi_a", "training.strategy"]),
        ([CHEN_GE, "training.strategy_copies=7"], ["training.strategy_copies", "1 to 6"]),
        ([CHEN_GE, "training.strategy_degree=1"], ["training.strategy_degree", "2"]),
        ([CHEN_GE, "training.strategy_time=0"], ["training.strategy_time", "1e-12"]),
        (["training.strategy_copies=2"], ["training.strategy_copies", "training.strategy"]),
        (["training.strategy=chen"], ["training.strategy", "chen"]),
    ],
)
def test_bad_stages_are_one_line_that_names_the_key(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        build_problem(load(None, overrides))
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_kernel_command_writes_its_matrix_and_the_history(ranks: int, tmp_path: Path) -> None:
    small = [word for override in SMALL for word in ("--set", override)]
    more = ["--integrate", "--set", "discretization.tolerance=1e-11", "--set", "input.dimension=1e6"]
    more += ["--set", "training.final_time=4.0", "--set", "training.strategy_time=10.0"]
    more += [] if ranks == 1 else ["--set", "discretization.accuracy=false"]
    done = command("kernel", *small, *more, "--output", "out.h5", ranks=ranks, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rate 2 lambda_min" in done.stdout and "he(0,2)" in done.stdout
    difference = next(line.split()[-1] for line in done.stdout.splitlines() if line.startswith("integrator"))
    assert float(difference) < 1e-10  # tolerance 1e-11 a step
    with h5py.File(tmp_path / "out.h5") as file:
        matrix, values = file["kernel/matrix"][:], file["kernel/eigenvalues"][:]
        assert np.abs(np.linalg.eigvalsh(matrix) - values).max() < 1e-14 * values[-1]
        assert file["stages/start"][:].tolist() == [0.0, 4.0] and file["stages/first_record"][1] == 81
        time, loss = file["history/time"][:], file["history/loss"][:]
        assert (np.diff(time) >= 0).all() and time[81] == time[80] == 4.0 and loss[81] == pytest.approx(1.0)
        assert (file["kernel/loss"][:] <= file["kernel/target_bound"][:] * (1 + 1e-9)).all()
    assert (tmp_path / "out_kernel.png").stat().st_size > 0


@pytest.mark.parametrize("given", ["hermite_degree=6", "a_nodes=8", "accuracy=false"])
def test_what_is_given_counts_in_the_error_of_the_rate(given: str, tmp_path: Path) -> None:
    """2 lambda_min = 4.72501(7)e-4 of z1 + z1 z2: K = 6 makes 4.781e-4 of it, and nothing else would say so."""
    config = load(None, [CHEN_GE, "initial.w=zero", f"discretization.{given}", f"output.file={tmp_path}/kernel.h5"])
    study = solve_kernel(SELF, config, build_problem(config))
    value, uncertainty = (2 * float(x[0]) for x in (study.linear.spectrum.eigenvalues, study.linear.spectrum.uncertainty))
    assert 1e-6 < abs(value - 4.72501e-4) < uncertainty < 1e-4
    assert study.uncertainty[0] == 0 and study.uncertainty[-1] > 0


def test_a_trap_has_no_condition_number(tmp_path: Path) -> None:
    """z1 + z1 z2 z3 from a point: w_2 = w_3 = 0, and eigenvalues are exactly 0: nothing is divided by them."""
    trap = ["target.polynomial=z1 + z1*z2*z3", "initial.w=zero", "training.final_time=1.0", "discretization.accuracy=false"]
    config = load(None, [CHEN_GE, *trap, f"output.file={tmp_path}/kernel.h5"])
    problem = build_problem(config)
    study = solve_kernel(SELF, config, problem)
    assert not study.linear.spectrum.eigenvalues.all()
    with np.errstate(divide="raise", invalid="raise"):
        shown = render(study, problem)
    assert "condition number     inf" in shown


def test_solve_runs_stages_and_kernel_refuses_what_has_no_matrix(tmp_path: Path) -> None:
    small = [word for override in (*SMALL, AFFINE, "target.polynomial=z1 + z1^2/2") for word in ("--set", override)]
    snapshots = ["--set", "output.snapshots=[0.0, 0.123, 2.0]"]  # which are records, too
    done = command("solve", *small, "--set", STAGES, *snapshots, "--output", "out.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["stages/activation"].asstr()[2] == "(1+u)**2" and file["stages/average"][:].tolist() == [1, 1, 2, 1]
        assert len(file["slices/M"]) == len(file["history/time"]) and len(file["slices/snapshots"]) == 3
        assert file["history/time"][:][file["stages/first_record"][:]].tolist() == [0.0, 1.0, 2.0, 4.0]
        assert file["slices/snapshots/0002/time"][()] == 2.0 and file["kernel/matrix"].shape == (4, 4)
    (tmp_path / "plain.toml").write_text("[training]\nfinal_time = 1.0\n")
    bad = command("kernel", "plain.toml", cwd=tmp_path)
    assert bad.returncode == 2 and bad.stderr.count("\n") == 1 and "chen-ge" in bad.stderr
