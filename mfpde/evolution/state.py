"""What evolves: the unknowns of all slices of a rank as views into one flat vector.

Blocks, each (slices, ...): the density q and the carried a and r at the DG nodes, the frame's centre M and its matrix
Lambda = sqrt(d) L (which starts as the identity at every d, so that tolerances mean the same at every d).  Blocks that
cannot change are left out of the vector: a where xi_a = 0; q, r, M and Lambda where xi_w = 0; q, Lambda at a point
start; r where w = 0.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The unknowns of this rank's slices; shapes (slices, cells, nodes), (slices, p) and (slices, p, p)."""

    q: Array
    a: Array
    r: Array
    M: Array
    Lambda: Array


@dataclass(frozen=True)
class Layout:
    """Where each block of the state lies in the flat vector; constant blocks are kept here.

    Attributes:
        initial: The state at t = 0.
        evolving: Names of the blocks that are in the vector, in order.
    """

    initial: State
    evolving: tuple[str, ...]

    @property
    def size(self) -> int:
        return sum(getattr(self.initial, name).size for name in self.evolving)

    def views(self, vector: Array) -> State:
        """The state whose evolving blocks are views into `vector`, shape (size,)."""
        return State(**{**self.initial.__dict__, **self.blocks(vector)})

    def blocks(self, vector: Array) -> dict[str, Array]:
        """Views of the evolving blocks alone (of a state, or of its time derivative)."""
        start, found = 0, {}
        for name in self.evolving:
            shape = getattr(self.initial, name).shape
            found[name] = vector[start : start + prod(shape)].reshape(shape)
            start += prod(shape)
        return found

    def pack(self, vector: Array) -> None:
        """Writes the initial state into `vector`."""
        for name, block in self.blocks(vector).items():
            block[...] = getattr(self.initial, name)
