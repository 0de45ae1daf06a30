"""Finite elements that follow the flow, `discretization.frame = "flow"`.

Every slice l = (a_0, r_0) carries nodal fields on the reference cells of y ~ N(0, I_p):

    v = X_l(y, t),  A_l(y, t),  R_l(y, t);      X_l(y, 0) = y / sqrt(d),  A_l(y, 0) = a_0,  R_l(y, 0) = r_0

and with biases, where a slice is l = (a_0, b_0, r_0), B_l(y, t) with B_l(y, 0) = b_0.

They are the discontinuous Galerkin discretisation whose mesh moves with the nodal interpolant of the velocity: the remainder
velocity vanishes at all nodes, which are the quadrature points as well, so every transport term is 0 and the mass
Q = q J of a node stays what it was.  Nothing divides by J = det dX/dy: where v_0 -> v folds within a slice, the run goes on.
What is left of the error is that of the quadrature, of order 2 n on cells with n nodes in each direction, and where the
fields are evaluated between the nodes that of their interpolation, of order n.
"""

from collections.abc import Mapping
from functools import cached_property
from math import gcd

import numpy as np
from numpy.typing import NDArray

from mfpde.discretisation.grid import slice_datasets
from mfpde.evolution.flow import Field, Observation, Reader
from mfpde.evolution.indicators import LabelsView, View, seen
from mfpde.evolution.lagrangian import LagrangianFlow, contributions
from mfpde.features.protocol import Features
from mfpde.moving.elements import Elements
from mfpde.moving.folds import folded
from mfpde.neurons import Cloud, Nodes
from mfpde.problem.problem import Problem
from mfpde.quadrature.rules import Rule, in_directions

Array = NDArray[np.float64]

# Nodes that are looked at for folds.
MOST_LOOKED_AT = 50_000


class MovingFlow(LagrangianFlow):
    """The flow of the elements' nodes in one stage; a `StageFlow`. Collective to construct and to evaluate.

    Args:
        problem: What to solve; the same on all ranks.
        features: Features of the stage's activation, over all ranks.
        elements: Labels and cells.
        start: This rank's nodes at the start of the stage; at t = 0 if not given.
        number: Number of the stage.
    """

    def __init__(
        self, problem: Problem, features: Features, elements: Elements, start: Nodes | None = None, number: int = 0
    ) -> None:
        super().__init__(problem, features, elements.nodes(problem.w) if start is None else start, number)
        self.elements, self.labels, self.grid = elements, elements.labels, elements.grid

    def next_stage(self, number: int, vector: Array) -> "MovingFlow":
        features, nodes = self._handed_on(number, vector)
        return MovingFlow(self.problem, features, self.elements, nodes, number)

    def restarted(self, number: int, read: Reader) -> "MovingFlow":
        features, nodes = self._restarted_parts(number, read)
        return MovingFlow(self.problem, features, self.elements, nodes, number)

    def by_slice(self, nodes: Nodes) -> Cloud:
        """The nodes in slices, with the masses of the reference cells."""
        slices, cells, count = self.elements.shape
        flat = (slices, cells * count)
        v = np.ascontiguousarray(np.moveaxis(nodes.v.reshape(len(nodes.v), *flat), 0, 1))
        b = None if nodes.b is None else nodes.b.reshape(flat)
        return Cloud(nodes.a.reshape(flat), v, nodes.r.reshape(flat), b, weight=self.elements.cells.mass.ravel())

    def observe(self, time: float, vector: Array) -> Observation:
        nodes = self.nodes(vector)
        moments = self.features.moments(self.by_slice(nodes), self.elements.label_weight)
        labels = LabelsView(self.labels, self.grid.slices)
        view = View(self.comm, self.modes, moments, nodes, labels, folded=lambda: self.folded(nodes))
        mass = float(self.labels.weight.sum() * self.grid.mesh_comm.allreduce(float(self.elements.cells.mass.sum())))
        return Observation(moments.all, {**seen(view)}, mass, abs(mass - 1))

    def profiles(self, vector: Array) -> Mapping[str, tuple[Rule, Array]]:
        nodes, cells = self.nodes(vector), self.elements.cells
        terms = contributions(self.features, nodes)
        ordered = np.empty((*self.elements.shape, terms.shape[1]))
        ordered[:, cells.natural] = terms.reshape(ordered.shape)
        rules = dict(zip(self.problem.directions, (*self.labels.rules.values(), *cells.rules), strict=True))
        tensor = in_directions(ordered, tuple(rules.values()), len(cells.rules))
        found = {}
        for axis, (name, rule) in enumerate(rules.items()):
            values = np.moveaxis(tensor, axis, 0)
            for other in reversed([r for k, r in enumerate(rules.values()) if k != axis]):
                values = np.tensordot(values, other.weights, axes=(values.ndim - 2, 0))
            found[name] = (rule, values)
        return found

    def folded(self, nodes: Nodes) -> float:
        """Collective. The mass where y -> X has turned over; of very many nodes, as every few slices show it."""
        here = self._looked_at
        cells = self.elements.cells
        turned = folded(cells, nodes.v.reshape(len(nodes.v), *self.elements.shape)[:, here])
        mass = self.elements.label_weight[here] @ (turned * cells.mass).sum(axis=(1, 2))
        seen = self.elements.label_weight[here].sum() * cells.mass.sum()
        total = self.comm.allreduce(np.array([mass, seen]))
        return float(total[0] / total[1])

    @cached_property
    def _looked_at(self) -> NDArray[np.int64]:
        """The slices of this rank that are looked at for folds."""
        every = -(-self.total // MOST_LOOKED_AT)
        while gcd(every, len(self.labels.squared_radius)) > 1:  # r runs fastest, and all of it shall be seen
            every += 1
        return np.array([s for s, label in enumerate(self.grid.slices) if label % every == 0], dtype=np.int64)

    def _index(self) -> tuple[tuple[int, ...], NDArray[np.int64]]:
        """Whole shape (slices, cells, nodes) of a field, and the flat indices of this rank's part."""
        cells, count = self.elements.cells, self.elements.shape[2]
        here = np.array(self.grid.slices, dtype=np.int64)
        index = (here[:, None, None] * cells.count + cells.natural[:, None]) * count + np.arange(count)
        return (len(self.labels), cells.count, count), index

    def _places(self) -> NDArray[np.int64]:
        return self._index()[1].ravel()

    def datasets(self) -> Mapping[str, Array | Field]:
        cells = self.elements.cells
        return slice_datasets(self.labels, self.grid, cells.count, cells.natural, cells.y, cells.mass) | self._panels()

    def _panels(self) -> dict[str, Array]:
        """Edges and node counts of the panels in every direction: with them, fields can be interpolated."""
        rules = {"squared_radius" if name == "r" else name: rule for name, rule in self.labels.rules.items()}
        rules |= {f"y{q + 1}": rule for q, rule in enumerate(self.elements.cells.rules)}
        edges = {f"/resolution/{name}_edges": rule.edges for name, rule in rules.items()}
        return edges | {f"/resolution/{name}_counts": np.array(rule.counts) for name, rule in rules.items()}

    def snapshot(self, vector: Array) -> Mapping[str, Array | Field]:
        (slices, cells, count), index = self._index()
        now, p = self.nodes(vector), len(self.elements.cells.y)
        X = Field((slices, cells, count, p), index[..., None] * p + np.arange(p), np.moveaxis(now.v, 0, -1))
        shape = (slices, cells, count)
        biases = {} if now.b is None else {"B": Field(shape, index, now.b)}
        return {"A": Field(shape, index, now.a), "R": Field(shape, index, now.r), "X": X, **biases}
