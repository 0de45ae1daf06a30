"""Largest error of E(t) against the characteristic solution at the same truncation and labels.

`python tests/benchmarks/accuracy.py [CASE ...] [section.key=value ...]` runs the named cases (all by default), one line each.
"""

import sys
import time

import numpy as np
from mpi4py import MPI

from mfpde.elements.labels import make_labels
from mfpde.elements.resolution import given_resolution
from mfpde.evolution.flow import Step, loss
from mfpde.evolution.start import start_flow
from mfpde.particles.characteristics import characteristics, normal_rule
from mfpde.problem.config import load
from mfpde.problem.problem import build_problem

ONE, TWO, THREE = ("target.polynomial=" + h for h in ("z1 + z1**2/2", "z1 + z1*z2", "z1 + z1*z2*z3"))
# Panels and points of the reference's nodes in v, then what differs from the default configuration.
CASES: dict[str, tuple[int, int, list[str]]] = {
    "p1_d10": (24, 8, [ONE, "input.dimension=10"]),
    "p1_d100": (16, 8, [ONE, "input.dimension=100"]),
    "p1_d1e4": (1, 16, [ONE, "input.dimension=1e4"]),
    "p1_d1e8": (1, 16, [ONE, "input.dimension=1e8"]),
    "p2_d10": (16, 8, [TWO, "input.dimension=10", "output.times=17"]),
    "p2_d100": (1, 24, [TWO, "input.dimension=100"]),
    "p2_d1e4": (1, 16, [TWO, "input.dimension=1e4"]),
    "p2_d1e8": (1, 16, [TWO, "input.dimension=1e8"]),
    "p3_T16": (1, 20, [THREE, "input.dimension=1e6", "training.final_time=16.0", "output.times=33"]),
    "p3_T20": (1, 32, [THREE, "input.dimension=1e6", "training.final_time=20.0", "output.times=41"]),
}


def run(name: str, options: list[str]) -> None:
    panels, points, overrides = CASES[name]
    config = load(None, [*overrides, *options])
    problem, numbers = build_problem(config), config.discretization
    start = time.perf_counter()
    flow = start_flow(MPI.COMM_SELF, problem, numbers)
    found: list[float] = []

    def record(step: Step, vector: np.ndarray) -> None:
        found.append(float(loss(flow.observe(step.time, vector).moments, flow.target)))

    end = flow.follow(config.record_times, problem.numbers(config.discretization).tolerance, record)
    seconds = time.perf_counter() - start
    labels = make_labels(problem, given_resolution(problem, config.discretization))
    exact = characteristics(problem, labels, flow.modes, config.record_times, normal_rule(panels, points))
    error = np.abs(np.array(found) - exact.loss).max()
    print(f"{name:8s} error {error:.1e}   {end.steps} steps, {seconds:.1f} s on one core", flush=True)


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if "=" in word]
    for case in [word for word in sys.argv[1:] if "=" not in word] or CASES:
        run(case, given)
