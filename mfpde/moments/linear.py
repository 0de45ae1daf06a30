"""The flow of a stage that is known by moments: dm/dt = -xi_a(t) K (m - h), see `mfpde.moments.spectrum`."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.evolution.flow import Field, InStage, Observation, OnRecord, Position, Step, Watch, as_watch
from mfpde.features.protocol import Basis
from mfpde.moments.averaging import LawMoments
from mfpde.moments.spectrum import Spectrum, kernel_modes, spectrum
from mfpde.parallel import from_first
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]


class LinearFlow(InStage):
    """The coefficients m_i of a network whose outer weights alone are trained, with a polynomial activation.

    Collective to construct; a `StageFlow` whose unknowns are the m_i that the activation reaches, all of them on rank 0.

    Args:
        comm: All ranks.
        problem: With its stages.
        number: Number of the stage.
        modes: Modes of the run, Hermite modes; those of the activation are among them.
        law: LawMoments of w, on rank 0.
        start: The coefficients m at the start, over the run's modes; 0 if not given (a = 0).
        others: LawMoments of other computations, on rank 0: what they change is the uncertainty of the spectrum and of E.

    Attributes:
        spectrum: Spectrum of K.
        on_V: That of its block of the modes he_alpha(z).
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        problem: Problem,
        number: int,
        modes: Basis,
        law: LawMoments | None,
        start: Array | None = None,
        others: Sequence[LawMoments] = (),
    ) -> None:
        self.comm, self.problem, self.number, self.law, self.modes = comm, problem, number, law, modes
        self.stage = problem.stages[number]
        assert self.stage.activation.polynomial is not None
        polynomial = self.stage.activation.polynomial
        degree = len(polynomial) - 1
        mine = kernel_modes(problem.p, degree, problem.d, not problem.w.is_point)
        found = None if law is None else [spectrum(law, polynomial, mine, others)]
        if found is not None and law is not None and mine.radial.any():
            found.append(spectrum(law, polynomial, kernel_modes(problem.p, degree, problem.d, False), others))
        spectra = from_first(comm, found)
        self.spectrum: Spectrum = spectra[0]
        self.on_V: Spectrum = spectra[-1]
        position = {key: i for i, key in enumerate(_keys(modes))}
        self.index = np.array([position[key] for key in _keys(mine)])
        self.target = modes.target_coefficients(problem.target)
        self.beyond = self.modes.beyond(problem.target)
        self.beginning = np.zeros(len(modes)) if start is None else start

    @property
    def size(self) -> int:
        return len(self.index) if self.comm.rank == 0 else 0

    def pack(self, vector: Array) -> None:
        vector[...] = self.restrict(self.beginning)

    def rates(self, time: float, vector: Array, out: Array) -> float:
        if len(vector):
            np.matmul(self.spectrum.matrix, self.target[self.index] - vector, out=out)
            out *= self.stage.xi_a(time)
        return inf

    def scales(self) -> Array:
        return np.ones(self.size)

    def unit_of_time(self, time: float) -> float:
        rate = self.stage.xi_a(time) * float(self.spectrum.eigenvalues[-1])
        return 1 / rate if rate > 0 else inf

    def follow(self, times: Sequence[float], tolerance: float, watch: Watch | OnRecord, restart: Position | None = None) -> Step:
        """By the eigen-decomposition: an explicit integrator would need a step for every 1 / lambda_max of a time that has to
        be long against 1 / lambda_min."""
        watch = as_watch(watch)
        for time, m in zip(times, self.exact(np.array(times)), strict=True):
            watch.record(Step(time), self.restrict(m))
        return Step(times[-1])

    def next_stage(self, number: int, vector: Array) -> "LinearFlow":
        stage = self.problem.stages[number]
        law = None if self.law is None else self.law.average(stage.average)
        start = None if stage.reset_a else self.moments(vector)
        return LinearFlow(self.comm, self.problem, number, self.modes, law, start)

    def moments(self, vector: Array, time: float = 0.0) -> Array:
        """Collective. The coefficients over the run's modes: those that the activation does not reach are 0."""
        return self._spread(self.comm.bcast(vector))

    def observe(self, time: float, vector: Array) -> Observation:
        return Observation(self.moments(vector))

    def penalty(self, vector: Array) -> float:
        """0: such a stage has no terms."""
        return 0.0

    def datasets(self) -> Mapping[str, Array | Field]:
        modes = self.spectrum.modes
        values = {name: getattr(self.spectrum, name) for name in ("matrix", "eigenvalues", "vectors", "uncertainty")}
        return {f"/kernel/{name}": x for name, x in {**values, "alpha": modes.alpha, "radial": modes.radial}.items()}

    def snapshot(self, vector: Array) -> Mapping[str, Array | Field]:
        return {}

    @property
    def residual(self) -> Array:
        """m - h at the start of the stage, over the modes of K."""
        return np.asarray((self.beginning - self.target)[self.index])

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
        return self._spread(self.spectrum.coefficients(*self._ends, self.stage.xi_a.integral(time)))

    def uncertainty(self, time: Array) -> Array:
        """By how much the other computations of the law change E at times since the start of the stage, shape (times,)."""
        return self.spectrum.loss_uncertainty(*self._ends, self.stage.xi_a.integral(time))

    @property
    def _ends(self) -> tuple[Array, Array]:
        """m at the start, and h, over the modes of K."""
        return self.beginning[self.index], self.target[self.index]

    def restrict(self, m: Array) -> Array:
        """The flat vector of coefficients over the run's modes: this rank's part."""
        return np.asarray(m[self.index]) if self.comm.rank == 0 else np.empty(0)

    def _spread(self, m: Array) -> Array:
        out = np.zeros((*m.shape[:-1], len(self.modes)))
        out[..., self.index] = m
        return out


def _keys(modes: Basis) -> list[Any]:
    return [(*alpha, j) for alpha, j in zip(modes.alpha.tolist(), modes.radial.tolist(), strict=True)]
