"""Work and precision: the error of E(t) against CPU seconds on one core, for finite elements and all particle methods.

`python tests/benchmarks/work_precision.py [PICTURE.png]` prints a table and draws the picture, in a few minutes.

The error is max_t |E(t) - E_ref(t)| over five records on [0, 8], the reference being Gauss particles with far more nodes
at the same Hermite truncation (for SGD, which has none, at K = 14); for random methods it is the root mean square over
repeats, and the time that of one run.  The time excludes imports, compilation, and the table of the activation's Hermite
coefficients (0.1 s), which all methods share here: it is what one more run costs.
"""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import mfpde  # noqa: F401  (first: one thread for linear algebra, or CPU seconds mean nothing)

# isort: split
import numpy as np
from mpi4py import MPI

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.plan import Request, make_panel_plan
from mfpde.discretisation.resolution import given_resolution, make_labels
from mfpde.discretisations import build_problem, discretisation_of
from mfpde.evolution.integrate import integrate
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.features.bases import basis_of
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import Modes
from mfpde.neurons import Nodes
from mfpde.particles.network import NetworkFlow, initial_network
from mfpde.particles.reduced import run_gauss
from mfpde.particles.sampling import normal_rule, random_particles, sobol_particles
from mfpde.particles.sgd import Sgd
from mfpde.problem.config import load
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.quadrature.labels import Labels

SELF = MPI.COMM_SELF
TARGETS = {1: "z1 + z1**2/2", 2: "z1 + z1*z2"}
DIMENSIONS = (10, 100, 10_000)
TOLERANCE = 1e-5  # of a step, for what converges no further than that
LEVELS = (1e-3, 1e-4, 1e-5, 1e-6)
# Accuracies that finite elements are asked for.
ACCURACIES = (1e-2, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)


@dataclass(frozen=True)
class Case:
    """One problem with its features and its reference curve."""

    overrides: list[str]
    problem: Problem
    features: HermiteFeatures
    times: list[float]
    exact: np.ndarray

    @property
    def name(self) -> str:
        return f"p = {self.problem.p}, d = {self.problem.d:g}"


Point = tuple[float, float, str]


def case(p: int, d: int, hermite_degree: int = 6) -> Case:
    """The problem and its reference; at a higher K, to which SGD is held, a reference good to 1e-4."""
    overrides = [f"target.polynomial={TARGETS[p]}", f"input.dimension={d}", "output.times=5"]
    overrides.append(f"discretization.hermite_degree={hermite_degree}")
    fine = hermite_degree == 6
    labels = {"a_nodes": {1: 64, 2: 32}[p] if fine else 16, "r_nodes": (5 if d == 10 else 4) if fine else 3}
    config = load(None, [*overrides, *(f"discretization.{key}={value}" for key, value in labels.items())])
    problem = build_problem(config)
    features = HermiteFeatures(SELF, basis_of(problem, problem.numbers(config.discretization)), problem.stages[0].activation)
    rule = normal_rule(24, 8) if p == 1 and d < 1000 else normal_rule(1, 48 if d == 10 and fine else 24)
    records = run_gauss(problem, labels_of(config, problem), features, config.record_times, rule, 1e-10 if fine else 1e-7).records
    return Case(overrides, problem, features, config.record_times, np.array([loss for _, loss, _ in records]))


def labels_of(config: Config, problem: Problem) -> Labels:
    return make_labels(problem, given_resolution(problem, config.discretization))


def measured(flow: LagrangianFlow | NetworkFlow, times: list[float], tolerance: float) -> list[float]:
    """The loss at the record times."""
    found: list[float] = []
    integrate(flow, times, tolerance, lambda step, vector: found.append(flow.measure(vector, step.time)[0]), method="dop853")
    return found


def timed(run: Callable[[], list[float]], exact: np.ndarray) -> tuple[float, np.ndarray]:
    start = time.process_time()
    loss = run()
    return time.process_time() - start, np.array(loss) - exact


def repeated(runs: Iterable[Callable[[], list[float]]], exact: np.ndarray) -> tuple[float, float]:
    """Mean time, and the largest root mean square error."""
    seconds, deviations = zip(*(timed(run, exact) for run in runs), strict=True)
    return float(np.mean(seconds)), float(np.sqrt((np.array(deviations) ** 2).mean(axis=0).max()))


def finite_elements(one: Case) -> Iterable[Point]:
    """At the resolutions that a run chooses for itself; the time is that of the main run."""
    unit = 0.5 * one.problem.target.square
    for accuracy in ACCURACIES:
        keys = [f"discretization.radial_degree={one.features.modes.radial.max()}", f"discretization.accuracy={accuracy}"]
        options = load(None, [*one.overrides, *keys]).discretization
        resolution = make_panel_plan(SELF, Request(one.problem, options, one.times, Allowed(accuracy * unit))).resolution

        def run() -> list[float]:
            flow = discretisation_of(one.problem, options).start(SELF, one.problem, options, resolution)  # noqa: B023
            return measured(flow, one.times, resolution.tolerance)  # noqa: B023

        run()  # loads what the first run of a process loads
        yield *repeated([run], one.exact), f"accuracy {accuracy:g}: {resolution.nodes} nodes"


