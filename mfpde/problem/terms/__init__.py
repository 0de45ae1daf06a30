"""Terms of a neuron's velocity beside the interaction -xi grad Phi, one class in one module each.

A term moves every neuron (a, v, r), and with biases b, by itself, whatever carries the neurons: a mesh, nodes that follow the
flow, particles, the neurons of a network (there w_perp' = r' w_perp / r).  A stage lists its terms (`Stage.terms`), and every
flow adds them to the interaction.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# a (slices, nodes), v (slices, p, nodes), r and b like a; b is None where there are no biases.
Neurons = tuple[Array, Array, Array, Array | None]
# Their velocities, alike; None for what is constant.
Rates = tuple[Array | None, Array, Array | None, Array | None]


class Term(Protocol):
    """One term, a frozen dataclass: it is sent to every rank with its stage."""

    @property
    def trains(self) -> tuple[bool, bool, bool]:
        """Whether it moves a, whether it moves w, and whether it moves b: what nothing moves is not integrated."""

    def add(self, time: float, neurons: Neurons, rates: Rates) -> None:
        """Adds this term's velocity in place.

        Args:
            time: Since the start of the stage.
            neurons: a, v, r and b.
            rates: a', v', r' and b'; None where a, r or b is constant.
        """


@runtime_checkable
class GradientTerm(Term, Protocol):
    """A term a' = -xi_a dU/da, w' = -xi_w grad U, b' = -xi_b dU/db: E + int U d rho, the regularised loss, then decreases."""

    def potential(self, neurons: Neurons) -> Array:
        """U at neurons a (..., nodes), v (..., p, nodes), r and b (..., nodes), shape (..., nodes)."""
