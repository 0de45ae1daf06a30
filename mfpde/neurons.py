"""Neurons, their learning rates and the rates at which they move, by name: what every room hands on.

A neuron a sigma(w.x + b) is known by (a, v, r, b): w = (v, w_perp) with v = w_V in R^p and r = |w_perp|.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class LearningRates(NamedTuple):
    """xi_a, xi_w and xi_b at one time."""

    a: float
    w: float
    b: float = 0.0


class Trained(NamedTuple):
    """Whether a moves, whether w does, and whether b does."""

    a: bool
    w: bool
    b: bool


@dataclass(frozen=True)
class Neurons:
    """Neurons in slices.

    Attributes:
        a, r: Shape (slices, nodes).
        v: Shape (slices, p, nodes).
        b: Biases, like a; None where there are none.
    """

    a: Array
    v: Array
    r: Array
    b: Array | None = None


@dataclass
class Rates:
    """The time derivatives of neurons, arrays that are written to: None for what stands still or is not wanted.

    Attributes:
        a, r, b: Shape (slices, nodes).
        v: Shape (slices, p, nodes or more): what lies beyond the nodes is left alone.

    Raises:
        AttributeError: If another array is to take the place of one: what it holds would be lost.
    """

    a: Array | None
    v: Array
    r: Array | None
    b: Array | None = None

    def __setattr__(self, name: str, value: Array | None) -> None:
        # rates.a += x adds to the array that is there, and then assigns it to itself.
        if self.__dict__.get(name, value) is not value:
            raise AttributeError(f"rates.{name} is written to in place; allowed: rates.{name}[...] = value, or +=")
        super().__setattr__(name, value)


@dataclass(frozen=True)
class Cloud(Neurons):
    """Neurons in slices, with their weights.

    Attributes:
        weight: Shape (nodes,), shared by all slices, or (slices, nodes).
    """

    weight: Array = field(kw_only=True)

    @classmethod
    def of(cls, a: Array, v: Array, r: Array, weight: Array, b: Array | None = None) -> Self:
        """The cloud of one slice of neurons a (n), v (p, n), r (n), and perhaps b (n), with weights (n)."""
        return cls(a[None], np.ascontiguousarray(v)[None], r[None], None if b is None else b[None], weight=weight)


@dataclass(frozen=True)
class Nodes:
    """This rank's neurons in a row, with their weights: a, r, weight (n,), v (p, n), and with biases b (n,)."""

    a: Array
    v: Array
    r: Array
    weight: Array
    b: Array | None = None

    @property
    def cloud(self) -> Cloud:
        """As one slice."""
        return Cloud.of(self.a, self.v, self.r, self.weight, self.b)

    def part(self, part: slice | NDArray[np.int64]) -> "Nodes":
        """Some of the neurons."""
        b = None if self.b is None else self.b[part]
        return Nodes(self.a[part], self.v[:, part], self.r[part], self.weight[part], b)


def on_sphere(v: Array, r: Array) -> tuple[Array, Array]:
    """w / |w| for v (..., p, n) and r (..., n)."""
    norm = np.sqrt((v**2).sum(axis=-2) + r**2)
    return v / norm[..., None, :], r / norm


def project_to_sphere(neurons: Neurons, rates: Rates) -> None:
    """Takes the radial part off the velocity (v', r') of neurons with |w| = 1, in place.

        w' = (I - w w^T) F(w)

    leaves |w| as it is.  Where features are taken at w / |w|, what an integrator drifts off by is never seen.
    """
    assert rates.r is not None  # on the sphere r moves with v
    dv = rates.v[..., : neurons.r.shape[-1]]
    along = (neurons.v * dv).sum(axis=-2) + neurons.r * rates.r
    dv -= along[..., None, :] * neurons.v
    rates.r[...] -= along * neurons.r
