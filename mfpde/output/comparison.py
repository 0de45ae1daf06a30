"""The picture of several results together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mfpde.output.history import Difference, History
from mfpde.output.plot import figure, plain

# Coefficients drawn in a comparison.
MOST = 6


def plot_comparison(histories: Sequence[History], differences: Sequence[Difference], picture: Path) -> Path:
    """Draws loss, coefficients and differences from the first history, and returns the picture's path."""
    first = histories[0]
    styles = ("-", "--", ":", "-.")
    with figure(picture, 3) as (_, (left, middle, right)):
        for n, history in enumerate(histories):
            left.semilogy(history.times, history.loss, styles[n % 4], color=f"C{n}", label=plain(history.path.name))
            if history.band is not None:
                left.fill_between(history.times, *np.maximum(history.band, 1e-300), color=f"C{n}", alpha=0.25, lw=0)
        left.set(xlabel="time $t$", ylabel=r"loss $E(\rho_t)$ (shaded: 95% band of the mean)")
        first = next((history for history in histories if history.modes), first)
        reference = histories[0]
        order = np.argsort(-np.abs(first.coefficients).max(axis=0), kind="stable")[:MOST]
        for c, i in enumerate(order):
            alpha, j = first.modes[i]
            name = "(" + ",".join(map(str, alpha)) + ")" + (f", j={j}" if j else "")
            for n, history in enumerate(histories):
                if first.modes[i] in history.modes:
                    column = history.coefficients[:, history.modes.index(first.modes[i])]
                    middle.plot(history.times, column, styles[n % 4], color=f"C{c}", label=name if history is first else None)
        middle.set(xlabel="time $t$", ylabel="Hermite coefficient $m_i$")
        for n, (history, change) in enumerate(zip(histories[1:], differences, strict=True), 1):
            size = np.where(change.loss == 0, np.nan, np.abs(change.loss))
            right.semilogy(change.times, size, color=f"C{n}", label=plain(history.path.name))
        right.set(xlabel="time $t$", ylabel=f"|difference of E from {plain(reference.path.name)}|")
        for axis in (left, middle, right):
            axis.grid(alpha=0.3)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize="small")
    return picture
