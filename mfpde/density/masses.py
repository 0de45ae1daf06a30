"""The density of a run that is known as masses at points, on bins; its error is not known."""

from collections.abc import Sequence
from math import nan

import numpy as np
from numpy.typing import NDArray

from mfpde.density.bins import Density, as_bins, coordinates, make_edges, volumes
from mfpde.density.grid import Grid
from mfpde.discretisation.recorded import PointMasses
from mfpde.errors import InputError

Array = NDArray[np.float64]

# Finer bins in each; mass below which a point does not count for the range.
PARTS, FAINT = 2, 1e-9


def masses_density(
    run: PointMasses, axes: tuple[str, ...], time: float | None, bins: int | Sequence[int | Array] = 200, most_axes: int = 2
) -> Density:
    """The density at a time at which it is known; arguments as for `mfpde.density.density`.

    Raises:
        InputError: If there is no such time or coordinate.
    """
    if time is None:
        time = max(run.times)
    found = [number for number, t in enumerate(run.times) if abs(t - time) <= 1e-9 * max(abs(time), 1e-300)]
    if not found:
        allowed = ", ".join(f"{t:g}" for t in run.times)
        raise InputError(f"time {time:g}: in this frame there are snapshots alone; allowed: {allowed}")
    index = list(coordinates(axes, run.p, most_axes))
    given = as_bins(bins, len(axes))
    limits = np.array([[np.inf] * len(axes), [-np.inf] * len(axes)])
    for x, mass in run.points(found[0]):
        kept = x[index][:, mass > FAINT * mass.max(initial=0.0)]
        limits = np.array([np.minimum(limits[0], kept.min(axis=1)), np.maximum(limits[1], kept.max(axis=1))])
    grid, count = Grid(make_edges(given, limits.T), PARTS), 0
    for x, mass in run.points(found[0]):
        grid.deposit(np.ascontiguousarray(x[index]), mass)
        count += len(mass)
    total = float(grid.raw.sum())
    lost = max(0.0, 1 - float(grid.mass.sum()) / total)
    return Density(axes, time, grid.edges, grid.mass / total / volumes(grid.edges), lost, nan, "nodes", count)
