"""The error of Gauss particles, by runs with fewer of them and by the study of the Hermite truncation."""

import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.estimate import SAFETY, at_places, widened
from mfpde.accuracy.passes import record_places, study_times
from mfpde.accuracy.studies import truncation_study
from mfpde.elements.labels import make_labels
from mfpde.elements.resolution import Panels, Resolution, equal_panels, given_resolution
from mfpde.elements.rules import Rule
from mfpde.errors import RunError
from mfpde.evolution.flow import Array
from mfpde.features.features import Features
from mfpde.particles.reduced import run_gauss
from mfpde.particles.sampling import normal_rule
from mfpde.problem.laws import Law
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization

# Nodes of the coarse elements of the truncation's study: of a, of r, of a direction of y, and of b.
COARSE = 8, 2, 4, 6


def gauss_error(
    problem: Problem, options: Discretization, features: Features, times: list[float], losses: Array, rule: Rule
) -> tuple[Array, Array]:
    """Collective. What the modes beyond the truncation add to E, and the estimated error of the sum, shapes (n,).

    Args:
        problem: What was solved.
        options: The discretisation.
        features: Of the run.
        times: Of its records.
        losses: E of its modes at the records.
        rule: Of each component of y.
    """
    given = given_resolution(problem, options)
    fewer = Resolution(
        _fewer(problem.a, given.a),
        equal_panels(problem.w.squared_radius, max(1, given.r.total - 1), 1),
        given.y,
        given.hermite_degree,
        given.radial_degree,
        given.tolerance,
        None if problem.b is None or given.b is None else _fewer(problem.b, given.b),
    )
    panels, points = len(rule.counts), max(1, rule.counts[0] * 3 // 4)
    try:
        coarse = run_gauss(problem, make_labels(problem, fewer), features, times, normal_rule(panels, points), given.tolerance)
        change = np.abs(losses - np.array([row[1] for row in coarse.records]))
    except RunError:
        change = np.full_like(losses, np.inf)
    correction, truncation = _truncation(problem, given, options, times)
    return correction, SAFETY * (widened(change) + widened(truncation))


def _fewer(law: Law, panels: Panels) -> Panels:
    """Three quarters of the nodes of a label."""
    return equal_panels(law, max(1, panels.total * 3 // 4), len(panels.counts))


def _truncation(
    problem: Problem, given: Resolution, options: Discretization, times: list[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The correction for the modes beyond the truncation, and its error, on coarse elements."""
    a, r, n, b = COARSE
    base = Resolution(
        equal_panels(problem.a, a, 2),
        equal_panels(problem.w.squared_radius, r, 1),
        () if problem.w.is_point else (Panels((), (n,)),) * problem.p,
        max(problem.target.degree, 4),
        min(1, given.radial_degree),
        max(given.tolerance, 1e-8),
        None if problem.b is None else equal_panels(problem.b, b, 1),
    )
    unit = 0.5 * float((problem.target.coefficients**2).sum())
    studied = study_times(times)
    study = truncation_study(
        problem, base, studied, 0.1 * float(options.accuracy) * unit, (given.hermite_degree, given.radial_degree)
    )
    places = record_places(problem.stages, studied, times)
    return at_places(study.correction, places), at_places(study.error, places)
