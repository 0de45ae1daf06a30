"""The density of a file in the affine frame, v = M + L y: every label's fields on the reference mesh, on bins.

The fields are interpolated to a finer grid in every cell and its mass is left on the bins.  Labels are not interpolated:
what is drawn is a sum of one density a label, and its error is not known.
"""

from collections.abc import Iterator, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.density.bins import Density, as_bins, coordinates, make_edges, volumes
from mfpde.density.grid import Grid
from mfpde.errors import InputError
from mfpde.output.history import open_result

Array = NDArray[np.float64]

# Points per cell and direction, by dimension; finer bins in each; mass below which a point does not count for the range.
FINE = {1: 64, 2: 12, 3: 6}
PARTS, FAINT = 2, 1e-9


def affine_density(
    path: Path, axes: tuple[str, ...], time: float | None, bins: int | Sequence[int | Array] = 200, most_axes: int = 2
) -> Density:
    """The density at a snapshot; arguments as for `mfpde.density.density`.

    Raises:
        InputError: If there is no such snapshot or coordinate.
    """
    with open_result(path) as file:
        snapshots = file["slices/snapshots"]
        known = {name: float(snapshots[name]["time"][()]) for name in sorted(snapshots)}
        if time is None:
            time = max(known.values())
        found = [name for name, t in known.items() if abs(t - time) <= 1e-9 * max(abs(time), 1e-300)]
        if not found:
            allowed = ", ".join(f"{t:g}" for t in known.values())
            raise InputError(f"time {time:g}: in the affine frame there are snapshots alone; allowed: {allowed}")
        group = snapshots[found[0]]
        index = list(coordinates(axes, group["M"].shape[1], most_axes))
        given = as_bins(bins, len(axes))
        limits = np.array([[np.inf] * len(axes), [-np.inf] * len(axes)])
        for x, mass in _points(file, group):
            kept = x[index][:, mass > FAINT * mass.max(initial=0.0)]
            limits = np.array([np.minimum(limits[0], kept.min(axis=1)), np.maximum(limits[1], kept.max(axis=1))])
        grid, count = Grid(make_edges(given, limits.T), PARTS), 0
        for x, mass in _points(file, group):
            grid.deposit(np.ascontiguousarray(x[index]), mass)
            count += len(mass)
    total = float(grid.raw.sum())
    lost = max(0.0, 1 - float(grid.mass.sum()) / total)
    return Density(axes, time, grid.edges, grid.mass / total / volumes(grid.edges), lost, nan, "nodes", count)


def _points(file: Any, group: Any) -> Iterator[tuple[Array, Array]]:
    """(a, v, r) and masses of each slice, its fields interpolated to a finer grid in every cell."""
    y, weight, labels = file["slices/y"][:], file["slices/y_weight"][:], file["slices/label_weight"][:]
    p, n = y.shape[2], round(y.shape[1] ** (1 / y.shape[2]))
    once = np.ones((1, 1)) if n == 1 else _interpolation(n, FINE[p])
    transfer = once
    for _ in range(p - 1 if n > 1 else 0):
        transfer = np.asarray(np.kron(transfer, once), dtype=np.float64)
    fine, volume = np.einsum("fn,cnp->cfp", transfer, y), weight.sum(axis=1)
    for s, label in enumerate(labels):
        q = np.maximum(group["q"][s] @ transfer.T, 0.0)
        mass = label * q * volume[:, None] / q.shape[1]
        v = fine @ group["L"][s].T + group["M"][s]
        a, r = ((group[name][s] @ transfer.T).ravel() for name in ("A", "R"))
        yield np.concatenate((a[None], v.reshape(-1, p).T, r[None])), mass.ravel()


def _interpolation(n: int, fine: int) -> Array:
    """From n Gauss points of a cell to the centres of `fine` equal parts."""
    x = np.polynomial.legendre.leggauss(n)[0]
    centres = (2 * np.arange(fine) + 1.0) / fine - 1.0
    vandermonde = np.polynomial.legendre.legvander
    return np.asarray(vandermonde(centres, n - 1) @ np.linalg.inv(vandermonde(x, n - 1)))
