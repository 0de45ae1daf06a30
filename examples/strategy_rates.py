"""Algorithm 1 on staircases: the rate of the loss against 2 lambda_min, from the point start and from N(0, I/d).

`python examples/strategy_rates.py [FOLDER]` prints a table and draws strategy_rates.png.  T = 8 of training w with
tanh(u + 1/2), p copies, then (1 + u)^p.  The Gaussian starts share their labels of a, so that their differences are of d alone.
"""

import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
from mpi4py import MPI

from mfpde.evolution.flow import loss
from mfpde.evolution.start import start_flow
from mfpde.problem.config import load
from mfpde.problem.problem import build_problem
from mfpde.training.linear import LinearFlow
from mfpde.training.training import Silent, next_flow, train

BASE = ["training.strategy=chen-ge", "training.final_time=8.0", "discretization.r_nodes=2", "discretization.a_nodes=24"]
TARGETS = {2: "z1 + z1*z2", 3: "z1 + z1*z2 + z1*z2*z3"}
# The law of w_0 and d, with the cells per direction and the tolerance that they need, by p.
LIMITS = (("zero", "inf", 1, 1e-12), ("gaussian", "inf", 1, 1e-12))
FINITE = {
    2: (("gaussian", "1e8", 4, 1e-11), ("gaussian", "1e4", 6, 1e-10), ("gaussian", "1e2", 12, 1e-8)),
    3: (("gaussian", "1e8", 3, 1e-11), ("gaussian", "1e4", 4, 1e-10), ("gaussian", "1e2", 5, 1e-8)),
}


@dataclass(frozen=True)
class Case:
    """The last stage from one start: its flow, and the loss at times measured in 1 / (2 lambda)."""

    start: str
    d: float
    linear: LinearFlow

    @property
    def rate(self) -> float:
        return 2 * self.linear.rate_on_V

    def loss(self, time: np.ndarray) -> np.ndarray:
        return np.asarray(loss(self.linear.exact(time), self.linear.target))

    @property
    def measured(self) -> float:
        """-d log E / dt while the loss falls from about e^-8 to e^-10."""
        t = np.array([8.0, 10.0]) / self.rate
        return float(-np.diff(np.log(self.loss(t)))[0] / np.diff(t)[0])


def run(target: str, start: str, d: str, cells: int, tolerance: float, *options: str) -> Case:
    """Stages (2) and (3), and the flow of stage (4)."""
    case = [f"target.polynomial={target}", f"initial.w={start}", f"input.dimension={d}", f"discretization.tolerance={tolerance}"]
    # Without a spread of |w| to smooth it, w(a) needs more labels; they cost nothing at a point start.
    labels = ["discretization.a_nodes=64"] if start == "zero" else []
    mesh = [f"discretization.cells={cells}", "discretization.grading=2.0"]
    config = load(None, [*BASE, *case, *mesh, *labels, *options])
    problem = build_problem(config)
    flow = start_flow(MPI.COMM_WORLD, problem, config.discretization)
    linear = next_flow(train(problem, flow, [], problem.numbers(config.discretization).tolerance, Silent(), stages=1), problem, 1)
    assert isinstance(linear, LinearFlow)
    return Case(start, float(d), linear)


def main() -> None:
    first = MPI.COMM_WORLD.rank == 0
    cases = {p: [run(target, *start) for start in (*LIMITS, *FINITE[p])] for p, target in TARGETS.items()}
    if not first:
        return
    print("| p | start | d | 2 lambda_min | on V | of this target | measured | (rate / limit - 1) d | held back |")
    for p, found in cases.items():
        limit = found[1].rate
        for case in found:
            scaled = f"{(case.rate / limit - 1) * case.d:.4g}" if case.d < inf else ""
            lowest, on_V = 2 * case.linear.spectrum.eigenvalues[0], 2 * case.linear.on_V.eigenvalues[0]
            cells = [f"{x:.3e}" for x in (lowest, on_V)] + [f"{x:.6e}" for x in (case.rate, case.measured)]
            print(
                f"| {p} | {case.start} | {case.d:g} | {' | '.join(cells)} | {scaled} | {case.linear.held_back:.1e} |", flush=True
            )
    draw(cases, (Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent) / "strategy_rates.png")


def draw(cases: dict[int, list[Case]], picture: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    *panels, right = figure.subplots(1, 3)
    for axes, (p, found) in zip(panels, cases.items(), strict=True):
        t = np.linspace(0.0, 24.0 / found[1].rate, 400)
        for n, case in enumerate(found):
            name = "point start" if case.start == "zero" else f"$N(0, I/d)$, $d = {case.d:g}$".replace("inf", r"\infty")
            axes.semilogy(t, case.loss(t), color=f"C{n}", lw=1.5, label=name)
            axes.semilogy(t, case.loss(t[:1]) * np.exp(-case.rate * t), color=f"C{n}", ls=":", lw=1)
        axes.set(xlabel="time $t - T$", ylabel="loss (dotted: $E_T e^{-2 \\lambda (t-T)}$)", ylim=(1e-12, 2.0))
        axes.set_title("$z_1 + z_1 z_2$" if p == 2 else "$z_1 + z_1 z_2 + z_1 z_2 z_3$")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        finite = [case for case in found if case.d < inf]
        right.loglog([c.d for c in finite], [c.rate / found[1].rate - 1 for c in finite], "o-", label=f"$p = {p}$")
    right.loglog([1e2, 1e8], [1.0, 1e-6], "k--", lw=1, label="$1/d$")
    right.set(xlabel="$d$", ylabel=r"$\lambda(d) / \lambda(\infty) - 1$")
    right.grid(alpha=0.3)
    right.legend(fontsize="small")
    figure.savefig(picture)


if __name__ == "__main__":
    main()
