"""Indicators of what a run may not resolve, one number each at every record: a table of modules.

A module of this package is one indicator: `compute(view)`, the LIMIT above which the resolution no longer fits, and the ADVICE
what helps.  Where a flow does not have what an indicator looks at, `compute` returns None, and the file has no column of it.
None of them is an error bound; all of them grow before the solution goes wrong.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.features.protocol import Basis, Moments
from mfpde.neurons import Nodes
from mfpde.quadrature.labels import Labels

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelsView:
    """Slices, one for each label.

    Attributes:
        labels: All of them.
        here: Those of this rank.
    """

    labels: Labels
    here: range


@dataclass(frozen=True)
class MeshView:
    """A density on a fixed mesh of y in every slice, and fields that it carries.

    Attributes:
        q: The density, shape (slices, cells, nodes).
        carried: Fields of that shape.
        L: Frame of each slice in units of the initial one, shape (slices, p, p).
        weight: Weights of the nodes, shape (cells, nodes).
        label_weight: Weights of this rank's slices, shape (slices,).
        outer: Cells that touch the boundary.
        points, point_weights: Gauss rule of a cell in one direction, on [0, 1].
        comm: The ranks that share the mesh.
        moves: Whether the density is transported at all.
    """

    q: Array
    carried: tuple[Array, ...]
    L: Array
    weight: Array
    label_weight: Array
    outer: NDArray[np.int64]
    points: Array
    point_weights: Array
    comm: MPI.Intracomm
    moves: bool


@dataclass(frozen=True)
class View:
    """What an indicator looks at: a state of a flow.

    Attributes:
        comm: All ranks.
        modes: The truncation.
        moments: Moments of the state.
        nodes: This rank's neurons, with weights that sum to 1 over all ranks.
        labels: Where there are labels.
        folded: Collective. The mass where v_0 -> v has turned over within a slice, where that can be told.
        mesh: Where there is a fixed mesh.
    """

    comm: MPI.Intracomm
    modes: Basis
    moments: Moments
    nodes: Nodes
    labels: LabelsView | None = None
    folded: Callable[[], float] | None = None
    mesh: MeshView | None = None


@dataclass(frozen=True)
class Indicator:
    """One row of the table.

    Attributes:
        compute: Collective. The number, the same on all ranks; None where it does not exist.
        limit, advice: Above it, say this.
    """

    compute: Callable[[View], float | None]
    limit: float
    advice: str


@cache
def indicators() -> dict[str, Indicator]:
    """All indicators by name."""
    modules = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    return {name: Indicator(module.compute, module.LIMIT, module.ADVICE) for name, module in modules.items()}


def seen(view: View) -> dict[str, float]:
    """Collective. The columns of all indicators that exist of a state, by path."""
    found = {name: row.compute(view) for name, row in indicators().items()}
    return {f"/history/{name}": value for name, value in found.items() if value is not None}


def warnings(values: Mapping[str, float]) -> dict[str, str]:
    """Advice for each indicator that is over its limit."""
    return {name: row.advice for name, row in indicators().items() if values.get(name, 0.0) > row.limit}
