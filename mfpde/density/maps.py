"""The map Theta(a_0, r_0, y) = (A, X, R) at one time: between nodes by interpolation, or point by point; with biases it is
Theta(a_0, b_0, r_0, y) = (A, X, R, B).

Interpolation is a tensor product of one matrix a direction: polynomials of each panel of a_0, of r_0^2 (in which the
features are smooth) and of y; nothing is interpolated between atoms.  Its nodes are those of a snapshot, or passive points
on finer rules.  Where the map has more structure than rules of a sensible size hold (small d, long times), every point is
followed by itself (`mfpde.evolution.passive`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.density.points import Slabs
from mfpde.evolution.passive import Passive, stacked, tensor_nodes
from mfpde.parallel import share
from mfpde.problem.laws import Law
from mfpde.problem.problem import Problem
from mfpde.quadrature.rules import Rule, gauss_rule, outer

Array = NDArray[np.float64]

# Nodes of a panel, beyond which it is divided rather.
MOST_NODES = 12


class Map(Protocol):
    """Where the points of some slabs are."""

    def __call__(self, slabs: Slabs, axes: tuple[int, ...]) -> Array:
        """The coordinates `axes` of (A, X, R), shape (len(axes), n, S_1, ..., S_p)."""


@dataclass(frozen=True)
class Direct:
    """Every point by itself."""

    problem: Problem
    passive: Passive

    def __call__(self, slabs: Slabs, axes: tuple[int, ...]) -> Array:
        shape = (len(slabs.a), *(len(y) for y in slabs.y))
        return stacked(self.passive(slabs.nodes(self.problem.w)))[list(axes)].reshape(-1, *shape)


@dataclass(frozen=True)
class InY:
    """Nodes of y in every slab are followed; between them the map is interpolated.

    Attributes:
        problem: That is solved.
        passive: Follows the nodes.
        rules: Rules of every direction of y.
    """

    problem: Problem
    passive: Passive
    rules: tuple[Rule, ...]

    def __call__(self, slabs: Slabs, axes: tuple[int, ...]) -> Array:
        places, weights = tuple(r.nodes for r in self.rules), tuple(r.weights for r in self.rules)
        nodes = Slabs(slabs.a, slabs.square, places, weights, 1.0, b=slabs.b)
        values = stacked(self.passive(nodes.nodes(self.problem.w)))[list(axes)]
        return in_y(values.reshape(-1, len(slabs.a), *(len(rule) for rule in self.rules)), self.rules, slabs.y)


@dataclass(frozen=True)
class Interpolated:
    """Between the nodes of rules.

    Attributes:
        rules: Rules of a_0, with biases b_0, r_0^2 and every direction of y.
        values: At their tensor product, shape (coordinates, n_a, ..., n_r, n_1, ..., n_p).
    """

    rules: tuple[Rule, ...]
    values: Array

    def __call__(self, slabs: Slabs, axes: tuple[int, ...]) -> Array:
        labels = len(self.rules) - len(slabs.y)
        over_a, *others = (matrix(rule, x) for rule, x in zip(self.rules[:labels], slabs.of_each, strict=True))
        values = self.values[list(axes)]
        (c, n_a), n_y = values.shape[:2], values.shape[1 + labels :]
        out = np.matmul(over_a, values.reshape(c, n_a, -1))
        for over in others:
            out = np.einsum("nr,cnrk->cnk", over, out.reshape(c, *over.shape, -1))
        return in_y(out.reshape(c, len(over_a), *n_y), self.rules[labels:], slabs.y)

    def at(self, labels: Array) -> Array:
        """At scattered points, rows as `Slabs.labels`: all coordinates, shape (coordinates, n)."""
        out = np.einsum("na,ca...->cn...", matrix(self.rules[0], labels[0]), self.values)
        for rule, x in zip(self.rules[1:], labels[1:], strict=True):
            out = np.einsum("nk,cnk...->cn...", matrix(rule, x), out)
        return np.asarray(out)

    def plus(self, other: "Interpolated") -> "Interpolated":
        """The sum with another map, at the nodes of this one."""
        values = other.values
        for k, (own, theirs) in enumerate(zip(self.rules, other.rules, strict=True), 1):
            values = np.moveaxis(np.tensordot(matrix(theirs, own.nodes), values, (1, k)), 0, k)
        return Interpolated(self.rules, self.values + values)

    def tails(self, axes: tuple[int, ...], units: Array) -> Array:
        """Per direction, the root mean square of the last coefficients of the map in it, in `units` of each axis, summed."""
        found = np.zeros(len(self.rules))
        for k, rule in enumerate(self.rules):
            if not rule.smooth:
                continue
            others = outer(other.weights for other in (*self.rules[:k], *self.rules[k + 1 :]))
            values = np.moveaxis(self.values[list(axes)], 1 + k, 0).reshape(len(rule), len(axes), -1)
            for part, coefficients in zip(rule.slices, rule.coefficients(values), strict=True):
                # Every second one may vanish by parity: look at two.
                square = (coefficients[-2:] ** 2).max(axis=0) @ others.ravel()
                found[k] += rule.weights[part].sum() * (np.sqrt(square) / units).sum()
        return found


def in_y(values: Array, rules: tuple[Rule, ...], y: tuple[Array, ...]) -> Array:
    """From values (axes, n, n_1, ..., n_p) at the nodes of rules of y to the products of given points."""
    for q, (rule, x) in enumerate(zip(rules, y, strict=True)):
        values = np.moveaxis(np.moveaxis(values, 2 + q, -1) @ matrix(rule, x).T, -1, 2 + q)
    return values


def matrix(rule: Rule, x: Array) -> Array:
    """From values at the nodes of a rule to values at x, shape (len(x), len(rule)); atoms stand for themselves."""
    if rule.smooth:
        return rule.interpolation(x)
    return np.eye(len(rule))[np.abs(x[:, None] - rule.nodes).argmin(axis=1)]


def interpolant(comm: MPI.Intracomm, problem: Problem, passive: Passive, rules: tuple[Rule, ...]) -> Interpolated:
    """Collective. The map at the nodes of rules, by passive points that are divided over the ranks."""
    everything = tensor_nodes(problem, rules)
    first, last = share(comm, len(everything.a))
    values = np.zeros((len(problem.directions), len(everything.a)))
    values[:, first:last] = stacked(passive(everything.part(slice(first, last))))
    comm.Allreduce(MPI.IN_PLACE, values)
    return Interpolated(rules, values.reshape(-1, *(len(rule) for rule in rules)))


def refined_rules(problem: Problem, rules: tuple[Rule, ...], change: Sequence[int]) -> tuple[Rule, ...]:
    """Finer rules where `change` is 1 (more nodes a panel, or once these are many, twice the panels), coarser ones at -1."""
    asked = zip(rules, problem.laws, change, strict=True)
    return tuple(_changed(rule, law, way) if rule.smooth else rule for rule, law, way in asked)


def _changed(rule: Rule, law: Law, way: int) -> Rule:
    edges, n = rule.edges[1:-1].tolist(), max(rule.counts)
    if way == 0:
        return rule
    if way < 0:
        return gauss_rule(law, [max(2, (n + 1) // 2)] * len(rule.counts), edges)
    if n < MOST_NODES:
        return gauss_rule(law, [min(MOST_NODES, n + max(1, n // 2))] * len(rule.counts), edges)
    middle = [float(rule.weights[part] @ rule.nodes[part] / rule.weights[part].sum()) for part in rule.slices]
    everywhere = sorted([*edges, *middle])
    return gauss_rule(law, [n // 2 + 2] * (len(everywhere) + 1), everywhere)


def sizes(rules: tuple[Rule, ...]) -> int:
    """Nodes of the tensor product."""
    return int(np.prod([len(rule) for rule in rules]))
