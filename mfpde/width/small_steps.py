"""e(t) and q(t) of SGD with their errors: a second rule, and half the steps."""

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import InputError, RunError
from mfpde.parallel import on_first
from mfpde.problem.problem import Problem
from mfpde.quadrature.panels import Panels
from mfpde.width.answer import SmallSteps
from mfpde.width.course import legs
from mfpde.width.fields import Truncation
from mfpde.width.rules import eased
from mfpde.width.sgd import SgdCurves, SgdEvolution
from mfpde.width.study import Estimate, Study, nodes_of

Array = NDArray[np.float64]

# Nodes of the finer rule; degrees of the sectors; and what a difference of rules may be wrong by, as a share of it.
LARGEST, SECTORS, DOUBT = 100, 6, 1.0


def check_sgd(problem: Problem, batch: int, step: float) -> None:
    """Refuses what the terms of SGD are not derived for.

    Raises:
        InputError: With the key and what is allowed.
    """
    if batch < 1:
        raise InputError(f"--batch: {batch}; allowed: 1 or more")
    if not 0 < step <= 1:
        raise InputError(f"--step: {step:g}; allowed: more than 0, up to 1")
    if not np.isfinite(problem.d):
        raise InputError("input.dimension: inf with --batch or --step, and the noise of SGD grows like d; allowed: finite ones")
    if problem.w.name == "zero":
        raise InputError('initial.w: "zero" with --batch or --step: noise has no direction there; allowed: "gaussian", "sphere"')
    if any(stage.on_sphere for stage in problem.stages):
        raise InputError('training.constraint: "sphere" with --batch or --step; allowed: without a constraint')


def small_steps(comm: MPI.Intracomm, study: Study, found: Estimate, batch: int, step: float, label_noise: float) -> SmallSteps:
    """Collective. What SGD adds, at the times of an estimate of c and s.

    Args:
        comm: All ranks; the first one computes.
        study: That found the estimate.
        found: The estimate.
        batch, step: B and eta.
        label_noise: Standard deviation of the noise in labels.
    """
    problem, K = study.problem, found.truncation.K
    truncation = Truncation(K, found.truncation.J, min(K, SECTORS))
    fine = eased(study.ladders, found.panels, LARGEST)

    def run(panels: dict[str, Panels], more: float) -> SgdCurves:
        steps = legs(problem, found.refinement * more)
        return SgdEvolution(problem, truncation, nodes_of(problem, panels), steps, label_noise).run()

    def compute() -> SmallSteps:
        coarse, middle, best = run(study.thin, 1.0), run(fine, 1.0), run(fine, 2.0)
        counts = [leg.steps + 1 for leg in legs(problem, found.refinement * 2.0)]
        at = np.concatenate(
            [first + np.arange(0, count, 2) for first, count in zip(np.cumsum([0, *counts]), counts, strict=False)]
        )
        values, errors = [], []
        for name in ("euler", "noise", "deviation"):
            one, two, three = getattr(coarse, name), getattr(middle, name), getattr(best, name)[at]
            values.append(three + (three - two) / 3)  # the error is of order 2 in the step
            errors.append(DOUBT * np.abs(two - one) + np.abs(three - two) / 3)
        if not np.isfinite(values).all():
            raise RunError("width: the terms of SGD are no longer finite; allowed: a shorter training, or smaller rates")
        return SmallSteps(batch, step, values[0], errors[0], values[1], errors[1], np.abs(values[2]))

    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found at the end
        return on_first(comm, compute)
