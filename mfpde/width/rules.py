"""Quadrature rules of the nodes, which are the sources as well: a ladder of panels in each direction of the initial law."""

from math import prod

from mfpde.discretisation.resolution import Resolution
from mfpde.problem.laws import Law
from mfpde.problem.problem import Problem
from mfpde.quadrature.panels import Panels, equal_panels, graded_edges

# Nodes and panels of the labels, and nodes and cells of a direction of y, from coarse to fine.  What moves late from near a = 0
# makes labels of a the dearest; below d = 100 (`SMALL`) a Gauss-Hermite rule stalls where v saturates, and cells do not.
LABELS = {
    "a": ((8, 2), (12, 2), (16, 2), (24, 4), (32, 4), (48, 4)),
    "b": ((4, 1), (6, 1), (8, 2), (12, 2), (16, 2)),
    "r": ((1, 1), (2, 1), (3, 1), (4, 1), (6, 1)),
}
CELLS = ((2, 1), (2, 2), (3, 2), (2, 4), (3, 4), (3, 6), (3, 8), (4, 8))
HERMITE = ((2, 1), (3, 1), (4, 1), (6, 1), (3, 4), (3, 6), (4, 6))
SMALL = 100
# Outermost finite edge of four cells and more, in standard deviations, and how much finer they are at 0.
CORE, GRADING = 1.5, 1.0


def ladder(problem: Problem, name: str, law: Law) -> list[Panels]:
    """Panels of a direction from coarse to fine; a law of atoms has its own alone."""
    if law.atoms is not None:
        return [equal_panels(law, 1, 1)]
    if name in LABELS:
        return [equal_panels(law, nodes, panels) for nodes, panels in LABELS[name]]
    steps = CELLS if problem.d < SMALL else HERMITE
    return [Panels(graded_edges(cells, CORE, GRADING), (nodes,) * cells) for nodes, cells in steps]


def ladders(problem: Problem) -> dict[str, list[Panels]]:
    """Those of all directions that there are; a point start has none of y."""
    laws = problem.label_laws if problem.w.is_point else problem.directions
    return {name: ladder(problem, name, law) for name, law in laws.items()}


def resolution(problem: Problem, chosen: dict[str, Panels]) -> Resolution:
    """The resolution of some panels, for the nodes alone."""
    labels = {name: chosen[name] for name in problem.label_laws}
    return Resolution(labels, {name: each for name, each in chosen.items() if name not in labels}, 1, 0, 1e-8)


def size(panels: dict[str, Panels]) -> int:
    """Nodes of the product rule of some panels."""
    return prod(each.total for each in panels.values())


def eased(ladders: dict[str, list[Panels]], panels: dict[str, Panels], largest: int) -> dict[str, Panels]:
    """Panels one level down in the direction with the most nodes, again and again, until all have at most `largest` together."""
    found = dict(panels)
    while size(found) > largest:
        lower = {name: levels.index(found[name]) - 1 for name, levels in ladders.items() if found[name] != levels[0]}
        if not lower:
            break
        name = max(lower, key=lambda each: found[each].total)
        found[name] = ladders[name][lower[name]]
    return found
