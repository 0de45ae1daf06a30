"""Scrambled Sobol' nets as a discretisation, `discretization.nodes = "net"`: start, and what their files hold."""

from dataclasses import dataclass

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisation.protocol import Direction
from mfpde.discretisation.reading import CHECKED, check_followed, recorded_field, recorded_modes, recorded_shift
from mfpde.discretisation.recorded import PushForward, Snapshot
from mfpde.discretisation.resolution import NET_POINTS, Net, Resolution
from mfpde.errors import InputError
from mfpde.evolution.net import net_nodes, node_count, spread_directions
from mfpde.evolution.passive import Passive, nodes_of, stacked, tensor_nodes
from mfpde.features.bases import basis_of
from mfpde.memory import check_memory
from mfpde.moving.cells import point_cells
from mfpde.nets.flow import NetFlow
from mfpde.parallel import share
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.panels import Panels, equal_panels, graded_edges
from mfpde.quadrature.rules import Rule

Array = NDArray[np.float64]

# Rounding of a time, relative to the last one.
ROUNDING = 1e-9
# Cells in each direction of y, and their nodes, by p, of the panels on which the map of the neurons is known.
CELLS = {1: (6, 4), 2: (6, 4), 3: (2, 4)}


@dataclass(frozen=True)
class ScrambledNet:
    """A `Discretisation`: any number of directions, none of which is refined by itself."""

    name: str = "net"
    estimates: bool = True

    def refusal(self, problem: Problem, options: Discretization) -> str | None:
        if spread_directions(problem):
            return None
        return 'discretization.nodes: "net", and the initial law consists of a few points; allowed: "panels"'

    def directions(self, problem: Problem) -> dict[str, Direction]:
        return {}

    def start(
        self, comm: MPI.Intracomm, problem: Problem, options: Discretization, resolution: Resolution, mesh_ranks: int = 0
    ) -> NetFlow:
        net = resolution.net or Net(NET_POINTS)
        count = node_count(problem, net.points)
        check_memory(comm, count, len(problem.directions))
        features = basis_of(problem, resolution).features(comm, problem)
        return NetFlow(problem, features, net_nodes(problem, net.points, net.scramble, *share(comm, count)))

    def read(self, file: h5py.File, problem: Problem) -> PushForward:
        if "nodes" not in file:
            raise InputError(f"{file.filename!r} holds no nodes of a net")
        modes = recorded_modes(file, problem)
        field = recorded_field(file, modes)
        group = file.get("slices/snapshots", {})
        times = [float(group[name]["time"][()]) for name in sorted(group)]
        known = [t for t in times if len(field.times) and t <= field.end * (1 + ROUNDING)]
        rules = _panels(problem)
        found: tuple[Snapshot, ...] = ()
        if known:
            passive = Passive(problem, modes, field, known[-1], stops=known)
            if known[-1] > 0:
                _check(file, group[f"{len(known) - 1:04d}"], problem, passive)
            along = passive.along(tensor_nodes(problem, rules))
            shape = tuple(len(rule) for rule in rules)
            found = tuple(Snapshot(t, stacked(x).reshape(-1, *shape)) for t, x in zip(known, along, strict=True))
        return PushForward(problem, modes, field, rules, found, recorded_shift(file, problem))


def _panels(problem: Problem) -> tuple[Rule, ...]:
    """Rules on which the map of the neurons is known to begin with: where these do not do, `mfpde.density` refines them."""
    numbers = {"a": (16, 2), "b": (4, 1), "r": (2, 1)}
    labels = [equal_panels(law, *numbers[name]).rule(law) for name, law in problem.label_laws.items()]
    if problem.w.is_point:
        return (*labels, *point_cells(problem.p).rules)
    cells, nodes = CELLS.get(problem.p, (1, 3))
    edges = graded_edges(cells, 2.0, 1.5)
    return (*labels, *(Panels(edges, (nodes,) * cells).rule(law) for law in problem.y_laws.values()))


def _check(file: h5py.File, snapshot: h5py.Group, problem: Problem, passive: Passive) -> None:
    """
    Raises:
        InputError: If some nodes, followed, go elsewhere than those of the run did.
    """
    count = len(file["nodes/a"])
    some = np.unique(np.linspace(0, count - 1, CHECKED).astype(np.int64))
    start = _rows(file["nodes"], ("a", "v", "r", "b"), some)
    followed = stacked(passive(nodes_of(start, problem.p)))
    check_followed(start, followed, _rows(snapshot, ("A", "X", "R", "B"), some), passive.stops[-1])


def _rows(group: h5py.Group, names: tuple[str, ...], some: NDArray[np.int64]) -> Array:
    """Some of the nodes of a group, as rows of `stacked`."""
    found = [group[name][:][some] for name in names if name in group]
    return np.concatenate([values.T.reshape(-1, len(some)) for values in found])
