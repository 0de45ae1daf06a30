"""z1 + z1 z2 z3 is a trap: at d = inf training w leaves w_2 = w_3 = 0, and the loss stays above 1/2; at finite d it escapes.

`mpirun -n 2 python examples/trapped.py [FOLDER]` prints the loss of the last stage of Algorithm 1 at some times, with its
error, and draws trapped.png.  T = 12 and 18 of training w at d = 100 and 10^4.
"""

import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI
from strategy_rates import run

from mfpde.digits import credible, scientific

TARGET = "z1 + z1*z2*z3"
# d, T, and nodes of a direction of y (one panel of Gauss nodes).
CASES = (("inf", 12.0, ()), ("1e4", 18.0, (7,)), ("1e2", 12.0, (7,)))


def main() -> None:
    found = []
    for d, T, nodes in CASES:
        given = ["r_nodes=1", "radial_degree=2", "a_nodes=24", "hermite_degree=10"] if nodes else []
        given += [key for n in nodes for key in ("cells=1", f"degree={n - 1}")]
        found.append(run(TARGET, "gaussian", d, tuple(given), T))
    if MPI.COMM_WORLD.rank != 0:
        return
    print("| d | lambda = 0 | smallest other | t = 10^2 | 10^4 | 10^6 | 10^8 |")
    for case in found:
        values = case.linear.spectrum.eigenvalues
        zero = np.abs(values) < 1e-28 * values[-1]
        at = 10.0 ** np.array([2.0, 4.0, 6.0, 8.0])
        found = zip(case.loss(at), case.linear.uncertainty(at), strict=True)
        losses = [credible(E, error) if E > 1e-3 else scientific(E, error) for E, error in found]
        smallest = scientific(values[~zero][0], case.linear.spectrum.uncertainty[~zero][0])
        print(" | ".join([f"| {case.d:g}", str(zero.sum()), smallest, *losses]) + " |")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    t = np.geomspace(0.1, 1e12, 600)
    for case in found:
        axes.semilogx(t, case.loss(t), lw=2, label=f"$d = {case.d:g}$".replace("inf", r"\infty"))
    axes.axhline(0.5, color="k", ls="--", lw=1, label=r"$\frac{1}{2} E|h^* - h^*_{S\perp}|^2$")
    axes.set(xlabel="time $t - T$ of training $a$", ylabel="loss", title="$h^* = z_1 + z_1 z_2 z_3$", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig((Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent) / "trapped.png")


if __name__ == "__main__":
    main()
