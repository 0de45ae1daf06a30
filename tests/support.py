"""What several test files use."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI

from mfpde.elements.labels import Labels
from mfpde.elements.rules import Rule
from mfpde.evolution.flow import StageFlow, loss
from mfpde.features.modes import modes_of
from mfpde.particles.characteristics import characteristics
from mfpde.problem.config import load
from mfpde.problem.problem import Problem, build_problem
from mfpde.problem.sections import Config

SELF = MPI.COMM_SELF


def command(module: str, *arguments: str, ranks: int = 1, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a module of the package under mpirun; the parent's own MPI environment is not inherited."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "HYDRA", "MPI"))}
    launcher = [str(Path(sys.executable).with_name("mpirun")), "-n", str(ranks)] if ranks > 1 else []
    words = [*launcher, sys.executable, "-m", f"mfpde.{module}", *arguments]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120, env=environment, check=False)


def read(*overrides: str, comm: MPI.Intracomm = SELF) -> tuple[Config, Problem]:
    """Collective. The default configuration with overrides, and its problem."""

    def both() -> tuple[Config, Problem]:
        config = load(None, overrides)
        return config, build_problem(config)

    return comm.bcast(both() if comm.rank == 0 else None)


def labels_of(config: Config, problem: Problem) -> Labels:
    """The labels that a configuration asks for."""
    return label_rules(problem, config.discretization.a_nodes, config.discretization.r_nodes)


def follow(flow: StageFlow, times: Sequence[float], tolerance: float) -> np.ndarray:
    """Collective. Rows of loss and mass error at the record times."""
    rows = []

    def record(step, vector) -> None:  # type: ignore[no-untyped-def]
        seen = flow.observe(step.time, vector)
        rows.append((float(loss(seen.moments, flow.target)), seen.columns.get("/history/mass_error", 0.0)))

    flow.follow(times, tolerance, record, lambda step: None)
    return np.array(rows)


def exact_loss(config: Config, problem: Problem, rule: Rule) -> np.ndarray:
    """E at the record times by characteristics, at the configuration's truncation and labels."""
    modes = modes_of(problem, config.discretization)
    return characteristics(problem, labels_of(config, problem), modes, config.record_times, rule).loss
