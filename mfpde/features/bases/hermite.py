"""Hermite polynomials, for Gaussian x: see `mfpde.features.hermite.modes`."""

from dataclasses import dataclass
from typing import ClassVar

from mfpde.features.bases import BasisKind
from mfpde.features.hermite.modes import Modes, hermite_modes
from mfpde.features.protocol import Truncation
from mfpde.problem.problem import Problem


@dataclass(frozen=True)
class Hermite(BasisKind):
    """he_alpha(z) :|y|^{2j}: up to total degree K."""

    usage: ClassVar[str] = "hermite"
    has_kernel: ClassVar[bool] = True

    def basis(self, problem: Problem, truncation: Truncation) -> Modes:
        return hermite_modes(problem.p, truncation.hermite_degree, truncation.radial_degree, problem.d)
