"""What several test files use."""

import atexit
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from ranks import RANKS, Ranks

from mfpde.discretisation.resolution import given_resolution, make_labels
from mfpde.discretisations import build_problem, start_flow
from mfpde.evolution.flow import Flow, Interpolant, Recording, StageFlow, Step, loss
from mfpde.evolution.integrate import integrate
from mfpde.features.bases import basis_of
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.particles.characteristics import characteristics
from mfpde.particles.reduced import run_gauss
from mfpde.particles.sampling import normal_rule
from mfpde.problem.config import load
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.quadrature.labels import Labels
from mfpde.quadrature.rules import Rule
from mfpde.solve import solve
from mfpde.training.training import train

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
# The density on a reference mesh in an affine frame, for tests that are about it.
AFFINE = "discretization.frame=affine"
# Seconds after which a program hangs; a busy machine may take a while.
HANGS = 600
# Few labels and records, for particles.
COARSE = ["discretization.a_nodes=8", "discretization.r_nodes=2", "output.times=5", "training.final_time=4.0"]
# A network whose second moments obey closed equations.
QUADRATIC = ["network.activation=quadratic", "initial.a=rademacher", "training.xi_a=0", "training.xi_w=0.1", "input.dimension=12"]


def clean_environment() -> dict[str, str]:
    """The environment without the parent's own MPI."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "HYDRA", "MPI"))}


def command(module: str, *arguments: str, ranks: int = 1, cwd: Path, afresh: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs a module of the package, and keeps what it says.

    On one rank that is done in this process, and on two by `Ranks`, because an interpreter takes two seconds to start; but for
    options of PETSc, which reads them once.

    Args:
        afresh: Under an mpirun of its own, whose exit status is that of the command.
    """
    words = [sys.executable, "-m", f"mfpde.{module}", *arguments]
    if afresh or ranks > RANKS or "--" in arguments:
        launcher = [str(Path(sys.executable).with_name("mpirun")), "-n", str(ranks)] if ranks > 1 else []
        return subprocess.run(
            [*launcher, *words], cwd=cwd, capture_output=True, text=True, timeout=HANGS, env=clean_environment(), check=False
        )
    if ranks > 1:
        return subprocess.CompletedProcess(words, *ranks_of(clean_environment()).run(cwd, module, list(arguments), HANGS))
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
        status = run_here(cwd, module, *arguments)
    return subprocess.CompletedProcess(words, status, out.getvalue(), errors.getvalue())


_ranks: list[Ranks] = []


def ranks_of(environment: dict[str, str]) -> Ranks:
    """The ranks that wait for commands; others where the environment has changed, or where they are lost."""
    environment = {name: value for name, value in environment.items() if name != "PYTEST_CURRENT_TEST"}
    if not _ranks or not _ranks[0].running or _ranks[0].environment != environment:
        close_ranks()
        _ranks.append(Ranks(environment))
    return _ranks[0]


@atexit.register
def close_ranks() -> None:
    while _ranks:
        _ranks.pop().close()


