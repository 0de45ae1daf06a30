"""Pictures of densities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.density.bins import Density
from mfpde.output.history import open_result
from mfpde.output.plot import figure, title_of

Array = NDArray[np.float64]


def plot_density(result: Path, picture: Path, densities: Sequence[Density]) -> Path:
    """Draws densities of a result side by side, in the coordinates of each."""
    with open_result(result) as file, figure(picture, len(densities)) as (drawing, axes):
        for axis, density in zip(axes, densities, strict=True):
            label = f"density of ({', '.join(map(_symbol, density.axes))})" if len(density.axes) > 1 else "density"
            if len(density.axes) == 1:
                axis.fill_between(_middle(density.edges[0]), density.values, alpha=0.25, lw=0)
                axis.plot(_middle(density.edges[0]), density.values, lw=1.5)
                axis.set(xlabel=_symbol(density.axes[0]), ylabel=label, ylim=(0, None))
                axis.grid(alpha=0.3)
            else:
                drawing.colorbar(draw_density(axis, density), ax=axis, label=label)
        times = " and ".join(dict.fromkeys(f"$t = {density.time:g}$" for density in densities))
        drawing.suptitle(f"{title_of(file)},  {times}", fontsize="medium")
    return picture


def draw_density(axis: Any, density: Density, top: float | None = None, gamma: float = 0.5) -> Any:
    """Draws a density of two coordinates on given axes and returns the image.

    Args:
        axis: Axes of matplotlib to draw in.
        density: To draw.
        top: The value of the brightest colour.
        gamma: Colours go with the density to this power, which shows crest and foot of a ridge alike.
    """
    from matplotlib.colors import PowerNorm

    values = density.values
    if top is None:  # single bins may stand out: where a map folds, the density has a pole that can be integrated
        inside = values[values > 0]
        order = np.sort(inside)[::-1]
        share = np.cumsum(order) / order.sum()
        top = float(order[np.searchsorted(share, PEAK)])
    image = axis.pcolormesh(*density.edges, values.T, norm=PowerNorm(gamma, 0, top), cmap="magma", rasterized=True)
    axis.set(xlabel=_symbol(density.axes[0]), ylabel=_symbol(density.axes[1]))
    axis.set_facecolor("black")
    return image


# Mass that is drawn in the brightest colour.
PEAK = 0.02


def _symbol(name: str) -> str:
    """A coordinate in a formula."""
    return f"${name[0]}_{name[1:]}$" if len(name) > 1 else f"${name}$"


def _middle(edges: Array) -> Array:
    return (edges[1:] + edges[:-1]) / 2
