"""The flow of the nodes of a net, which are nodes of constant mass like any others."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.flow import Field, Observation, Reader
from mfpde.evolution.indicators import View, seen
from mfpde.evolution.lagrangian import ONE_SLICE, LagrangianFlow
from mfpde.neurons import Nodes

Array = NDArray[np.float64]


class NetFlow(LagrangianFlow):
    """A `DensityFlow`; arguments as for `LagrangianFlow`. Collective to construct and to evaluate."""

    def next_stage(self, number: int, vector: Array) -> "NetFlow":
        return NetFlow(self.problem, *self._handed_on(number, vector), number)

    def restarted(self, number: int, read: Reader) -> "NetFlow":
        return NetFlow(self.problem, *self._restarted_parts(number, read), number)

    def observe(self, time: float, vector: Array) -> Observation:
        nodes = self.nodes(vector)
        moments = self.features.moments(nodes.cloud, ONE_SLICE)
        mass = float(self.comm.allreduce(float(nodes.weight.sum())))
        return Observation(moments.all, {**seen(View(self.comm, self.modes, moments, nodes))}, mass, abs(mass - 1))

    def datasets(self) -> Mapping[str, Array | Field]:
        start = self.layout.initial
        rows = {"a": start.a, "r": start.r, "weight": start.weight, **({} if start.b is None else {"b": start.b})}
        return {f"/nodes/{name}": self._field(values) for name, values in rows.items()} | {"/nodes/v": self._field(start.v)}

    def snapshot(self, vector: Array) -> Mapping[str, Array | Field]:
        now: Nodes = self.nodes(vector)
        biases = {} if now.b is None else {"B": self._field(now.b)}
        return {"A": self._field(now.a), "R": self._field(now.r), "X": self._field(now.v), **biases}

    def _field(self, values: Array) -> Field:
        """A row (n,) of this rank's nodes, or rows (p, n) of which every node keeps its p numbers together."""
        places = self._places()
        if values.ndim == 1:
            return Field((self.total,), places, values)
        p = len(values)
        return Field((self.total, p), places[:, None] * p + np.arange(p), np.ascontiguousarray(values.T))