def gauss(one: Case) -> Iterable[Point]:
    # The larger d, the closer the flow is to linear in v and to constant in r, and the fewer nodes these need.
    r, most = {10: (4, 32), 100: (3, 16), 10_000: (2, 6)}[int(one.problem.d)]
    for a, points, tolerance in (
        (6, 4, 1e-4),
        (8, 6, 1e-5),
        (12, 8, 1e-6),
        (16, 12, 1e-7),
        (20, 16, 1e-8),
        (24, 24, 1e-8),
        (40, 32, 1e-8),
    ):
        config = load(None, [*one.overrides, f"discretization.a_nodes={a}", f"discretization.r_nodes={r}"])
        problem = build_problem(config)
        rule = normal_rule(1, min(points, most))

        def run() -> list[float]:
            records = run_gauss(problem, labels_of(config, problem), one.features, one.times, rule, tolerance).records  # noqa: B023
            return [loss for _, loss, _ in records]

        yield *repeated([run], one.exact), f"{a} x {r} x {len(rule.nodes)}^{one.problem.p} nodes"


def sampled(one: Case, sampler: Callable[..., Nodes], powers: range, repeats: int) -> Iterable[Point]:
    for power in powers:
        count = 2**power

        def run(repeat: int) -> list[float]:
            flow = LagrangianFlow(one.problem, one.features, sampler(one.problem, count, (0, repeat), 0, count))  # noqa: B023
            return measured(flow, one.times, TOLERANCE)

        runs = [lambda repeat=repeat: run(repeat) for repeat in range(repeats)]
        yield *repeated(runs, one.exact), f"N = {count}"


def network(one: Case) -> Iterable[Point]:
    for count in (16, 64, 256):

        def run(repeat: int) -> list[float]:
            flow = NetworkFlow(one.problem, one.features, *initial_network(one.problem, count, (0, repeat), 0, count))  # noqa: B023
            return measured(flow, one.times, 1e-3)

        runs = [lambda repeat=repeat: run(repeat) for repeat in range(8)]
        yield *repeated(runs, one.exact), f"N = {count}"


def sgd(one: Case) -> Iterable[Point]:
    exact = case(one.problem.p, int(one.problem.d), 14).exact
    for count, batch, step in ((16, 20, 0.2), (64, 50, 0.1), (256, 100, 0.05)):
        if count * batch / step * one.problem.d > 2e10:
            break

        def run(repeat: int) -> list[float]:
            network = initial_network(one.problem, count, (0, repeat), 0, count)  # noqa: B023
            loss: list[float] = []
            training = Sgd(one.problem, one.features, *network, batch, step, (0, repeat))  # noqa: B023
            training.run(one.times, lambda time, value, moments: loss.append(value))
            return loss

        runs = [lambda repeat=repeat: run(repeat) for repeat in range(4)]
        yield *repeated(runs, exact), f"N = {count}, batch {batch}, step {step}"


METHODS: dict[str, Callable[[Case], Iterable[Point]]] = {
    "finite elements": finite_elements,
    "Gauss particles": gauss,
    "Sobol' particles": lambda one: sampled(one, sobol_particles, range(6, 17, 2), 2),
    "random particles": lambda one: sampled(one, random_particles, range(6, 15, 2), 12),
    "finite network": network,
    "SGD": sgd,
}


def seconds_at(points: list[Point], level: float) -> tuple[float, bool]:
    """CPU seconds at which a method's error first is at most `level`, and whether that is extrapolated.

    On straight lines in the logarithms between the points that no cheaper point beats; beyond them as for random methods,
    whose error is proportional to time^(-1/2).
    """
    front: list[tuple[float, float]] = []
    for seconds, error, _ in sorted(points):
        if not front or error < front[-1][1]:
            front.append((seconds, error))
    time_, error = np.log(np.array(front)).T
    if error[0] <= np.log(level):
        return front[0][0], False
    if error[-1] <= np.log(level):
        return float(np.exp(np.interp(-np.log(level), -error, time_))), False
    return float(np.exp(time_[-1] + 2 * (error[-1] - np.log(level)))), True


def report(one: Case, results: dict[str, list[Point]]) -> None:
    print(f"\n{one.name}")
    for method, points in results.items():
        for seconds, error, what in points:
            print(f"  {method:17s} error {error:.1e}  {seconds:9.4f} s  {what}")
    fe = results["finite elements"]
    for level in LEVELS:
        base, beyond = seconds_at(fe, level)
        if beyond:
            continue
        ratios = []
        for method, points in results.items():
            seconds, extrapolated = seconds_at(points, level)
            if method != "finite elements" and (not extrapolated or method in ("random particles", "finite network")):
                ratios.append(f"{method} {seconds / base:.3g}{' (extrapolated)' if extrapolated else ''}")
        print(f"  at error {level:.0e}: finite elements {base:.3f} s; times as long: {', '.join(ratios)}", flush=True)


def draw(everything: dict[str, dict[str, list[Point]]], picture: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for axis, (name, results) in zip(axes.ravel(), everything.items(), strict=True):
        for marker, (method, points) in zip("osD^vx", results.items(), strict=True):
            seconds, error, _ = zip(*sorted(points), strict=True)
            axis.loglog(seconds, np.maximum(error, 1e-10), marker + "-", ms=5, lw=1.2, label=method)
        axis.set_title(name)
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("CPU seconds on one core")
    for axis in axes[:, 0]:
        axis.set_ylabel(r"error of $E(t)$ on [0, 8]")
    axes[0, 0].legend(fontsize="small")
    figure.savefig(picture)


def main(picture: Path) -> None:
    everything = {}
    for p in TARGETS:
        for d in DIMENSIONS:
            one = case(p, d)
            # One table for all runs: see above.
            Modes.features = lambda *_, shared=one.features: shared  # type: ignore[method-assign, assignment]
            results: dict[str, list[Point]] = {}
            for method, run in METHODS.items():
                next(iter(run(one)))  # compiles, and loads what is loaded once
                results[method] = list(run(one))
            report(one, results)
            everything[one.name] = results
    draw(everything, picture)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "work_precision.png"))