def run_here(folder: Path, module: str, *words: str) -> int:
    """The exit status of a command of the package, run in this process with `folder` as its working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", [module, *words])
        package = importlib.import_module(f"mfpde.{module}")
        main = package if hasattr(package, "main") else importlib.import_module(f"mfpde.{module}.__main__")
        return int(main.main())


def alone[T](find: Callable[[], T]) -> T:
    """Collective. What rank 0 finds by itself.

    The others sleep until then: in a collective call they would keep the cores busy, of which there may be fewer than ranks.
    """
    found = find() if WORLD.rank == 0 else None
    done = WORLD.Ibarrier()
    while not done.Test():
        time.sleep(0.01)
    return WORLD.bcast(found)


def read(*overrides: str, comm: MPI.Intracomm = SELF) -> tuple[Config, Problem]:
    """Collective. The default configuration with overrides, but without a plot, and its problem."""

    def both() -> tuple[Config, Problem]:
        config = load(None, ["output.plot=false", *overrides])
        return config, build_problem(config)

    return comm.bcast(both() if comm.rank == 0 else None)


def run_to(path: Path, *overrides: str) -> Path:
    """Solves the default problem with overrides."""
    config = load(None, ["discretization.accuracy=false", "output.plot=false", f"output.file={path}", *overrides])
    solve(SELF, config, build_problem(config))
    return path


def labels_of(config: Config, problem: Problem) -> Labels:
    """The labels that a configuration asks for."""
    return make_labels(problem, given_resolution(problem, config.discretization))


def coarse(*overrides: str) -> tuple[Config, Problem, HermiteFeatures]:
    """A problem with few labels, and its features on one rank."""
    config, problem = read(*COARSE, *overrides)
    return config, problem, features_of(config, problem)


def features_of(config: Config, problem: Problem, comm: MPI.Intracomm = SELF) -> HermiteFeatures:
    """Collective. The features of the first stage."""
    return HermiteFeatures(comm, basis_of(problem, problem.numbers(config.discretization)), problem.stages[0].activation)


def first_flow(*overrides: str, comm: MPI.Intracomm = SELF) -> tuple[StageFlow, Problem, Config]:
    """Collective. The flow of the first stage, with few records."""
    config, problem = read("output.times=5", *overrides, comm=comm)
    return start_flow(comm, problem, config.discretization), problem, config


def packed(flow: Flow) -> np.ndarray:
    """The state at t = 0."""
    vector = np.empty(flow.size)
    flow.pack(vector)
    return vector


def rates_of(flow: Flow, vector: np.ndarray, time: float = 0.0) -> np.ndarray:
    """Collective. The time derivative of a state."""
    out = np.full(flow.size, np.nan)
    flow.rates(time, vector, out)
    return out


def states(flow: Flow, times: Sequence[float], tolerance: float, **options: Any) -> list[np.ndarray]:
    """Collective. The state at the record times."""
    found: list[np.ndarray] = []
    integrate(flow, times, tolerance, Recording(lambda step, vector: found.append(vector.copy())), **options)
    return found


def measured(flow: Any, times: Sequence[float], tolerance: float) -> np.ndarray:
    """Collective. The loss of particles or of a network at the record times."""
    found: list[float] = []
    integrate(flow, times, tolerance, Recording(lambda step, vector: found.append(flow.measure(vector, step.time)[0])))
    return np.array(found)


def gauss_loss(config: Config, problem: Problem, features: HermiteFeatures, panels: int, points: int) -> np.ndarray:
    """E at the record times by Gauss particles."""
    rule = normal_rule(panels, points)
    run = run_gauss(problem, labels_of(config, problem), features, config.record_times, rule, 1e-10)
    return np.array([loss for _, loss, _ in run.records])


def follow(flow: StageFlow, times: Sequence[float], tolerance: float) -> np.ndarray:
    """Collective. Rows of loss and mass error at the record times."""
    rows = []

    def record(step: Step, vector: np.ndarray) -> None:
        seen = flow.observe(step.time, vector)
        rows.append((float(loss(seen.moments, flow.target)), seen.mass_error))

    flow.follow(times, tolerance, Recording(record))
    return np.array(rows)


@dataclass(frozen=True)
class Told:
    """A witness of a training made of functions."""

    on_record: Callable[[StageFlow, Step, np.ndarray], None] = lambda flow, step, vector: None
    on_enter: Callable[[StageFlow], None] = lambda flow: None

    def enter(self, flow: StageFlow) -> None:
        self.on_enter(flow)

    def record(self, flow: StageFlow, step: Step, vector: np.ndarray) -> None:
        self.on_record(flow, step, vector)

    def stepped(self, flow: StageFlow, step: Step, inside: Interpolant | None) -> None:
        pass


def exact_loss(config: Config, problem: Problem, rule: Rule) -> np.ndarray:
    """E at the record times by characteristics, at the configuration's truncation and labels."""
    modes = basis_of(problem, problem.numbers(config.discretization))
    return characteristics(problem, labels_of(config, problem), modes, config.record_times, rule).loss


@contextmanager
def two_passes() -> Iterator[None]:
    """Within the block the first pass of a training to an accuracy misses it: twice what was asked for is added to its error."""
    passes = importlib.import_module("mfpde.accuracy.to_accuracy")
    estimate, left = passes.estimate, [True]

    def found(*given: Any) -> Any:
        first = estimate(*given)
        return replace(first, total=first.total + 2 * first.wanted.at(first.loss)) if left and left.pop() else first

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "estimate", found)
        yield


def cloud_of(rng: np.random.Generator, n: int, p: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """a (n), v (p, n), r (n), b (n)."""
    return rng.uniform(-1, 1, n), 0.6 * rng.standard_normal((p, n)), rng.uniform(0.3, 1.2, n), rng.standard_normal(n)


def losses(flow: StageFlow, problem: Problem, config: Config) -> list[list[tuple[float, float]]]:
    """Collective. Rows of time and loss, by stage."""
    rows: list[list[tuple[float, float]]] = []

    def record(current: StageFlow, step: Step, vector: np.ndarray) -> None:
        observed = current.observe(step.time - current.stage.start, vector)
        rows[-1].append((step.time, float(loss(observed.moments, flow.target))))

    train(
        problem,
        flow,
        config.record_times,
        problem.numbers(config.discretization).tolerance,
        Told(record, lambda _: rows.append([])),
    )
    return rows
