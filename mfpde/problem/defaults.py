"""Numbers of a discretisation that the configuration leaves out, where no run chooses them."""

from dataclasses import dataclass
from math import comb, inf
from typing import Any

from mfpde.problem.sections import Discretization


@dataclass(frozen=True)
class Numbers:
    """A discretisation with all its numbers; see `Discretization` for each of them."""

    hermite_degree: int
    radial_degree: int
    a_nodes: int
    a_panels: int
    r_nodes: int
    b_nodes: int
    b_panels: int
    cells: int
    degree: int
    core_width: float
    grading: float
    tolerance: float


def filled(options: Discretization, p: int, d: float, target_degree: int) -> Numbers:
    """What the configuration gives, and for the rest a choice from p and d.

    In the flow frame it keeps the error of E(t) on [0, 8] near 1e-5 (for smooth activations, of the labels and cells alone,
    at K = 6); in the affine frame near 1e-6 for p <= 2 and d >= 100.
    """
    chosen: dict[str, Any] = {"hermite_degree": max(6, target_degree), "radial_degree": 2, "degree": 3, "tolerance": 1e-8}
    chosen |= {"b_nodes": 12, "b_panels": 2}
    chosen |= {"affine": _affine}.get(options.frame, _flow)(p, d)
    given = {name: getattr(options, name) for name in Numbers.__dataclass_fields__}
    return Numbers(**{name: chosen[name] if value is None else value for name, value in given.items()})


# Modes of a run at the most: as many as p = 3, K = 60 with all j; their coefficients at 81 records fill 200 MB.
LARGEST_MODES = 320_000


def mode_count(p: int, d: float, hermite_degree: int, radial_degree: int) -> int:
    """The number of modes (alpha, j) with |alpha| + 2j <= K = `hermite_degree` and j <= `radial_degree`, or j = 0 at d = inf."""
    most = 0 if d == inf else min(radial_degree, hermite_degree // 2)
    return sum(comb(hermite_degree - 2 * j + p, p) for j in range(most + 1))


def largest_degree(p: int, d: float, radial_degree: int) -> int:
    """The largest K that a run may have."""
    K = 0
    while mode_count(p, d, K + 1, radial_degree) <= LARGEST_MODES:
        K += 1
    return K


def _affine(p: int, d: float) -> dict[str, Any]:
    if p <= 2:
        cells, r_nodes = (24, 4) if d < 30 else (16, 3) if d < 1000 else (10, 2)
        labels = {"cells": cells, "a_nodes": 32, "r_nodes": r_nodes}
    else:
        labels = {"cells": 8 if d < 30 else 6, "a_nodes": 12, "r_nodes": 2 if d < 1e4 else 1}
    return {**labels, "a_panels": 1, "core_width": inf, "grading": 2.25}


def _flow(p: int, d: float) -> dict[str, Any]:
    if p <= 2:
        cells, width, r_nodes = (6, 2.0, 4) if d < 100 else (3, 1.0, 3) if d < 1e4 else (1, 1.0, 2)
        labels = {"cells": cells, "a_nodes": 32 if d >= 1e4 else 24, "r_nodes": r_nodes}
    else:
        labels, width = {"cells": 4, "a_nodes": 12, "r_nodes": 2}, 1.5
    return {**labels, "a_panels": 2, "core_width": width, "grading": 1.5}
