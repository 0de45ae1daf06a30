"""Finite networks, and SGD, beside the expansion in 1/N and in the step: E + c/N +- 2 s/sqrt(N) and E + eta e + (eta/B) q.

`python examples/finite_width.py [FOLDER]` prints two tables and draws finite_width.png; two minutes on one core.  h* = z1 +
z1^2/2, tanh(u + 1/2), d = 100.  Networks of 16, 64 and 256 neurons follow their exact gradient flow; SGD with fresh samples, 10 a
step, is compared up to t = 2 with the gradient flow of the same 100 neurons, so that only what the steps do is left.
"""

import sys
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import mfpde
from mfpde.digits import credible
from mfpde.evolution.flow import Step
from mfpde.evolution.integrate import integrate
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.output.plot import figure
from mfpde.particles.network import NetworkFlow, initial_network
from mfpde.particles.sgd import Sgd
from mfpde.problem.problem import Problem
from mfpde.width import Width

Array = NDArray[np.float64]
TARGET, DIMENSION = "z1 + z1**2/2", 100
# Neurons, how many networks of so many, and how many of them are drawn.
COUNTS, DOTS = {16: 500, 64: 250, 256: 50}, 50
# Degree of the networks' loss, neurons and samples of SGD, its steps, its end, and how many runs.
DEGREE, NEURONS, BATCH, STEPS, END, RUNS = 10, 100, 10, (0.0125, 0.025, 0.05, 0.1), 2.0, 150


def problem_and_features() -> tuple[Problem, HermiteFeatures]:
    """The problem, and what its networks are seen in."""
    problem = mfpde.build_problem(mfpde.load(None, [f"target.polynomial={TARGET}", f"input.dimension={DIMENSION}"]))
    modes = hermite_modes(problem.p, DEGREE, 2, problem.d)
    return problem, HermiteFeatures(MPI.COMM_SELF, modes, problem.stages[0].activation)


def followed(problem: Problem, features: HermiteFeatures, a: Array, w: Array, times: list[float]) -> list[float]:
    """E of the network of neurons a, w at the times, by gradient flow."""
    flow = NetworkFlow(problem, features, a, w)
    found: list[float] = []

    def record(step: Step, vector: Array) -> None:
        found.append(flow.measure(vector)[0])

    integrate(flow, times, 1e-5, record)
    return found


def networks(problem: Problem, features: HermiteFeatures, neurons: int, count: int, times: list[float]) -> Array:
    """E of independent networks at the times, shape (count, times)."""
    starts = (initial_network(problem, neurons, (neurons, number), 0, neurons) for number in range(count))
    return np.array([followed(problem, features, *start, times) for start in starts])


def excess(problem: Problem, features: HermiteFeatures, step: float, count: int) -> Array:
    """E of SGD at the end less that of gradient flow from the same neurons, shape (count,)."""
    found = []
    for number in range(count):
        seed = NEURONS, number
        start = initial_network(problem, NEURONS, seed, 0, NEURONS)
        training = Sgd(problem, features, *start, BATCH, step, seed)
        training.run([END], lambda *record: None)
        (loss,) = followed(problem, features, training.a, training.w, [0.0])
        found.append(loss - followed(problem, features, *start, [END])[-1])
    return np.array(found)


def with_error(sample: Array) -> tuple[str, str]:
    """Mean and standard deviation of a sample, each with its standard error."""
    mean, deviation, count = float(sample.mean()), float(sample.std(ddof=1)), len(sample)
    return credible(mean, deviation / sqrt(count)), credible(deviation, deviation / sqrt(2 * count))


def draw_networks(axis: Any, width: Width, losses: dict[int, Array], times: list[float]) -> None:
    """E, the bands, and networks as dots."""
    rng = np.random.default_rng(0)
    for number, (neurons, found) in enumerate(losses.items()):
        middle, half, color = width.mean(neurons), 2 * width.spread(neurons), f"C{number}"
        axis.fill_between(width.time, middle - half, middle + half, color=color, alpha=0.25, lw=0)
        axis.plot(width.time, middle, color=color, lw=1.2, label=f"$N = {neurons}$")
        for t, column in zip(times, found[:DOTS].T, strict=True):
            place = t + 0.17 * (number - 1) + rng.uniform(-0.07, 0.07, len(column))
            axis.plot(place, column, ".", color=color, ms=2.5, mec="none")
    axis.plot(width.time, width.loss, "k", lw=1.2, label=r"$N = \infty$")
    axis.set(xlabel="time $t$", ylabel="loss", title=r"networks, and $E + c/N \pm 2 s/\sqrt{N}$")
    axis.legend()
    axis.grid(alpha=0.3)


def draw_steps(axis: Any, slope: float, rows: list[Array]) -> None:
    """What the steps of SGD add."""
    steps = np.array([0.0, 1.1 * STEPS[-1]])
    axis.plot(steps, slope * steps, label=r"$\eta e + (\eta/B) q$")
    errors = [2 * row.std(ddof=1) / sqrt(len(row)) for row in rows]
    axis.errorbar(STEPS, [row.mean() for row in rows], errors, fmt="ko", ms=4, capsize=3, label="SGD, 95% intervals")
    axis.set(xlabel=r"step $\eta$", ylabel=f"loss of SGD less that of the flow at $t = {END:g}$")
    axis.set_title(f"$N = {NEURONS}$, $B = {BATCH}$")
    axis.legend()
    axis.grid(alpha=0.3)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    problem, features = problem_and_features()
    width = mfpde.width(polynomial=TARGET, dimension=DIMENSION, comm=MPI.COMM_SELF, batch=BATCH, step=STEPS[0])
    assert width.sgd is not None
    flow, times = replace(width, sgd=None), np.linspace(0.0, 8.0, 9).tolist()
    losses = {neurons: networks(problem, features, neurons, count, times) for neurons, count in COUNTS.items()}
    E, c, s = flow.at(np.array(times))
    print("| N | networks | t | mean | E + c/N | deviation | s/sqrt(N) |")
    for neurons, found in losses.items():
        for i in (2, 4, 8):
            mean, deviation = with_error(found[:, i])
            predicted = E[i] + c[i] / neurons, s[i] / sqrt(neurons)
            row = f"{times[i]:g} | {mean} | {predicted[0]:.4f} | {deviation} | {predicted[1]:.4f}"
            print(f"| {neurons} | {len(found)} | {row} |", flush=True)
    terms = np.stack((width.sgd.euler, width.sgd.noise, width.sgd.noise_deviation))
    e, q, noise = width.carried(terms, np.array([END]))[:, 0].tolist()
    print(f"| eta | mean of E_SGD - E_N at t = {END:g} | eta e + (eta/B) q | deviation | predicted |")
    rows = []
    for step in STEPS:
        rows.append(excess(problem, features, step, RUNS))
        mean, deviation = with_error(rows[-1])
        predicted = step * e + step / BATCH * q, sqrt(step / BATCH) * noise
        print(f"| {step:g} | {mean} | {predicted[0]:.4f} | {deviation} | {predicted[1]:.4f} |", flush=True)
    with figure(folder / "finite_width.png", 2) as (_, axes):
        draw_networks(axes[0], flow, losses, times)
        draw_steps(axes[1], e + q / BATCH, rows)
    print(folder / "finite_width.png")


if __name__ == "__main__":
    main()
