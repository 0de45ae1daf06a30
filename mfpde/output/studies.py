"""Tables and pictures of several results together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.output.plot import figure
from mfpde.studies.converge import Fit
from mfpde.studies.history import Difference, History

Array = NDArray[np.float64]

# Coefficients drawn in a comparison.
MOST = 6


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left and the others to the right."""
    width = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
    lines = [
        [row[0].ljust(width[0]), *(cell.rjust(w) for cell, w in zip(row[1:], width[1:], strict=True))] for row in (head, *rows)
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def plot_comparison(histories: Sequence[History], differences: Sequence[Difference], picture: Path) -> Path:
    """Draws loss, coefficients and differences from the first history, and returns the picture's path."""
    first = histories[0]
    styles = ("-", "--", ":", "-.")
    with figure(picture, 3) as (_, (left, middle, right)):
        for n, history in enumerate(histories):
            left.semilogy(history.times, history.loss, styles[n % 4], color=f"C{n}", label=history.path.name)
            if history.band is not None:
                left.fill_between(history.times, *np.maximum(history.band, 1e-300), color=f"C{n}", alpha=0.25, lw=0)
        left.set(xlabel="time $t$", ylabel=r"loss $E(\rho_t)$ (shaded: 95% band of the mean)")
        order = np.argsort(-np.abs(first.coefficients).max(axis=0), kind="stable")[:MOST]
        for c, i in enumerate(order):
            alpha, j = first.modes[i]
            name = "(" + ",".join(map(str, alpha)) + ")" + (f", j={j}" if j else "")
            for n, history in enumerate(histories):
                if first.modes[i] in history.modes:
                    column = history.coefficients[:, history.modes.index(first.modes[i])]
                    middle.plot(history.times, column, styles[n % 4], color=f"C{c}", label=name if n == 0 else None)
        middle.set(xlabel="time $t$", ylabel="Hermite coefficient $m_i$")
        for n, (history, change) in enumerate(zip(histories[1:], differences, strict=True), 1):
            size = np.where(change.loss == 0, np.nan, np.abs(change.loss))
            right.semilogy(change.times, size, color=f"C{n}", label=history.path.name)
        right.set(xlabel="time $t$", ylabel=f"|difference of E from {first.path.name}|")
        for axis in (left, middle, right):
            axis.grid(alpha=0.3)
            axis.legend(fontsize="small")
    return picture


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
