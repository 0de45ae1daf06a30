"""The staircase being learned: the density of (v1, v2) at five times, and the loss.

    python examples/density_film.py [FOLDER]

First the neurons spread along v1, where z1 is learned; the more of it they have, the faster their square pulls them along
v2, where z1 z2 lies: the density bends into an arc, and its ends become the two features of z1 z2.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from mpi4py import MPI

import mfpde
from mfpde.density.picture import draw_density

matplotlib.use("Agg")

TIMES = (0.0, 1.5, 3.0, 6.0, 14.0)
BINS = (np.linspace(-1.6, 1.6, 321), np.linspace(-1.15, 0.55, 256))
INK, PAPER, WARM = "#e8e4da", "#000004", "#fc8961"


def film(result: Path, picture: Path) -> None:
    """Draws the frames above the loss."""
    import matplotlib.pyplot as plt

    history = mfpde.read_history(result)
    with plt.rc_context(
        {"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK}
    ):
        figure = plt.figure(figsize=(15, 5.6), dpi=150, facecolor=PAPER)
        grid = figure.add_gridspec(
            2, len(TIMES), height_ratios=(2.6, 1), left=0.05, right=0.985, top=0.94, bottom=0.11, hspace=0.42
        )
        grid.update(wspace=0.06)
        for column, time in enumerate(TIMES):
            found = mfpde.density(result, ("v1", "v2"), time=time, bins=BINS)
            print(f"t = {time:<4g} L1 error {found.error:.1e}, {found.points} points, {found.method}", flush=True)
            axis = figure.add_subplot(grid[0, column], facecolor=PAPER)
            draw_density(axis, found, gamma=0.4)
            axis.set_title(f"$t = {time:g}$", fontsize=13)
            axis.set(xlabel="$v_1$", ylabel="$v_2$" if column == 0 else "", xticks=(-1, 0, 1))
            if column:
                axis.set_yticklabels([])
            axis.tick_params(length=2)
            for side in axis.spines.values():
                side.set_visible(False)
        below = figure.add_subplot(grid[1, :], facecolor=PAPER)
        below.plot(history.times, history.loss, color=WARM, lw=2)
        at = np.interp(TIMES, history.times, history.loss)
        below.plot(TIMES, at, "o", color=INK, ms=6, zorder=3)
        below.set(xlabel="time $t$", ylabel="loss $E$", xlim=(0, history.times[-1]), ylim=(0, 1.05))
        for side in ("top", "right"):
            below.spines[side].set_visible(False)
        figure.savefig(picture, facecolor=PAPER)
        plt.close(figure)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    result = folder / "density_film.h5"
    given = [
        "input.dimension=100",
        f"training.final_time={TIMES[-1]}",
        f"output.file={result}",
        "output.plot=false",
        "discretization.accuracy=false",
    ]
    config = mfpde.load(None, given)
    mfpde.solve(MPI.COMM_SELF, config, mfpde.build_problem(config))
    film(result, folder / "density_film.png")
    result.unlink()


if __name__ == "__main__":
    main()
