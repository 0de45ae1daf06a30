"""The protocol of a discretisation of the density of neurons."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisation.recorded import PointMasses, PushForward
from mfpde.discretisation.resolution import Resolution
from mfpde.evolution.flow import DensityFlow, Profile
from mfpde.problem.laws import Law
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.panels import Panels
from mfpde.quadrature.refinement import everywhere, tails

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Direction:
    """A direction of the initial law that a discretisation resolves by panels, and can be refined in by itself.

    Attributes:
        law: Law of the direction.
        source: Part of the estimated error that it counts in, "labels" or "mesh".
        coarsest: Where refinement begins.
        refined: Finer panels, where an indicator for each of them says so.
    """

    law: Law
    source: str
    coarsest: Panels
    refined: Callable[[Panels, Law, Array], Panels]

    @property
    def exact(self) -> bool:
        """Whether there is nothing to refine."""
        return self.law.atoms is not None

    def finer(self, panels: Panels, profile: Profile) -> Panels:
        """The next finer panels, where the moments as functions of this direction want them."""
        return self.refined(panels, self.law, tails(*profile))

    def everywhere_finer(self, panels: Panels) -> Panels:
        """Finer panels without regard to an indicator: what it does not see is wrong nowhere."""
        return everywhere(panels)


class Discretisation(Protocol):
    """A way to carry the density of the neurons."""

    @property
    def name(self) -> str:
        """Its value of discretization.frame."""

    @property
    def estimates(self) -> bool:
        """Whether the error of E can be estimated, by refinement in each of its directions."""

    def refusal(self, problem: Problem, options: Discretization) -> str | None:
        """Why it cannot solve a problem with these options: the key and what is allowed; None if it can."""

    def directions(self, problem: Problem) -> dict[str, Direction]:
        """The directions of the initial law by name, in the order of `Resolution.panels`."""

    def start(
        self, comm: MPI.Intracomm, problem: Problem, options: Discretization, resolution: Resolution, mesh_ranks: int = 0
    ) -> DensityFlow:
        """Collective. The first stage from the problem's initial law.

        Args:
            comm: All ranks.
            problem: The same on all ranks.
            options: Its own further keys; likewise.
            resolution: How finely.
            mesh_ranks: How many ranks share one mesh, 0 for automatic.
        """

    def read(self, file: h5py.File, problem: Problem) -> PushForward | PointMasses:
        """What an open result file holds of the density.

        Raises:
            InputError: If it holds none of this kind.
        """
