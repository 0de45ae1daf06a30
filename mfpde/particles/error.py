"""The error of Gauss particles, by runs with fewer of them and by the study of the Hermite truncation."""

import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.estimate import SAFETY, widened
from mfpde.accuracy.studied_times import Places, studied_times
from mfpde.accuracy.studies import Setting
from mfpde.accuracy.truncation import truncation_study
from mfpde.discretisation.resolution import Resolution, given_resolution, make_labels
from mfpde.errors import RunError
from mfpde.evolution.flow import Array
from mfpde.features.protocol import Features
from mfpde.particles.reduced import run_gauss
from mfpde.particles.sampling import normal_rule
from mfpde.problem.laws import Law
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.panels import Panels, equal_panels
from mfpde.quadrature.rules import Rule

# Nodes and panels of the coarse elements of the truncation's study, and nodes of a direction of y.
COARSE, COARSE_OF_Y = {"a": (8, 2), "b": (6, 1), "r": (2, 1)}, 4


def gauss_error(
    problem: Problem, options: Discretization, features: Features, times: list[float], losses: Array, rule: Rule
) -> tuple[Array, Array]:
    """Collective. What the modes beyond the truncation add to E, and the estimated error of the sum, shapes (n,).

    Args:
        problem: What was solved.
        options: The discretisation.
        features: Features of the run.
        times: Times of its records.
        losses: E of its modes at the records.
        rule: Rule of each component of y.
    """
    given = given_resolution(problem, options)
    fewer = given.with_panels({name: _fewer(name, problem.directions[name], own) for name, own in given.labels.items()})
    panels, points = len(rule.counts), max(1, rule.counts[0] * 3 // 4)
    try:
        coarse = run_gauss(problem, make_labels(problem, fewer), features, times, normal_rule(panels, points), given.tolerance)
        change = np.abs(losses - np.array([row[1] for row in coarse.records]))
    except RunError:
        change = np.full_like(losses, np.inf)
    correction, truncation = _truncation(problem, given, options, times)
    return correction, SAFETY * (widened(change) + widened(truncation))


def _fewer(name: str, law: Law, panels: Panels) -> Panels:
    """Three quarters of the nodes of a label, one less of r."""
    return equal_panels(law, max(1, panels.total - 1 if name == "r" else panels.total * 3 // 4), len(panels.counts))


def _truncation(
    problem: Problem, given: Resolution, options: Discretization, times: list[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The correction for the modes beyond the truncation, and its error, on coarse elements."""
    base = Resolution(
        {name: equal_panels(law, *COARSE[name]) for name, law in problem.label_laws.items()},
        {} if problem.w.is_point else dict.fromkeys(problem.y_laws, Panels((), (COARSE_OF_Y,))),
        max(problem.target.degree, 4),
        min(1, given.radial_degree),
        max(given.tolerance, 1e-8),
    )
    studied = studied_times(problem, options, base, times)
    setting = Setting(problem, options, studied, Allowed(0.1 * float(options.accuracy) * problem.target.unit))
    study = truncation_study(setting, base, (given.hermite_degree, given.radial_degree))
    places = Places.of(problem.stages, studied, times)
    correction, between = places.smooth(study.correction)
    return correction, places.bound(study.error) + between
