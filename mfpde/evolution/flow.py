"""What the time integrator needs of a flow, whatever its unknowns are."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Unknowns(Protocol):
    """The blocks of a flow's flat vector on this rank."""

    @property
    def size(self) -> int: ...

    def pack(self, vector: Array) -> None:
        """Writes the initial state into `vector`."""

    def blocks(self, vector: Array) -> dict[str, Array]:
        """Views of the blocks by name."""


class Flow(Protocol):
    """A right-hand side; see `mfpde.evolution.dynamics.MeanFieldFlow` for the meaning of each member.

    Attributes:
        layout: The unknowns.
        grid: With the communicator of all ranks as `comm`.
        discretization: With `limiter`, which says whether `limit` acts after each step.
        y: Coordinates of the nodes on which blocks a and r live, shape (p, cells, nodes).
    """

    @property
    def layout(self) -> Unknowns: ...

    @property
    def grid(self) -> Any: ...

    @property
    def discretization(self) -> Any: ...

    @property
    def y(self) -> Array: ...

    def rates(self, time: float, vector: Array, out: Array) -> None: ...

    def limit(self, vector: Array) -> bool: ...

    def largest_step(self) -> float: ...

    def unit_of_time(self, time: float) -> float: ...

    def fastest_slice(self) -> str: ...
