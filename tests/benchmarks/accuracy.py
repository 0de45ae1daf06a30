"""The whole error of E(t) on [0, 8], and what the run says of it: against characteristics at a far higher resolution.

`python tests/benchmarks/accuracy.py [CASE ...] [section.key=value ...]` runs the named cases (all by default), one line each.
The references are Gauss particles with 40 labels of a, 1 to 6 of r and Hermite degree 22 to 26: finer ones change no digit
here.  For p = 2 at d = 10 they would be too many: there E at t = 2, 4, 6, 8 is that of tests/references.json.
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from mpi4py import MPI

from mfpde.elements.labels import make_labels
from mfpde.elements.resolution import given_resolution
from mfpde.features.modes import modes_of
from mfpde.particles.characteristics import characteristics, normal_rule
from mfpde.problem.config import load
from mfpde.problem.problem import build_problem
from mfpde.solve import solve

TARGETS = {1: "z1 + z1**2/2", 2: "z1 + z1*z2"}
# p, d; panels and points of the reference's nodes in v, its labels of r and its Hermite degree.
CASES: dict[str, tuple[int, str, int, int, int, int]] = {
    "p1_d10": (1, "10", 24, 8, 6, 26),
    "p1_d100": (1, "100", 6, 8, 3, 26),
    "p1_d1e4": (1, "1e4", 1, 10, 3, 26),
    "p1_d1e8": (1, "1e8", 1, 8, 3, 26),
    "p1_inf": (1, "inf", 1, 1, 1, 26),
    "p2_d10": (2, "10", 0, 0, 0, 0),
    "p2_d100": (2, "100", 1, 20, 3, 22),
    "p2_d1e4": (2, "1e4", 1, 8, 3, 24),
    "p2_d1e8": (2, "1e8", 1, 6, 3, 24),
    "p2_inf": (2, "inf", 1, 1, 1, 24),
}


def characteristic(name: str) -> tuple[list[float], np.ndarray]:
    """Times and E by Gauss particles at the resolution of a case."""
    p, d, panels, points, r_nodes, K = CASES[name]
    fine = ("a_nodes=40", "a_panels=2", f"r_nodes={r_nodes}", f"hermite_degree={K}")
    config = load(None, [*problem_of(p, d), *(f"discretization.{number}" for number in fine)])
    problem = build_problem(config)
    labels = make_labels(problem, given_resolution(problem, config.discretization))
    modes = modes_of(problem, problem.numbers(config.discretization))
    times, rule = config.record_times, normal_rule(panels, points)
    return times, characteristics(problem, labels, modes, times, rule, 1e-9).loss


def published(name: str) -> tuple[list[float], np.ndarray]:
    """Times and E of the reference that the tests use."""
    p, d = CASES[name][:2]
    wanted = (TARGETS[p].replace(" ", ""), float(d), "tanh(u+0.5)", "uniform(-1, 1)", 1.0, 1.0)
    for row in json.loads((Path(__file__).parents[1] / "references.json").read_text()):
        keys = ("activation", "a", "xi_a", "xi_w")
        if (row["polynomial"], float(row["dimension"]), *(row[key] for key in keys)) == wanted:
            return row["times"], np.array(row["loss"])
    raise SystemExit(f"no reference for {name}")


def problem_of(p: int, d: str) -> list[str]:
    return [f"target.polynomial={TARGETS[p]}", f"input.dimension={d}"]


def run(name: str, options: list[str]) -> None:
    p, d, panels = CASES[name][:3]
    times, exact = characteristic(name) if panels else published(name)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "run.h5"
        config = load(None, [*problem_of(p, d), f"output.file={path}", *options])
        begin = time.process_time()
        solve(MPI.COMM_SELF, config, build_problem(config))
        seconds = time.process_time() - begin
        with h5py.File(path) as file:
            at = np.searchsorted(file["history/time"][:], np.array(times) - 1e-9)
            error, estimate = np.abs(file["history/loss"][:][at] - exact), file["error/estimate"][:]
    print(
        f"{name:8s} E(8) = {exact[-1]:.6f}   error {error.max():.1e}   estimate {estimate.max():.1e}   {seconds:.1f} s of CPU",
        flush=True,
    )


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if "=" in word]
    for case in [word for word in sys.argv[1:] if "=" not in word] or CASES:
        run(case, given)
