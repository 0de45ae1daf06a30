"""Largest error of E(t) against the characteristic solution at the same truncation and labels.

`python tests/benchmarks/accuracy.py [CASE ...]` runs the named cases (all by default), one line each.
"""

import sys
import time

import numpy as np
from mpi4py import MPI

from mfpde.evolution.dynamics import MeanFieldFlow
from mfpde.evolution.integrate import integrate
from mfpde.features.modes import hermite_modes
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


def run(name: str) -> None:
    panels, points, overrides = CASES[name]
    config = load(None, overrides)
    problem, numbers = build_problem(config), config.discretization
    start = time.perf_counter()
    flow = MeanFieldFlow(MPI.COMM_SELF, problem, numbers)
    loss: list[float] = []

    def record(step, vector) -> None:  # type: ignore[no-untyped-def]
        moments = flow.evaluate(flow.layout.views(vector), step.time).moments
        loss.append(0.5 * float(((moments - flow.target) ** 2).sum()))

    end = integrate(flow, config.record_times, numbers.tolerance, record)
    seconds = time.perf_counter() - start
    modes = hermite_modes(problem.p, numbers.hermite_degree, numbers.radial_degree, problem.d)
    exact = characteristics(problem, modes, config.record_times, normal_rule(panels, points))
    error = np.abs(np.array(loss) - exact.loss).max()
    print(f"{name:8s} error {error:.1e}   {end.steps} steps, {seconds:.1f} s on one core", flush=True)


if __name__ == "__main__":
    for case in sys.argv[1:] or CASES:
        run(case)
