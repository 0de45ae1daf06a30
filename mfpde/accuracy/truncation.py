"""The study of the Hermite truncation, and of the energy that it leaves out."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.studies import Setting
from mfpde.accuracy.study_run import Curve
from mfpde.discretisation.resolution import Resolution
from mfpde.errors import RunError
from mfpde.features.protocol import common_modes
from mfpde.problem.defaults import mode_count
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]

# K and J.
Degrees = tuple[int, int]
# Hermite degrees of the study, by factors of about 4/3.
DEGREES = (4, 6, 8, 10, 13, 17, 22, 28, 36, 46)
# Modes of its runs at the most, but for those that the problem or the user asks for: a run of 30 nodes then takes some seconds,
# and the study ends at K = 28 for p = 4, 17 for p = 5 and 10 for p = 8.
MOST_MODES = 50_000
# The correction for the modes that the main run leaves out belongs to coarse elements.  On fine ones it was found to differ
# by 1 to 8% of itself; a twentieth of it is not counted on, and may be the truncation's share.
UNCERTAIN = 0.05


@dataclass(frozen=True)
class TruncationStudy:
    """The truncation of the main run, and what it leaves out.

    Attributes:
        value: (K, J) of the main run.
        correction: E with all modes minus E with these, shape (n,).
        loss: E with all modes on the elements of the study, shape (n,).
        error: Of the corrected E, shape (n,).
        radial: What one more radial degree changes, shape (n,); part of `error`.
        settled: Whether the share was reached.
        moved: How far any moment of the main run's truncation is from those of finer ones, shape (n,).
        finest: (K, J) of the finest run.
        shift: Its moments minus those of the main run's truncation, or as they are where that has none, shape (n, modes).
    """

    value: Degrees
    correction: Array
    loss: Array
    error: Array
    radial: Array
    settled: bool
    moved: Array
    finest: Degrees
    shift: Array


def truncation_study(
    setting: Setting,
    base: Resolution,
    given: tuple[int | None, int | None],
    smallest: float | None = None,
    uncertain: float = UNCERTAIN,
) -> TruncationStudy:
    """The study of the Hermite truncation, with the energy beyond it added to E.

    Args:
        setting: The problem.
        base: Coarse in all directions, at the smallest truncation that the problem allows.
        given: K and J that the user has fixed, or None.
        smallest: The share at the record where it is smallest; the smallest one at any E if not given.
        uncertain: Part of the correction for the modes that are left out which is not counted on.
    """
    (K, J), problem, share = given, setting.problem, setting.share
    least = base.hermite_degree
    raw: dict[Degrees, Array] = {}
    runs: dict[Degrees, Curve] = {}
    corrected: list[Array] = []
    keys: list[Degrees] = []
    most = problem.target.degree if problem.target.energy is not None else DEGREES[-1]
    smallest = share.smallest if smallest is None else smallest

    def radial_of(degree: int) -> int:
        return max(base.radial_degree, radial_degree(problem, degree, smallest) if J is None else min(J, degree // 2))

    affordable = [n for n in DEGREES if least < n <= most and mode_count(problem.p, problem.d, n, radial_of(n)) <= MOST_MODES]
    for degree in sorted({least, *affordable, *([] if K is None else [K])}):
        keys.append((degree, radial_of(degree)))
        try:
            curve = setting.run(_truncated(base, keys[-1]), tail=True)
        except RunError:
            keys.pop()
            break
        raw[keys[-1]] = curve.loss
        runs[keys[-1]] = curve
        corrected.append(curve.corrected)
        if len(corrected) > 2 and degree >= (K or 0) and _last_changes(corrected, share) <= 1:
            break
    radial = np.zeros_like(corrected[-1])
    more = (keys[-1][0], keys[-1][1] + 1)
    if not problem.w.is_point and 2 * more[1] <= more[0]:
        radial = np.abs(setting.run(_truncated(base, more), tail=True).corrected - corrected[-1])

    def left_out(key: Degrees) -> float:
        return share.times(corrected[-1] - raw[key], corrected[-1])

    fixed = [key for key in keys if key[0] == K]
    fitting = [key for key in keys if uncertain * left_out(key) <= 1]
    chosen = [*fixed, *fitting, keys[-1]][0]
    for j in range(base.radial_degree, chosen[1] if J is None else 0):  # fewer radial modes may do
        key = (chosen[0], j)
        runs[key] = setting.run(_truncated(base, key), tail=True)
        raw[key] = runs[key].loss
        if uncertain * left_out(key) <= 1:
            chosen = key
            break
    last = np.abs(corrected[-1] - (corrected[-2] if len(corrected) > 1 else raw[keys[-1]]))
    if len(corrected) > 2:  # changes may alternate with the parity of K
        last = np.maximum(last, 0.4 * np.abs(corrected[-2] - corrected[-3]))
    last_two = [runs[key] for key in keys[-2:]]
    moved = _apart(runs[chosen], last_two[-1]) + _apart(last_two[0], last_two[-1])
    error = last + radial + uncertain * np.abs(corrected[-1] - raw[chosen])
    settled, shift = _last_changes(corrected, share) <= 1, _shift(runs[chosen], runs[keys[-1]])
    correction = corrected[-1] - raw[chosen]
    return TruncationStudy(chosen, correction, corrected[-1], error, radial, settled, moved, keys[-1], shift)


def _apart(one: Curve, other: Curve) -> Array:
    """The largest difference of the moments that two runs have in common, shape (n,)."""
    mine, theirs = common_modes(one.modes, other.modes)
    return np.asarray(np.abs(one.moments[:, mine] - other.moments[:, theirs]).max(axis=1))


def _shift(one: Curve, other: Curve) -> Array:
    """Moments of `other` minus those of `one`, or where that has none, as they are, shape (n, modes of `other`)."""
    mine, theirs = common_modes(one.modes, other.modes)
    shift = other.moments.copy()
    shift[:, theirs] -= one.moments[:, mine]
    return shift


def _last_changes(curves: list[Array], share: Allowed) -> float:
    """The last change in shares; larger, if the one before has not been so much larger that a geometric series is in sight."""
    if len(curves) < 2:
        return float("inf")
    changes = [share.times(b - a, curves[-1]) for a, b in zip(curves[-3:], curves[-2:], strict=False)]
    return changes[-1] if len(changes) < 2 or changes[-1] <= 0.7 * changes[-2] else sum(changes)


def _truncated(base: Resolution, truncation: Degrees) -> Resolution:
    return replace(base, hermite_degree=truncation[0], radial_degree=truncation[1])


def radial_degree(problem: Problem, K: int, share: float) -> int:
    """The largest j worth having: a radial mode's weight against the same without V-perp is about (k^2 / D)^j / j!."""
    if problem.w.is_point:
        return 0
    D, weight, j = problem.d - problem.p, 1.0, 0
    while j < K // 2 and weight > 0.1 * share:
        j += 1
        weight *= 4.0 / (D + 2 * j) / j
    return j
