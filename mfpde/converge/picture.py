"""The picture of a convergence study."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.converge.study import Fit
from mfpde.output.plot import figure

Array = NDArray[np.float64]


def plot_study(values: Array, errors: Array, line: Fit, falling: bool, name: str, picture: Path) -> Path:
    """Draws errors against the varied number on logarithmic axes with the fitted line, and returns the picture's path."""
    with figure(picture, 1) as (_, axes):
        draw_study(axes[0], values, errors, line, falling, name)
    return picture


def draw_study(axis: Any, values: Array, errors: Array, line: Fit, falling: bool, name: str) -> None:
    """One study on given axes."""
    axis.loglog(values, np.where(errors > 0, errors, np.nan), "o", ms=6)
    if np.isfinite(line.order):
        dense = np.geomspace(values.min(), values.max(), 100)
        axis.loglog(dense, line(dense, falling), "-", lw=1, label=str(line))
        axis.legend()
    axis.xaxis.minorticks_off()
    axis.set_xticks(values, [f"{value:g}" for value in values], fontsize="small")
    axis.set(xlabel=name, ylabel="error of $E(t)$")
    axis.grid(alpha=0.3, which="both")
