"""What is written and drawn: the result file, its records, pictures, ParaView; and what a user adds, an `Output`."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mfpde.evolution.flow import StageFlow, Step


class Output(Protocol):
    """Something that is written during a training, handed to `mfpde.solve`."""

    def enter(self, flow: "StageFlow") -> None:
        """Collective. A stage begins."""

    def record(self, flow: "StageFlow", step: "Step", vector: NDArray[np.float64]) -> None:
        """Collective. A record of the run: the flow, the step and the state's flat vector (read-only)."""
