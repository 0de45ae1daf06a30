"""The protocol of features: a network's coefficients over a basis of functions of x, and the velocity that they cause.

    m_i = int a phi_i(v, r, b) d rho,   E = 1/2 sum_i (m_i - h_i)^2 + what lies beyond the basis,   Psi = sum_i residual_i phi_i

with phi_i(neuron) = E[sigma(w.x + b) e_i(x)] for functions e_1, e_2, .. of x that are orthonormal under its law.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.neurons import Cloud, LearningRates, Rates
from mfpde.problem.activation import Activation
from mfpde.problem.problem import Problem
from mfpde.problem.target import Target

Array = NDArray[np.float64]


class Truncation(Protocol):
    """What says how large a basis is: K, and the largest radial degree."""

    @property
    def hermite_degree(self) -> int: ...

    @property
    def radial_degree(self) -> int: ...


@dataclass(frozen=True)
class Moments:
    """Moments m_i = int a phi_i d rho.

    Attributes:
        all: Over all ranks, shape (modes,).
        by_slice: This rank's part of each slice's own, without label weights, shape (slices, modes).
    """

    all: Array
    by_slice: Array


class Basis(Protocol):
    """Orthonormal functions of x; plain data, the same on all ranks.

    A file names the functions by integers, (alpha, j) of the Hermite modes or others.
    """

    @property
    def p(self) -> int:
        """Dimension of V."""

    @property
    def hermite_degree(self) -> int:
        """K, by which the basis grows."""

    @property
    def alpha(self) -> NDArray[np.int32]:
        """Powers of z of each function, shape (modes, p)."""

    @property
    def radial(self) -> NDArray[np.int32]:
        """Radial degree j of each function, shape (modes,)."""

    @property
    def degree(self) -> NDArray[np.int32]:
        """Degree of each function, shape (modes,); a truncation leaves out what is beyond K, and -1 is never near it."""

    def __len__(self) -> int: ...

    def target_coefficients(self, target: Target) -> Array:
        """h_i of a target, shape (modes,)."""

    def beyond(self, target: Target) -> float:
        """1/2 of the energy of a target that no network over this basis can learn: part of E."""

    def features(self, comm: MPI.Intracomm, problem: Problem, activation: Activation | None = None) -> "Features":
        """Collective. The features of a problem's neurons over these ranks, by default with the activation of its first stage."""

    def widened(self, problem: Problem, more: int) -> "Basis | None":
        """The basis with up to `more` higher degrees, in which the energy beyond this one is seen; None if there is none."""


def named(basis: Basis) -> NDArray[np.int64]:
    """The integers (alpha, j) that name the functions of a basis, a row each, shape (modes, p + 1)."""
    return np.column_stack((basis.alpha, basis.radial)).astype(np.int64)


def common_modes(one: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the functions that two bases have in common, in either, shapes (n,); arguments as `named` gives them."""
    places = {tuple(mode): k for k, mode in enumerate(other.tolist())}
    found = [(k, places[tuple(mode)]) for k, mode in enumerate(one.tolist()) if tuple(mode) in places]
    first, second = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return first, second


class Features(Protocol):
    """The features of one activation over a basis, on all ranks of a communicator."""

    @property
    def comm(self) -> MPI.Intracomm: ...

    @property
    def modes(self) -> Basis:
        """The basis."""

    @property
    def biases(self) -> bool:
        """Whether neurons have biases."""

    def of(self, activation: Activation) -> "Features":
        """Collective. The features of an activation over the same ranks and basis; these, if it is the same."""

    def moments(self, cloud: Cloud, label_weight: Array, kept: Array | None = None) -> Moments:
        """Collective. The moments of a cloud.

        Args:
            cloud: This rank's neurons.
            label_weight: Weight of each slice, shape (slices,).
            kept: Room for what `velocities` can use again, see `room`.

        Raises:
            RunError: On all ranks, if a neuron is where the features are not known.
        """

    def velocities(self, cloud: Cloud, residual: Array, xi: LearningRates, out: Rates, kept: Array | None = None) -> None:
        """The velocity of all neurons down the gradient of Psi = sum_i residual_i phi_i, written to `out`.

        Args:
            cloud: This rank's neurons.
            residual: Residual of the trained loss, shape (modes,).
            xi: Learning rates.
            out: Where to write.
            kept: What `moments` has kept of the same cloud.
        """

    def divergence(self, cloud: Cloud, residual: Array, xi: LearningRates, out: Array) -> None:
        """The divergence of that velocity in (a, v, r, b), written to `out`, shape (slices, nodes); arguments alike."""

    def cover(self, largest: float) -> bool:
        """Collective. Makes the features known up to |w|^2 (or b^2) = `largest`; whether anything had to be done for it.

        Raises:
            RunError: On all ranks, if they cannot be.
        """

    def room(self, slices: int, nodes: int) -> Array:
        """Memory that `moments` may fill for `velocities`, for slices x nodes neurons."""
