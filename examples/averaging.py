"""Is averaging needed?  The smallest eigenvalue of the kernel matrix for 1 to 2 p copies: two tables, and a picture.

`python examples/averaging.py [FOLDER]`: point start at d = inf, stage 2 up to T with tanh(u + 1/2), then the activation
(1 + u)^deg(h*).  First lambda_min at T = 4 for eleven targets; in brackets what fewer labels and digits change by more
than a tenth.  Then the exponent of lambda_min ~ T^e, from T = 1/16 and 1/32.
"""

import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from mfpde.evolution.lagrangian import LagrangianFlow, Nodes
from mfpde.features.features import Features
from mfpde.features.modes import modes_of
from mfpde.problem.config import load
from mfpde.problem.problem import Problem, build_problem
from mfpde.training.averaging import Moments, law_moments
from mfpde.training.spectrum import Spectrum, kernel_modes, spectrum
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


def labels(panels: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre rules of U(-1, 1) on panels that halve towards a = 0, where w(a) changes fastest at large T."""
    x, w = np.polynomial.legendre.leggauss(points)
    edges = np.concatenate(([0.0], 0.5 ** np.arange(panels - 1.0, -1.0, -1.0)))
    width = np.diff(edges)[:, None]
    a, weight = (edges[:-1, None] + width * (1 + x) / 2).ravel(), (width * w / 4).ravel()
    return np.concatenate((-a[::-1], a)), np.concatenate((weight[::-1], weight))


def law(problem: Problem, panels: int, points: int, tolerance: float) -> Moments:
    """The moments of w at the end of stage 2."""
    numbers = load(None).discretization
    a, weight = labels(panels, points)
    start = Nodes(a, np.zeros((problem.p, len(a))), np.zeros_like(a), weight)
    features = Features(MPI.COMM_SELF, modes_of(problem, numbers), problem.stages[0].activation)
    end = train(problem, LagrangianFlow(problem, features, start), [], tolerance, Silent(), stages=1)
    moments = law_moments(MPI.COMM_SELF, neurons(end), problem.d - problem.p, 2 * problem.stages[1].degree)
    assert moments is not None
    return moments


def spectra(target: str, time: float) -> list[Spectrum]:
    """Of the kernel matrices for 1 to 2 p copies."""
    options = [f"target.polynomial={target}", f"training.final_time={time}", "training.strategy=chen-ge"]
    problem = build_problem(load(None, [*options, "input.dimension=inf", "initial.w=zero"]))
    fine, rough = law(problem, 8, 16, 1e-13), law(problem, 6, 12, 1e-12)
    activation = problem.stages[1].activation.polynomial
    assert activation is not None
    modes = kernel_modes(problem.p, problem.stages[1].degree, np.inf, False)
    return [spectrum(fine.average(n), activation, modes, rough.average(n)) for n in range(1, 2 * problem.p + 1)]


def cell(found: Spectrum) -> str:
    """lambda_min; 0 where it is less than the rounding of 32 digits."""
    value = found.eigenvalues[0]
    if value < 1e-28 * found.eigenvalues[-1]:
        return "0"
    return f"{value:.2e}" if found.certain[0] else f"({value:.0e})"


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
        cells = [cell(found) for found in spectra(target, 4.0)]
        print(row(target, cells), flush=True)
        if "0" not in cells:
            values = [float(value.strip("()")) for value in cells]
            axes.semilogy(np.arange(1, len(values) + 1), values, "o-", label=target)
    axes.set(xlabel="copies", ylabel=r"$\lambda_{\min}(K)$", title="point start, $T = 4$")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    figure.savefig(folder / "averaging.png")

    print(f"exponent of lambda_min ~ T^e\n{heading}")
    for target in ("z1 + z1^2", "z1 + z1*z2"):
        late, early = spectra(target, 1 / 16), spectra(target, 1 / 32)
        slopes = [np.log2(a.eigenvalues[0] / b.eigenvalues[0]) for a, b in zip(late, early, strict=True)]
        known = [a.certain[0] and b.certain[0] for a, b in zip(late, early, strict=True)]
        print(row(target, [f"{e:.2f}" if k else "?" for e, k in zip(slopes, known, strict=True)]))


if __name__ == "__main__":
    main()
