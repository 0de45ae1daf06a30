"""The plateau of z1 + z1 z2 at d = inf: late neurons leave the saddle (a, v) = 0 towards a second cluster, and E goes on falling.

`python examples/plateau.py [FOLDER]` prints E with its error at some times, and draws plateau.png.  Neurons that start with a
small outer weight a_0 move like a_0 e^(t / tau) at first, so the map a_0 -> (A, V) steepens around a_0 = 0 for ever: what a
fixed number of labels leaves out there is felt in the second digit of E from t = 100 on.  The run finds panels that are fine
enough; K = 10, because the Hermite truncation moves the late neurons as well (`--fast`: T = 300 only).
"""

import sys
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI

import mfpde
from mfpde.digits import credible
from mfpde.output.plot import figure

OPTIONS = (
    "target.polynomial=z1 + z1*z2",
    "input.dimension=inf",
    "discretization.accuracy=2e-3",
    "discretization.hermite_degree=10",
    "output.plot=false",
)
# The loss is printed, and the neurons are drawn, at these times.
TIMES = (8.0, 100.0, 300.0, 667.0, 1000.0)


def main() -> None:
    """Collective. The run, a table of E, and the picture."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    folder = Path(words[0]) if words else Path(__file__).parent
    shown = [t for t in TIMES if t <= 300 or "--fast" not in sys.argv]
    records = sorted({*np.geomspace(1.0, shown[-1], 100).round(3).tolist(), *shown, 0.0})
    result = Path(folder) / "plateau.h5"
    numbers = (f"training.final_time={shown[-1]}", f"output.times={records}", f"output.snapshots={list(shown)}")
    config = mfpde.load(None, [*OPTIONS, *numbers, f"output.file={result}"])
    mfpde.solve(MPI.COMM_WORLD, config, mfpde.build_problem(config))
    if MPI.COMM_WORLD.rank == 0:
        report(result, shown)
        draw(result, folder / "plateau.png")


def report(result: Path, shown: list[float]) -> None:
    """E at the times, and where the two clusters are."""
    with h5py.File(result) as file:
        t, E, error = (file[name][:] for name in ("history/time", "history/loss", "error/estimate"))
        for time in shown:
            k = int(np.argmin(np.abs(t - time)))
            print(f"t = {time:6g}   E = {credible(E[k], error[k])}")


def draw(result: Path, picture: Path) -> None:
    """E(t) with its error, and the outer weight A and the position V over the label a_0 at the times of the snapshots."""
    with h5py.File(result) as file, figure(picture, 3) as (drawing, axes):
        drawing.set_size_inches(16, 4.6)
        t, E, error = (file[name][:] for name in ("history/time", "history/loss", "error/estimate"))
        axes[0].fill_between(t, E - error, E + error, alpha=0.3, lw=0)
        axes[0].semilogx(t[1:], E[1:], lw=2)
        axes[0].axhline(0.268, color="k", ls="--", lw=1, label="16, 32 or 48 labels in one Gauss rule: 0.268")
        axes[0].set(xlabel="time $t$", ylabel=r"loss $E(\rho_t)$", title=r"$h^* = z_1 + z_1 z_2$, $\tanh(u + 1/2)$, $d = \infty$")
        axes[0].set_xlim(1.0, t[-1])
        axes[0].legend()
        label = file["slices/label_a"][:]
        order = np.argsort(label)
        for name in sorted(file["slices/snapshots"]):
            group = file[f"slices/snapshots/{name}"]
            A, X = group["A"][:].reshape(len(label)), group["X"][:].reshape(len(label), -1)
            title = f"$t = {group['time'][()]:g}$"
            axes[1].plot(label[order], A[order], ".-", ms=3, lw=1, label=title)
            axes[2].plot(X[order, 0], X[order, 1], ".-", ms=3, lw=1, label=title)
        axes[1].set(xlabel="label $a_0$", ylabel="outer weight $A$", title="outer weights")
        axes[1].set_xscale("symlog", linthresh=1e-3)
        axes[2].set(xlabel="$v_1$", ylabel="$v_2$", title="inner weights, one dot a label")
        for axis in axes:
            axis.grid(alpha=0.3)
        axes[1].legend(fontsize="small")


if __name__ == "__main__":
    main()
