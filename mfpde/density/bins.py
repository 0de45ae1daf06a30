"""A density on bins, and how users name its coordinates and its bins."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.quadrature.rules import outer

Array = NDArray[np.float64]

# Margin around the points, in their range; most bins of an axis.
MARGIN, MOST_BINS = 0.03, 2048


@dataclass(frozen=True)
class Density:
    """A density on bins.

    Attributes:
        axes: Names of its coordinates.
        time: Time of the training.
        edges: Edges of the bins, one array an axis.
        values: Averages over the bins, shape (bins of each axis).
        lost_mass: What lies outside.
        error: Estimated L1 error, nan where it is not known: that of the bins, and of the run itself if that is known.
        field_error: The part of it that comes from the error of the run's mean field; nan if the run has not estimated its own.
        method: How the points were found: "interpolated", "interpolated in y", "followed" or "nodes".
        points: How many.
    """

    axes: tuple[str, ...]
    time: float
    edges: tuple[Array, ...]
    values: Array
    lost_mass: float
    error: float
    method: str
    points: int
    field_error: float = nan

    @property
    def mass(self) -> Array:
        """Mass of each bin, shape (bins of each axis)."""
        return self.values * volumes(self.edges)

    def plot(self, picture: str | Path | None = None) -> Any:
        """The density in its one or two coordinates, as a matplotlib figure.

        Args:
            picture: A .png, .pdf or .svg file to draw it to.

        Raises:
            InputError: If the picture cannot be written, or the density has more coordinates.
        """
        from mfpde.density.picture import draw

        return draw(self, None if picture is None else Path(picture))

    def __str__(self) -> str:
        return f"density of ({', '.join(self.axes)}) at t = {self.time:g}"


def volumes(edges: Sequence[Array]) -> Array:
    """Volumes of the bins, shape (bins of each axis)."""
    return outer(np.diff(e) for e in edges)


def coordinates(axes: Sequence[str], p: int, most: int = 2, biases: bool = False) -> tuple[int, ...]:
    """Numbers of named coordinates in (a, v_1, ..., v_p, r), and with biases b.

    Raises:
        InputError: If there is no such coordinate, or one twice.
    """
    names = ["a", *(f"v{q + 1}" for q in range(p)), "r", *("b" * biases)]
    for name in axes:
        if name not in names:
            raise InputError(f"axes: there is no {name!r}; allowed: one or two of {', '.join(names)}")
    if not 1 <= len(axes) <= most or len(set(axes)) < len(axes):
        raise InputError(f"axes: {','.join(axes)!r}; allowed: one or two different ones of {', '.join(names)}")
    return tuple(names.index(name) for name in axes)


def as_bins(bins: int | Sequence[int | Array], axes: int) -> list[int | Array]:
    """A number of bins or their edges for each axis.

    Raises:
        InputError: If there are none, or too many.
    """
    given: list[Any] = [bins] * axes if isinstance(bins, int) else list(bins)
    if len(given) == 1:
        given = given * axes
    if len(given) != axes:
        raise InputError(f"bins: {len(given)} given for {axes} axes")
    for k, value in enumerate(given):
        if np.ndim(value) == 0 and not 1 <= value <= MOST_BINS:
            raise InputError(f"bins: {value}; allowed: 1 to {MOST_BINS} for each axis")
        if np.ndim(value):
            given[k] = np.asarray(value, dtype=float)
            if np.ndim(value) > 1 or len(given[k]) < 2 or not (np.diff(given[k]) > 0).all():
                raise InputError("bins: edges must ascend")
    return given


def make_edges(given: Sequence[int | Array], points: Array) -> tuple[Array, ...]:
    """Edges of the bins; where only their number is given, around points (axes, n)."""
    found = []
    for bins, x in zip(given, points, strict=True):
        if isinstance(bins, np.ndarray):
            found.append(bins)
            continue
        low, high = float(x.min()), float(x.max())
        margin = max(MARGIN * (high - low), 1e-3 * max(abs(low), abs(high)), 1e-9)
        if abs(low + high) < 0.02 * (high - low):  # symmetric, but for the choice of points
            low, high = -max(-low, high), max(-low, high)
        found.append(np.linspace(low - margin, high + margin, int(bins) + 1))
    return tuple(found)
