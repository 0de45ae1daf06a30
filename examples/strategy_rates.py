"""Algorithm 1 on staircases: the rate of the loss against 2 lambda_min, from the point start and from N(0, I/d).

`python examples/strategy_rates.py [FOLDER]` prints a table and draws strategy_rates.png.  T = 8 of training w with
tanh(u + 1/2), p copies, then (1 + u)^p.  Every rate comes from `mfpde.kernel`, refined until the eigenvalues stand still, and
is printed with the digits that hold.
"""

import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mpi4py import MPI

from mfpde.digits import credible, scientific
from mfpde.discretisations import build_problem
from mfpde.evolution.flow import loss
from mfpde.kernel.study import solve_kernel
from mfpde.moments.linear import LinearFlow
from mfpde.moments.spectrum import Spectrum
from mfpde.problem.config import load

BASE = ["training.strategy=chen-ge", "output.plot=false"]
TARGETS = {2: "z1 + z1*z2", 3: "z1 + z1*z2 + z1*z2*z3"}
# At finite d the nodes of y and r are given: one Gauss panel in each direction holds w, which is narrow.  The refinement is left
# to the labels of a, the Hermite degree and the time step; for p = 3 and at d = 10^2 the degree is given as well.  What all that
# costs is part of the error.
NARROW = ("cells=1", "degree=4", "r_nodes=2", "radial_degree=2")
WIDE = ("cells=1", "degree=9", "r_nodes=4", "radial_degree=3", "hermite_degree=20")
STARTS: dict[int, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    2: (
        ("zero", "inf", ()),
        ("gaussian", "inf", ()),
        *(("gaussian", d, NARROW) for d in ("1e8", "1e4")),
        ("gaussian", "1e2", WIDE),
    ),
    3: (("zero", "inf", ()), ("gaussian", "inf", ()), ("gaussian", "1e4", (*NARROW, "hermite_degree=14"))),
}


@dataclass(frozen=True)
class Case:
    """The last stage from one start: its flow, and the loss at times measured in 1 / (2 lambda)."""

    start: str
    d: float
    linear: LinearFlow

    @property
    def rate(self) -> float:
        """2 lambda, the smallest eigenvalue on V that this target excites."""
        return 2 * float(self.linear.rate_on_V)

    @property
    def error(self) -> float:
        """Of the rate."""
        spectrum = self.linear.on_V
        return 2 * float(spectrum.uncertainty[np.searchsorted(spectrum.eigenvalues, self.linear.rate_on_V)])

    def loss(self, time: np.ndarray) -> np.ndarray:
        return np.asarray(loss(self.linear.exact(time), self.linear.target))

    @property
    def measured(self) -> float:
        """-d log E / dt while the loss falls from about e^-8 to e^-10."""
        t = np.array([8.0, 10.0]) / self.rate
        return float(-np.diff(np.log(self.loss(t)))[0] / np.diff(t)[0])

    def above(self, limit: "Case") -> tuple[float, float]:
        """rate / limit - 1 for the rate of another case, and its error."""
        return self.rate / limit.rate - 1, self.error / self.rate + limit.error / limit.rate


def run(target: str, start: str, d: str, options: tuple[str, ...], time: float = 8.0) -> Case:
    """Collective. All stages, the last one exactly; w is trained for `time`, at the given numbers of the discretisation."""
    case = [f"target.polynomial={target}", f"initial.w={start}", f"input.dimension={d}", f"training.final_time={time}"]
    with TemporaryDirectory() as directory:
        folder = MPI.COMM_WORLD.bcast(directory)
        numbers = (f"discretization.{number}" for number in options)
        config = load(None, [*BASE, *case, *numbers, f"output.file={folder}/kernel.h5"])
        linear = solve_kernel(MPI.COMM_WORLD, config, build_problem(config)).linear
        MPI.COMM_WORLD.barrier()
    return Case(start, float(d), linear)


def twice(spectrum: Spectrum) -> str:
    """2 lambda_min with the digits that hold."""
    return scientific(2 * spectrum.eigenvalues[0], 2 * spectrum.uncertainty[0])


def main() -> None:
    first = MPI.COMM_WORLD.rank == 0
    if first:
        print("| p | start | d | 2 lambda_min | on V | of this target | measured | (rate / limit - 1) d | held back |")
    cases: dict[int, list[Case]] = {p: [] for p in TARGETS}
    for p, target in TARGETS.items():
        for start, d, options in STARTS[p]:
            case = run(target, start, d, options)
            cases[p].append(case)
            linear = case.linear
            rates = (scientific(rate, case.error) for rate in (case.rate, case.measured))
            cells = [twice(linear.spectrum), twice(linear.on_V), *rates]
            distance, error = case.above(cases[p][min(1, len(cases[p]) - 1)])
            scaled = credible(distance * case.d, error * case.d) if case.d < inf and distance > error else ""
            if first:
                print(f"| {p} | {start} | {case.d:g} | {' | '.join(cells)} | {scaled} | {linear.held_back:.1e} |", flush=True)
    if first:
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
        finite = [(case.d, *case.above(found[1])) for case in found if case.d < inf]
        d, distance, error = np.array([row for row in finite if row[1] > row[2]]).reshape(-1, 3).T
        right.errorbar(d, distance, error, fmt="o", label=f"$p = {p}$")
    right.loglog([1e2, 1e5], [0.25, 2.5e-4], "k--", lw=1, label=r"$\propto 1/d$")
    right.set(xlabel="$d$", ylabel=r"$\lambda(d) / \lambda(\infty) - 1$")
    right.grid(alpha=0.3)
    right.legend(fontsize="small")
    figure.savefig(picture)


if __name__ == "__main__":
    main()
