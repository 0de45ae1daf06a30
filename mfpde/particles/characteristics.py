"""The characteristic solution: neurons at product Gauss nodes of the initial law, moved by the exact flow.

At the same Hermite truncation and labels as the finite-element solver, so that the difference is that solver's own error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import USUAL
from mfpde.features.protocol import Basis
from mfpde.particles.reduced import run_gauss
from mfpde.particles.sampling import normal_rule
from mfpde.problem.problem import Problem
from mfpde.quadrature.labels import Labels
from mfpde.quadrature.rules import Rule

__all__ = ["Characteristics", "characteristics", "normal_rule"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Characteristics:
    """Loss and coefficients at the record times: times (n,), loss (n,), coefficients (n, modes)."""

    times: Array
    loss: Array
    coefficients: Array


@np.errstate(**USUAL)
def characteristics(
    problem: Problem, labels: Labels, modes: Basis, times: Sequence[float], v_rule: Rule, tolerance: float = 1e-11
) -> Characteristics:
    """The loss along characteristics, on one rank.

    Args:
        problem: What to solve.
        labels: The nodes of a and r.
        modes: The Hermite truncation.
        times: Record times, ascending, from 0.
        v_rule: Nodes of each component of sqrt(d) v_0 (ignored at a point start), see `normal_rule`.
        tolerance: Tolerance of a step, absolute and relative.

    Raises:
        RunError: If the integration fails.
    """
    features = modes.features(MPI.COMM_SELF, problem)
    records = run_gauss(problem, labels, features, times, v_rule, tolerance).records
    return Characteristics(*(np.array(column) for column in list(zip(*records, strict=True))[:3]))
