"""How many points of a net an accuracy takes, and what the mean over some scrambles says of one of them.

Scrambles are independent, so their mean E has a standard error that is measured: nothing that a level of refinement could miss
is left out.  The main run is one of them, and the others correct it: E_main + (mean of E - E of the main run's scramble), at the
truncation of the study; what another truncation changes of the difference is of second order.

E is a nonlinear function of the moments, so the mean is off by 1/2 sum_i Var m_i and more of that order, which is counted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.studies import Setting
from mfpde.accuracy.study_run import Curve
from mfpde.discretisation.resolution import Net, Resolution

Array = NDArray[np.float64]

# Scrambles, and the probability that their mean is not farther from the truth than is stated, on either side.
SCRAMBLES, CONFIDENCE = 8, 0.995
# Points to begin with, and at the most.
START, MOST = 256, 2**18
# The second level in units of the first one; the least and the largest power of the number of points that errors fall like; and
# the part of a doubling that is left to luck.
SECOND, RATES, SPARE = 4, (0.5, 1.0), 0.25

# Runs tasks, each on one rank, and gives their values to all.
type Divided = Callable[[Mapping[str, Callable[[], Curve]]], dict[str, Curve]]


@dataclass(frozen=True)
class NetStudy:
    """A net, and what it errs by.

    Attributes:
        net: Of the main run.
        correction: Mean E over the scrambles minus E of the main run's, shape (n,).
        error: Of the mean, shape (n,).
        moved: How far any moment of the main run's scramble is from the exact one, shape (n,).
        settled: Whether the share was reached.
    """

    net: Net
    correction: Array
    error: Array
    moved: Array
    settled: bool


def quantile(scrambles: int = SCRAMBLES) -> float:
    """Standard errors that the mean of so many scrambles may be off: Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(scrambles - 1, CONFIDENCE))


def level(setting: Setting, base: Resolution, points: int, divided: Divided) -> NetStudy:
    """Collective. What nets of so many points err by.

    Args:
        setting: The problem.
        base: The truncation and the tolerance of the runs.
        points: Of each net.
        divided: Runs tasks.
    """
    nets = [Net(points, scramble) for scramble in range(SCRAMBLES)]
    runs = divided({str(net.scramble): partial(setting.run, replace(base, net=net)) for net in nets})
    curves = list(runs.values())
    loss, factor = np.array([curve.loss for curve in curves]), quantile() / np.sqrt(SCRAMBLES)
    mean = loss.mean(axis=0)
    error, moved = factor * loss.std(axis=0, ddof=1), np.zeros_like(mean)
    if all(curve.moments.ndim == 2 for curve in curves):
        moments = np.array([curve.moments for curve in curves])
        error = error + 0.5 * moments.var(axis=0, ddof=1).sum(axis=1)
        moved = (np.abs(moments[0] - moments.mean(axis=0)) + factor * moments.std(axis=0, ddof=1)).max(axis=1)
    return NetStudy(nets[0], mean - loss[0], error, moved, settled=False)


def net_study(setting: Setting, base: Resolution, share: float, divided: Divided, given: int | None = None) -> NetStudy:
    """Collective. Nets of more and more points until their mean errs by less than a share.

    Args:
        setting: The problem.
        base: The truncation and the tolerance of the runs.
        share: Of the net in the error of E.
        divided: Runs tasks.
        given: The number of points, if it is not to be chosen.
    """
    found, before = level(setting, base, given or START, divided), None
    while given is None and (worst := float(found.error.max())) > share and found.net.points < MOST:
        if before is None:
            points = SECOND * START
        else:
            fallen = log2(float(before.error.max()) / worst) / log2(found.net.points / before.net.points)
            points = further(found.net.points, worst / share, min(max(fallen, RATES[0]), RATES[1]))
        before, found = found, level(setting, base, points, divided)
    return replace(found, settled=float(found.error.max()) <= share)


def further(points: int, factor: float, rate: float) -> int:
    """The points that divide an error by `factor` which falls like a power `rate` of their number: at least twice as many."""
    return min(MOST, 1 << max(round(log2(2 * points)), ceil(log2(points * factor ** (1 / rate)) - SPARE)))
