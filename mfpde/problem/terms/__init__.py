"""Terms of a neuron's velocity beside the interaction -xi grad Phi, one class in one module each.

A term moves every neuron (a, v, r) by itself, whatever carries the neurons: a mesh, nodes that follow the flow, particles,
the neurons of a network (there w_perp' = r' w_perp / r).  A stage lists its terms (`Stage.terms`), and every flow adds them
to the interaction.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Term(Protocol):
    """One term, a frozen dataclass: it is sent to every rank with its stage."""

    @property
    def trains(self) -> tuple[bool, bool]:
        """Whether it moves a, and whether it moves w: what nothing moves is not integrated."""

    def add(self, time: float, neurons: tuple[Array, Array, Array], rates: tuple[Array | None, Array, Array | None]) -> None:
        """Adds this term's velocity in place.

        Args:
            time: Since the start of the stage.
            neurons: a (slices, nodes), v (slices, p, nodes), r (slices, nodes).
            rates: a', v' and r', alike; None where a or r is constant.
        """


@runtime_checkable
class GradientTerm(Term, Protocol):
    """A term a' = -xi_a dU/da, w' = -xi_w grad U: E + int U d rho is then the regularised loss, which decreases."""

    def potential(self, neurons: tuple[Array, Array, Array]) -> Array:
        """U at neurons a (..., nodes), v (..., p, nodes), r (..., nodes), shape (..., nodes)."""
