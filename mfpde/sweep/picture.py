"""The phase diagram of a sweep."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.output.plot import figure, plain
from mfpde.sweep.plane import Plane

Array = NDArray[np.float64]

# Panels of a picture, and cells of one that have their number written in them.
MOST_PANELS, MOST_NUMBERS = 12, 80


def draw(plane: Plane, name: str, picture: Path) -> Path:
    """Draws one of the plane's values: over one axis as points, over two in colours, over more in panels of the first two."""
    values, axes = plane.values[name], plane.axes
    further = list(product(*(range(len(axis.values)) for axis in axes[2:])))[:MOST_PANELS]
    with figure(picture, len(further)) as (drawing, panels):
        for panel, index in zip(panels, further, strict=True):
            here: Any = (..., *index)
            part, failed = values[here], plane.messages[here] != ""
            title = ", ".join(f"{axis.name} = {axis.labels[i]}" for axis, i in zip(axes[2:], index, strict=True))
            panel.set_title(plain(title), fontsize="small")
            panel.set_xticks(range(len(axes[0].values)), [plain(text) for text in axes[0].labels])
            panel.set_xlabel(plain(axes[0].name))
            if len(axes) == 1:
                _points(panel, part)
                panel.set_ylabel(name)
            else:
                _colours(drawing, panel, part, failed, name, _norm(values))
                panel.set_yticks(range(len(axes[1].values)), [plain(text) for text in axes[1].labels])
                panel.set_ylabel(plain(axes[1].name))
        drawing.suptitle(plain(plane.texts.get(name, name)), fontsize="medium")
    return picture


def _points(axis: Any, values: Array) -> None:
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() > 10 * finite.min():
        axis.set_yscale("log")
    axis.plot(np.where(np.isfinite(values), values, np.nan), "o-")
    axis.set_xlim(-0.5, len(values) - 0.5)
    axis.grid(alpha=0.3)


def _colours(drawing: Any, axis: Any, values: Array, failed: NDArray[Any], name: str, norm: Any) -> None:
    shown = np.where(np.isfinite(values), values, np.nan)
    image = axis.pcolormesh(
        np.arange(len(values)), np.arange(values.shape[1]), shown.T, shading="nearest", norm=norm, cmap="viridis"
    )
    drawing.colorbar(image, ax=axis, label=name)
    axis.set_facecolor("0.85")
    for i, j in np.ndindex(values.shape):
        text = "failed" if failed[i, j] else "never" if np.isposinf(values[i, j]) else f"{values[i, j]:.3g}"
        if values.size <= MOST_NUMBERS and text != "nan":
            box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.6}
            axis.text(i, j, text, ha="center", va="center", fontsize="small", bbox=box)


def _norm(values: Array) -> Any:
    from matplotlib.colors import LogNorm, Normalize

    finite = values[np.isfinite(values)]
    if not len(finite):
        return Normalize(0, 1)
    low, high = float(finite.min()), float(finite.max())
    return LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high if high > low else low + 1)
