"""The study of the time step's tolerance, and the tolerance that other studies begin with."""

from dataclasses import replace

import numpy as np

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.studies import Level, Setting, Study, last_change
from mfpde.accuracy.study_run import Curve
from mfpde.discretisation.resolution import Resolution

# The first tolerance of a time step in units of the accuracy, the largest and the smallest one, and the ratio of two levels.
FIRST, LARGEST, SMALLEST, FINER = 0.02, 1e-5, 1e-13, 30.0


def first_tolerance(wanted: Allowed, unit: float, least: float) -> float:
    """The tolerance of a time step before anything is known of it.

    E = r^2 / 2 of the residual r: an error of r is relative to r, which is left with sqrt(2 E).

    Args:
        wanted: The error of E that is allowed.
        unit: E h*^2 / 2.
        least: The smallest E over the run.
    """
    left = np.sqrt(min(max(least, wanted.least), unit) / unit)
    return float(min(max(FIRST * max(wanted.absolute / unit, wanted.relative * left), FINER * SMALLEST), LARGEST))


def steps_resolved(setting: Setting, base: Resolution, wanted: Allowed) -> tuple[Resolution, Curve]:
    """The base with a tolerance at which its time steps do not hide what is left of E, and its run with profiles.

    Near an equilibrium the steps leave a residual of the size of their tolerance, and E is no less: other directions could not
    be studied there.  E is relative to E, so the tolerance follows it down.
    """
    while True:
        curve = setting.run(base, with_profiles=True)
        tolerance = first_tolerance(wanted, setting.problem.target.unit, float(np.abs(curve.loss).min()))
        if setting.options.tolerance is not None or tolerance >= 0.5 * base.tolerance:
            return base, curve
        base = replace(base, tolerance=tolerance)


def tolerance_study(setting: Setting, base: Resolution, curve: Curve, share: Allowed) -> Study[float]:
    """The study of the time step's tolerance: a level errs by what a step at a thirtieth of it changes; until that is `share`.

    The smallest one has no finer level: it errs by no more than the one before.
    """

    def level(tolerance: float) -> Level[float]:
        found = setting.run(replace(base, tolerance=tolerance))
        return Level(tolerance, found.loss, found.moments)

    levels = [Level(base.tolerance, curve.loss, curve.moments)]
    if base.tolerance / FINER < SMALLEST * (1 - 1e-9):
        levels.insert(0, level(FINER * base.tolerance))
        return Study(tuple(levels), 1, last_change(levels, share) <= 1)
    while levels[-1].value / FINER >= SMALLEST * (1 - 1e-9):
        levels.append(level(levels[-1].value / FINER))
        if last_change(levels, share) <= 1:
            return Study(tuple(levels), len(levels) - 2)
    return Study(tuple(levels), len(levels) - 1, settled=False)
