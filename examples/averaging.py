"""Is averaging needed?  The smallest eigenvalue of the kernel matrix for 1 to 2 p copies: two tables, and a picture.

`python examples/averaging.py [FOLDER]`: point start at d = inf, stage 2 up to T with tanh(u + 1/2), then the activation
(1 + u)^deg(h*).  First lambda_min at T = 4 for eleven targets, with the digits that a run with fewer labels, a lower Hermite
degree and a larger tolerance leaves.  Then the local exponents of lambda_min ~ T^e between T = 1/4, 1/8, .., 1/64.
"""

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from mpi4py import MPI

from mfpde.digits import credible, scientific
from mfpde.discretisations import build_problem
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.moments.averaging import LawMoments, law_moments
from mfpde.moments.spectrum import kernel_modes, spectrum
from mfpde.neurons import Nodes
from mfpde.problem.config import load
from mfpde.problem.problem import Problem
from mfpde.training.training import Silent, neurons, train

TARGETS = (
    "z1 + z1^2",
    "z1 + z1^3",
    "z1 + z1*z2",
    "z1 + z1*z2 + z2^2",
    "z1 + z1*z2 + z1*z2*z3",
    "z1 + z1*z2 + z2*z3",
    "z1 + z1*z2 + z1*z2^2 + z2^2*z3",
    "z1 + z2",
    "z1 + z1*z2^2",
    "z1 + z1^2 + z1*z2^2",
    "z1 + z1*z2*z3",
)
# The times of the exponents: 1/4 to 1/64.
HALVINGS = range(2, 7)


def labels(panels: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre rules of U(-1, 1) on panels that halve towards a = 0, where w(a) changes fastest at large T."""
    x, w = np.polynomial.legendre.leggauss(points)
    edges = np.concatenate(([0.0], 0.5 ** np.arange(panels - 1.0, -1.0, -1.0)))
    width = np.diff(edges)[:, None]
    a, weight = (edges[:-1, None] + width * (1 + x) / 2).ravel(), (width * w / 4).ravel()
    return np.concatenate((-a[::-1], a)), np.concatenate((weight[::-1], weight))


def law(problem: Problem, panels: int, points: int, degree: int, tolerance: float) -> LawMoments:
    """The moments of w at the end of stage 2, at Hermite degree `degree`."""
    a, weight = labels(panels, points)
    start = Nodes(a, np.zeros((problem.p, len(a))), np.zeros_like(a), weight)
    features = HermiteFeatures(MPI.COMM_SELF, hermite_modes(problem.p, degree, 0, problem.d), problem.stages[0].activation)
    end = train(problem, LagrangianFlow(problem, features, start), [], tolerance, Silent(), stages=1)
    moments = law_moments(MPI.COMM_SELF, neurons(end), problem.d - problem.p, 2 * problem.stages[1].degree)
    assert moments is not None
    return moments


@dataclass(frozen=True)
class Smallest:
    """lambda_min, the largest eigenvalue, and by how much a rougher run changes the first."""

    value: float
    largest: float
    error: float

    def __str__(self) -> str:
        """Three digits, or those that hold; 0 where it is less than the rounding of 32 digits."""
        return "0" if self.is_zero else scientific(self.value, max(self.error, 1e-3 * self.value))

    @property
    def is_zero(self) -> bool:
        return self.value < 1e-28 * self.largest


def smallest(target: str, time: float, most: int = 6) -> list[Smallest]:
    """Of the kernel matrices for 1 to 2 p copies, at most `most`."""
    options = [f"target.polynomial={target}", f"training.final_time={time}", "training.strategy=chen-ge"]
    problem = build_problem(load(None, [*options, "input.dimension=inf", "initial.w=zero"]))
    laws = law(problem, 8, 16, 28, 1e-13), law(problem, 6, 12, 22, 1e-12)
    activation = problem.stages[1].activation.polynomial
    assert activation is not None
    modes = kernel_modes(problem.p, problem.stages[1].degree, np.inf, False)
    found = []
    for copies in range(1, min(2 * problem.p, most) + 1):
        fine, rough = (spectrum(moments.average(copies), activation, modes).eigenvalues for moments in laws)
        found.append(Smallest(float(fine[0]), float(fine[-1]), abs(float(fine[0] - rough[0]))))
    return found


def row(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells + [""] * (6 - len(cells))) + " |"


def main() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    heading = row("copies", [str(n) for n in range(1, 7)])
    print(f"lambda_min at T = 4\n{heading}")
    for target in TARGETS:
        sizes = smallest(target, 4.0)
        cells = [str(found) for found in sizes]
        print(row(target, cells), flush=True)
        if "0" not in cells:
            values = [found.value for found in sizes]
            axes.semilogy(np.arange(1, len(values) + 1), values, "o-", label=target)
    axes.set(xlabel="copies", ylabel=r"$\lambda_{\min}(K)$", title="point start, $T = 4$")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    figure.savefig(folder / "averaging.png")

    print(f"local exponent of lambda_min ~ T^e\n{row('T', [f'1/{2**k}, 1/{2 ** (k + 1)}' for k in HALVINGS[:-1]])}")
    for target in ("z1 + z1^2", "z1 + z1*z2"):
        by_time = [smallest(target, 0.5**k, 2) for k in HALVINGS]
        for copies in (1, 2):
            slopes = [slope(late[copies - 1], early[copies - 1]) for late, early in pairwise(by_time)]
            print(row(f"{target}, copies: {copies}", slopes), flush=True)


def slope(late: Smallest, early: Smallest) -> str:
    """The exponent between a time and half of it, with its error."""
    error = (late.error / late.value + early.error / early.value) / np.log(2)
    return credible(np.log2(late.value / early.value), max(error, 1e-3)) if error < 0.5 else "?"


if __name__ == "__main__":
    main()
