"""How many points of a net an accuracy takes, and what the mean over some scrambles says of one of them.

Scrambles are independent, so their mean E has a standard error that is measured: nothing that a level of refinement could miss
is left out.  The main run is one of them, and the others correct it: E_main + (mean of E - E of the main run's scramble), at the
truncation of the study; what another truncation changes of the difference is of second order.

E is a nonlinear function of the moments, so the mean is off by 1/2 sum_i Var m_i and more of that order, which is counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.studies import Setting
from mfpde.accuracy.study_run import Curve
from mfpde.discretisation.resolution import Net, Resolution

Array = NDArray[np.float64]

# Scrambles, and the probability that their mean is not farther from the truth than is stated, on either side.
SCRAMBLES, CONFIDENCE = 8, 0.995
# Points to begin with, and at the most.
START, MOST = 512, 2**18
# The power of the number of points that errors fall like, as a guess, the least and the largest.
GUESS, RATES = 0.75, (0.5, 1.0)
# Doublings from one level to the next at the most, and the part of one that is left to luck.
FURTHEST, SPARE = 3, 0.25

# Runs tasks, each on one rank, and gives their values to all.
type Divided = Callable[[Mapping[str, Callable[[], Curve]]], dict[str, Curve]]


@dataclass(frozen=True)
class NetStudy:
    """A net, and what it errs by.

    Attributes:
        net: Of the main run.
        loss: Mean E over the scrambles, shape (n,).
        correction: That minus E of the main run's, shape (n,).
        error: Of the mean, shape (n,).
        moved: How far any moment of the main run's scramble is from the exact one, shape (n,).
        shift: Mean moments over the scrambles minus those of the main run's, shape (n, modes); none where they are not known.
        settled: Whether the share was reached.
    """

    net: Net
    loss: Array
    correction: Array
    error: Array
    moved: Array
    shift: Array
    settled: bool

    def worst(self, share: Allowed) -> float:
        """The largest error in shares."""
        return share.times(self.error, self.loss)


def quantile(scrambles: int = SCRAMBLES) -> float:
    """Standard errors that the mean of so many scrambles may be off: Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(scrambles - 1, CONFIDENCE))


def level(setting: Setting, base: Resolution, points: int, divided: Divided, known: Curve | None = None) -> NetStudy:
    """Collective. What nets of so many points err by.

    Args:
        setting: The problem.
        base: The truncation and the tolerance of the runs.
        points: Of each net.
        divided: Runs tasks.
        known: The run of the base's own net, which is not made again.
    """
    nets = [Net(points, scramble) for scramble in range(SCRAMBLES)]
    own = {} if known is None else {base.net: known}
    runs = divided({str(net.scramble): partial(setting.run, replace(base, net=net)) for net in nets if net not in own})
    curves = [own[net] if net in own else runs[str(net.scramble)] for net in nets]
    loss, factor = np.array([curve.loss for curve in curves]), quantile() / np.sqrt(SCRAMBLES)
    mean = loss.mean(axis=0)
    error, moved = factor * loss.std(axis=0, ddof=1), np.zeros_like(mean)
    shift = np.zeros((len(mean), 0))
    if all(curve.moments.ndim == 2 for curve in curves):
        moments = np.array([curve.moments for curve in curves])
        error = error + 0.5 * moments.var(axis=0, ddof=1).sum(axis=1)
        shift = moments.mean(axis=0) - moments[0]
        moved = (np.abs(shift) + factor * moments.std(axis=0, ddof=1)).max(axis=1)
    return NetStudy(nets[0], mean, mean - loss[0], error, moved, shift, settled=False)


def wanted_points(levels: Sequence[NetStudy], share: Allowed) -> int:
    """The points of which a net errs by a share, from 2 to 8 times those of the last level: errors fall as they have."""
    last, rate = levels[-1], GUESS
    worst = last.worst(share)
    if worst <= 1:
        return last.net.points
    if len(levels) > 1:
        rate = log2(levels[-2].worst(share) / worst) / log2(last.net.points / levels[-2].net.points)
    wanted = last.net.points * worst ** (1 / min(max(rate, RATES[0]), RATES[1]))
    doublings = min(max(1, ceil(log2(wanted / last.net.points) - SPARE)), FURTHEST)
    return min(MOST, last.net.points << doublings)


def net_study(
    setting: Setting, base: Resolution, share: Allowed, divided: Divided, known: Sequence[NetStudy], fixed: bool
) -> NetStudy:
    """Collective. Nets of more and more points until their mean errs by less than a share.

    Args:
        setting: The problem.
        base: The truncation and the tolerance of the runs.
        share: Of the net in the error of E.
        divided: Runs tasks.
        known: Levels of few points.
        fixed: Whether the points of the last of them are given.
    """
    levels = list(known)
    while not fixed and levels[-1].worst(share) > 1 and levels[-1].net.points < MOST:
        levels.append(level(setting, base, wanted_points(levels, share), divided))
    return replace(levels[-1], settled=levels[-1].worst(share) <= 1)
