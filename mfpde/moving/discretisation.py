"""Finite elements that follow the flow, as a discretisation: directions, start, and what their files hold."""

from dataclasses import dataclass

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisation.mesh import mesh_refusal
from mfpde.discretisation.protocol import Direction
from mfpde.discretisation.reading import recorded_field, recorded_modes, recorded_shift
from mfpde.discretisation.recorded import PushForward, Snapshot
from mfpde.discretisation.resolution import Resolution, make_labels
from mfpde.errors import InputError
from mfpde.features.bases import basis_of
from mfpde.memory import check_memory
from mfpde.moving.cells import point_cells
from mfpde.moving.elements import make_elements
from mfpde.moving.flow import MovingFlow
from mfpde.problem.laws import Law
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.panels import Panels, equal_panels
from mfpde.quadrature.refinement import refined, refined_cells
from mfpde.quadrature.rules import Rule, gauss_rule, in_directions

Array = NDArray[np.float64]

# Where refinement begins: nodes of a label, and the panels of equal probability that they are divided into; nodes of a direction
# of y, in two cells below this dimension.
COARSEST = {"a": (8, 2), "b": (4, 1), "r": (2, 1)}
COARSEST_OF_Y, SMALL = 3, 100


@dataclass(frozen=True)
class MovingElements:
    """A `Discretisation`."""

    name: str = "flow"
    estimates: bool = True

    def refusal(self, problem: Problem, options: Discretization) -> str | None:
        if options.mesh is not None:
            return 'discretization.mesh: a mesh file is for the affine frame; allowed: with discretization.frame = "affine"'
        return mesh_refusal(problem)

    def directions(self, problem: Problem) -> dict[str, Direction]:
        found = {
            name: Direction(law, "labels", equal_panels(law, *COARSEST[name]), refined)
            for name, law in problem.label_laws.items()
        }
        if problem.w.is_point:
            return found
        edges = () if problem.d >= SMALL else (0.0,)
        cells = Panels(edges, (COARSEST_OF_Y,) * (len(edges) + 1))
        return found | {name: Direction(law, "mesh", cells, refined_cells) for name, law in problem.y_laws.items()}

    def start(
        self, comm: MPI.Intracomm, problem: Problem, options: Discretization, resolution: Resolution, mesh_ranks: int = 0
    ) -> MovingFlow:
        check_memory(comm, resolution.nodes, len(problem.directions))
        features = basis_of(problem, resolution).features(comm, problem)
        labels = make_labels(problem, resolution)
        panels = [*resolution.y.values()] or [Panels((), (1,))] * problem.p
        edges, counts = tuple(each.edges for each in panels), tuple(each.counts[0] for each in panels)
        return MovingFlow(problem, features, make_elements(comm, labels, edges, counts, mesh_ranks))

    def read(self, file: h5py.File, problem: Problem) -> PushForward:
        if "resolution" not in file:
            raise InputError(f"{file.filename!r} holds no elements that follow the flow")
        modes = recorded_modes(file, problem)
        group, labels = file["resolution"], problem.label_laws.items()
        rules = tuple(_rule(group, "squared_radius" if name == "r" else name, law) for name, law in labels)
        if problem.w.is_point:
            rules = (*rules, *point_cells(problem.p).rules)
        else:
            rules = (*rules, *(_rule(group, name, law) for name, law in problem.y_laws.items()))
        snapshots = file.get("slices/snapshots", {})
        found = tuple(_snapshot(snapshots[name], rules, problem.p) for name in sorted(snapshots))
        field, shift = recorded_field(file, modes), recorded_shift(file, problem)
        return PushForward(problem, modes, field, rules, found, shift)


def _rule(group: h5py.Group, name: str, law: Law) -> Rule:
    return gauss_rule(law, group[f"{name}_counts"][:].tolist(), group[f"{name}_edges"][1:-1].tolist())


def _snapshot(group: h5py.Group, rules: tuple[Rule, ...], p: int) -> Snapshot:
    X = np.moveaxis(group["X"][:], -1, 0)
    fields = (group["A"][:], *X, group["R"][:], *([group["B"][:]] if "B" in group else []))
    return Snapshot(float(group["time"][()]), np.array([in_directions(x, rules, p) for x in fields]))
