"""The flow of a stage that is known by moments: dm/dt = -xi_a(t) K (m - h), see `mfpde.training.spectrum`."""

from dataclasses import dataclass
from math import inf
from types import SimpleNamespace
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.features.modes import Modes
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.training.averaging import Moments
from mfpde.training.spectrum import Spectrum, kernel_modes, spectrum

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Coefficients:
    """The unknowns m_i, all of them on rank 0."""

    initial: Array

    @property
    def size(self) -> int:
        return len(self.initial)

    def pack(self, vector: Array) -> None:
        vector[...] = self.initial

    def blocks(self, vector: Array) -> dict[str, Array]:
        return {"m": vector}


class LinearFlow:
    """The coefficients m_i of a network whose outer weights alone are trained, with a polynomial activation.

    Collective to construct; a `mfpde.evolution.flow.Flow`.

    Args:
        comm: All ranks.
        problem: With the stage's activation and learning rates.
        modes: Of the run; those of the activation are among them.
        discretization: For the tolerance of a time step.
        law: Moments of w, on rank 0.
        spread: Whether |u_perp| > 0 at finite d.
        start: The coefficients m at the start, over the run's modes; 0 if not given (a = 0).
        other: Moments of a less accurate computation, on rank 0.

    Attributes:
        spectrum: Of K.
        on_V: Of its block of the modes he_alpha(z).
    """

    averaged = True

    def __init__(
        self,
        comm: MPI.Intracomm,
        problem: Problem,
        modes: Modes,
        discretization: Discretization,
        law: Moments | None,
        spread: bool,
        start: Array | None = None,
        other: Moments | None = None,
    ) -> None:
        assert problem.activation.polynomial is not None
        self.problem = problem
        self.law = law
        self.spread = spread
        self.modes = modes
        polynomial = problem.activation.polynomial
        degree = len(polynomial) - 1
        mine = kernel_modes(problem.p, degree, problem.d, spread)
        found = None if law is None else [spectrum(law, polynomial, mine, other)]
        if found is not None and law is not None and mine.radial.any():
            found.append(spectrum(law, polynomial, kernel_modes(problem.p, degree, problem.d, False), other))
        found = comm.bcast(found)
        self.spectrum: Spectrum = found[0]
        self.on_V: Spectrum = found[-1]
        position = {key: i for i, key in enumerate(_keys(modes))}
        self.index = np.array([position[key] for key in _keys(mine)])
        self.target = modes.target_coefficients(problem.target)
        self.start = np.zeros(len(modes)) if start is None else start
        self.layout = _Coefficients(self.start[self.index] if comm.rank == 0 else np.empty(0))
        self.grid = SimpleNamespace(comm=comm)
        self.discretization = discretization
        self.y = np.zeros((problem.p, 1, 1))
        self.unknowns = len(self.index)

    def rates(self, time: float, vector: Array, out: Array) -> None:
        """-xi_a K (m - h), written to `out` on rank 0."""
        if len(vector):
            np.matmul(self.spectrum.matrix, self.target[self.index] - vector, out=out)
            out *= self.problem.xi_a(time)

    def limit(self, vector: Array) -> bool:
        """There is no density to limit."""
        return False

    def largest_step(self) -> float:
        """The error estimate alone limits the step."""
        return inf

    def unit_of_time(self, time: float) -> float:
        """What a change of order 1 takes at least; inf where xi_a = 0."""
        rate = self.problem.xi_a(time) * float(self.spectrum.eigenvalues[-1])
        return 1 / rate if rate > 0 else inf

    def fastest_slice(self) -> str:
        """There are no slices to name."""
        return ""

    def moments(self, vector: Array, time: float) -> Array:
        """Collective. The coefficients over the run's modes: those that the activation does not reach are 0."""
        return self._spread(self.grid.comm.bcast(vector))

    @property
    def residual(self) -> Array:
        """m - h at the start of the stage, over the modes of K."""
        return (self.start - self.target)[self.index]

    @property
    def rate_on_V(self) -> float:
        """The smallest eigenvalue that this target excites in the block of K of the modes he_alpha(z).

        At finite d a spread start has slower modes, of V-perp; they hold a share of the loss that vanishes as d -> inf.
        """
        inside = self.spectrum.modes.radial == 0
        return float(self.on_V.eigenvalues[self.on_V.slowest(self.residual[inside])])

    @property
    def held_back(self) -> float:
        """The loss in eigenvectors that are slower than half of `rate_on_V`."""
        slower = self.spectrum.eigenvalues < 0.5 * self.rate_on_V
        return float(0.5 * ((self.residual @ self.spectrum.vectors[:, slower]) ** 2).sum())

    def exact(self, time: Array) -> Array:
        """The coefficients at times since the start of the stage, from the eigen-decomposition, shape (times, modes)."""
        target = self.target[self.index]
        return self._spread(self.spectrum.coefficients(self.start[self.index], target, self.problem.xi_a.integral(time)))

    def restrict(self, m: Array) -> Array:
        """The flat vector of coefficients over the run's modes: this rank's part."""
        return m[self.index] if self.grid.comm.rank == 0 else np.empty(0)

    def _spread(self, m: Array) -> Array:
        out = np.zeros((*m.shape[:-1], len(self.modes)))
        out[..., self.index] = m
        return out


def _keys(modes: Modes) -> list[Any]:
    return [(*alpha, j) for alpha, j in zip(modes.alpha.tolist(), modes.radial.tolist(), strict=True)]
