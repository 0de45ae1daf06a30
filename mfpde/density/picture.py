"""Pictures of densities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.density.bins import Density
from mfpde.errors import InputError
from mfpde.output.history import open_result
from mfpde.output.plot import figure, title_of
from mfpde.paths import check_picture

Array = NDArray[np.float64]


def plot_density(result: Path, picture: Path, densities: Sequence[Density]) -> Path:
    """Draws densities of a result side by side, in the coordinates of each."""
    with open_result(result) as file, figure(picture, len(densities)) as (drawing, axes):
        for axis, density in zip(axes, densities, strict=True):
            _draw_labelled(drawing, axis, density)
        times = " and ".join(dict.fromkeys(f"$t = {density.time:g}$" for density in densities))
        drawing.suptitle(f"{title_of(file)},  {times}", fontsize="medium")
    return picture


def draw(density: Density, picture: Path | None) -> Any:
    """Draws a density of one or two coordinates on its own, to a file if one is given, and returns the figure.

    Raises:
        InputError: If the picture cannot be written, or the density has more coordinates.
    """
    if len(density.axes) > 2:
        raise InputError(f"plot: a density of ({', '.join(density.axes)}); allowed: of one or two coordinates")
    if picture is not None:
        check_picture(picture, "picture")
    canvas = figure(Path("unused.png") if picture is None else picture, 1)
    _draw_labelled(canvas.figure, canvas.axes[0], density)
    canvas.axes[0].set_title(f"$t = {density.time:g}$", fontsize="medium")
    if picture is not None:
        canvas.__exit__(None)
    return canvas.figure


def _draw_labelled(drawing: Any, axis: Any, density: Density) -> None:
    """A curve, or an image with its colour bar, with labels."""
    label = f"density of ({', '.join(map(_symbol, density.axes))})" if len(density.axes) > 1 else "density"
    if len(density.axes) == 1:
        axis.fill_between(_middle(density.edges[0]), density.values, alpha=0.25, lw=0)
        axis.plot(_middle(density.edges[0]), density.values, lw=1.5)
        axis.set(xlabel=_symbol(density.axes[0]), ylabel=label, ylim=(0, None))
        axis.grid(alpha=0.3)
    else:
        drawing.colorbar(draw_density(axis, density), ax=axis, label=label)


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
