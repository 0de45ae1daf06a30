"""The unknowns of a rank as views into one flat vector.

Blocks that cannot change are left out of the vector, a where xi_a = 0 for instance; they keep their initial values.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layout[State: DataclassInstance]:
    """Where each block of a state lies in the flat vector.

    Attributes:
        initial: The state at t = 0, a frozen dataclass of arrays.
        evolving: Names of the blocks that are in the vector, in order.
    """

    initial: State
    evolving: tuple[str, ...]

    @cached_property
    def _places(self) -> dict[str, tuple[slice, tuple[int, ...]]]:
        """Where each block lies, and its shape."""
        shapes = {name: getattr(self.initial, name).shape for name in self.evolving}
        ends = accumulate((prod(shape) for shape in shapes.values()), initial=0)
        return {name: (slice(*part), shape) for (name, shape), part in zip(shapes.items(), pairwise(ends), strict=True)}

    @property
    def size(self) -> int:
        return sum(getattr(self.initial, name).size for name in self.evolving)

    def views(self, vector: Array) -> State:
        """The state whose evolving blocks are views into `vector`, shape (size,)."""
        return replace(self.initial, **self.blocks(vector))

    def blocks(self, vector: Array) -> dict[str, Array]:
        """Views of the evolving blocks alone (of a state, or of its time derivative)."""
        return {name: vector[part].reshape(shape) for name, (part, shape) in self._places.items()}

    def pack(self, vector: Array) -> None:
        """Writes the initial state into `vector`."""
        for name, block in self.blocks(vector).items():
            block[...] = getattr(self.initial, name)
