"""Studies of one direction at a time, on elements that are coarse in all the others.

A study refines its direction until E(t) stands still, by real runs.  The level that it recommends is the coarsest one whose
distance from the finest of its runs, at the worst record, is within the share that the direction may have of the error.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.study_run import Curve, run
from mfpde.discretisation.protocol import Direction
from mfpde.discretisation.resolution import Resolution
from mfpde.errors import RunError
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.panels import Panels

Array = NDArray[np.float64]


def _nothing() -> Array:
    return np.zeros(0)


@dataclass(frozen=True)
class Level[Value]:
    """One run of a study.

    Attributes:
        value: Of its direction.
        loss: E at the records, shape (n,).
        moments: Those of the run, shape (n, modes); none where they are not known, or forgotten.
    """

    value: Value
    loss: Array
    moments: Array = field(default_factory=_nothing)


@dataclass(frozen=True)
class Study[Value]:
    """The runs of one direction, from coarse to fine.

    Attributes:
        levels: At least one.
        chosen: Number of the recommended level.
        settled: Whether the direction's share was reached.
        fixed: Whether the user gave the level, and finer ones serve the estimate alone.
        elsewhere: What the next level changes on elements that are fine in other directions, shape (n,), in units of what is
            wanted where E is `loss`; None if it is not known.
        moved: How far any moment of the recommended level is from those of finer ones, shape (n,); see `measured`.
        shift: Moments of the finest level minus those of the recommended one, shape (n, modes); likewise.
    """

    levels: tuple[Level[Value], ...]
    chosen: int
    settled: bool = True
    fixed: bool = False
    elsewhere: Array | None = None
    moved: Array = field(default_factory=_nothing)
    shift: Array = field(default_factory=_nothing)

    @property
    def value(self) -> Value:
        """The recommended one."""
        return self.levels[self.chosen].value

    @property
    def loss(self) -> Array:
        """E at the recommended level, where the other directions are coarse, shape (n,)."""
        return self.levels[self.chosen].loss

    @property
    def coarser(self) -> Value:
        """One level below it, for the run that checks all directions together."""
        return self.levels[max(self.chosen - 1, 0)].value

    def near(self, distance: Allowed) -> Value:
        """The coarsest level from which on E differs by at most `distance` from the recommended one."""
        best = self.loss
        far = [k for k, level in enumerate(self.levels[: self.chosen]) if distance.times(level.loss - best, best) > 1]
        return self.levels[max(far, default=-1) + 1].value

    @property
    def error(self) -> Array:
        """Of the recommended level: what the finer ones change, and as much again as the last refinement changed, (n,)."""
        return self._error if self.elsewhere is None else np.maximum(self._error, self.elsewhere)

    @property
    def _error(self) -> Array:
        return _left([level.loss for level in self.levels], self.chosen)

    def measured(self) -> "Study[Value]":
        """With what the levels say of the moments, which they then forget."""
        moments = [level.moments for level in self.levels]
        bare = tuple(Level(level.value, level.loss) for level in self.levels)
        if not all(m.ndim == 2 for m in moments):
            return replace(self, levels=bare, moved=np.zeros_like(bare[0].loss), shift=np.zeros((len(bare[0].loss), 0)))
        shift = moments[-1] - moments[self.chosen]
        return replace(self, levels=bare, moved=_left(moments, self.chosen).max(axis=1), shift=shift)

    @property
    def step(self) -> Array:
        """E at the recommended level minus E one level below it, shape (n,)."""
        return self.loss - self.levels[max(self.chosen - 1, 0)].loss


def _left(curves: list[Array], chosen: int) -> Array:
    """What finer curves change of the chosen one, and as much again as the last refinement changed, the shape of a curve."""
    further = [np.abs(curve - curves[chosen]) for curve in curves[chosen + 1 :]]
    if not further:
        return np.abs(curves[-1] - curves[-2]) if len(curves) > 1 else np.zeros_like(curves[0])
    return np.asarray(np.max(further, axis=0) + np.abs(curves[-1] - curves[-2]))


def unchanging[Value](value: Value, loss: Array) -> Study[Value]:
    """The study of a direction that has nothing to refine."""
    return Study((Level(value, loss),), 0)


def refine_until[Value](
    first: Level[Value], finer: Callable[[Level[Value], bool], Level[Value] | None], share: Allowed, most: int
) -> Study[Value]:
    """Refines until two refinements together change E by less than `share`, or there is no finer level, or `most` are made.

    The last refinement is one of the whole direction: levels that only an indicator has refined may agree and be wrong.

    Args:
        first: The coarsest level.
        finer: The next level, of the whole direction or where an indicator wants it; or None.
        share: Of the direction in the error.
        most: Refinements at the most.
    """
    levels = [first]
    for made in range(1, most + 1):
        whole = made == most or (made > 1 and last_change(levels, share) <= 1)
        following = finer(levels[-1], whole)
        if following is None:
            break
        levels.append(following)
        if whole and len(levels) > 2 and _distance(levels, len(levels) - 3, share) <= 1:
            break
    return choose(levels, share)


def choose[Value](levels: list[Level[Value]], share: Allowed) -> Study[Value]:
    """The study of some levels, with the coarsest one recommended that is within the share."""
    distances = [_distance(levels, k, share) for k in range(len(levels) - 1)]
    fitting = [k for k in range(len(levels) - 1) if max(distances[k:]) <= 1]
    settled = bool(fitting)
    return Study(tuple(levels), fitting[0] if settled else len(levels) - 1, settled)


def _distance[Value](levels: list[Level[Value]], k: int, share: Allowed) -> float:
    """Largest change of E from level k to any finer one, and once more the last change, in shares."""
    return share.times(Study(tuple(levels), k).error, levels[-1].loss)


def last_change[Value](levels: list[Level[Value]], share: Allowed) -> float:
    """How many shares the last refinement has changed."""
    return share.times(levels[-1].loss - levels[-2].loss, levels[-1].loss)


@dataclass(frozen=True)
class Setting:
    """What studies of one problem have in common.

    Attributes:
        problem: What to solve.
        options: The discretisation.
        times: Of the records.
        share: Of a direction in the error.
    """

    problem: Problem
    options: Discretization
    times: list[float]
    share: Allowed

    def run(
        self, resolution: Resolution, *, tail: bool = False, with_profiles: bool = False, most_steps: float = np.inf
    ) -> Curve:
        """One run on this rank. Where the error is relative to E(t), the loss is that of all modes: late it may be in those
        beyond the truncation alone."""
        whole, given = self.share.relative > 0 and not tail, (self.problem, self.options, resolution, self.times)
        curve = run(*given, tail=tail or whole, with_profiles=with_profiles, most_steps=most_steps)
        return replace(curve, loss=curve.corrected) if whole else curve


def panel_study(setting: Setting, base: Resolution, name: str, direction: Direction, curve: Curve, most: int) -> Study[Panels]:
    """The study of a direction with panels.

    Args:
        setting: The problem.
        base: Coarse in all directions.
        name: Of the direction.
        direction: How it is refined.
        curve: Of the base, with profiles.
        most: Refinements at the most.
    """
    first = base.panels[name]
    if direction.exact:
        return unchanging(first, curve.loss)
    curves = {first: curve}

    def finer(level: Level[Panels], whole: bool) -> Level[Panels] | None:
        profile = curves[level.value].profiles[name]
        panels = direction.everywhere_finer(level.value) if whole else direction.finer(level.value, profile)
        try:
            most = max(FEW_STEPS, MORE_STEPS * curve.steps)
            found = setting.run(base.with_panels({name: panels}), with_profiles=True, most_steps=most)
        except RunError:  # a coarse run may blow up where a finer one would not: leave it at what there is
            return None
        curves[panels] = found
        return Level(panels, found.loss, found.moments)

    found = refine_until(Level(first, curve.loss, curve.moments), finer, setting.share, most)
    # Of a single level nothing is known.
    return found if len(found.levels) > 1 else replace(found, elsewhere=np.abs(curve.loss))


# Steps that a finer level may take: those that chase a node of no mass, which runs away, show nothing.
FEW_STEPS, MORE_STEPS = 2000, 30
# The change from the lowest level to the next, in shares of the direction, below which it is not looked at again.
SMALL = 0.01


def lowest_on_fine(setting: Setting, fine: Resolution, name: str, study: Study[Panels]) -> Study[Panels]:
    """The study of a direction whose lowest level is recommended, as it looks where other directions are fine.

    The run that checks all directions together cannot be coarser there, and sees nothing of it.
    """
    losses = [level.loss for level in study.levels[:2]]
    if study.chosen or len(losses) < 2 or setting.share.times(losses[1] - losses[0], losses[1]) <= SMALL:
        return study
    return seen_on_fine(setting, fine, name, study)


def seen_on_fine(setting: Setting, fine: Resolution, name: str, study: Study[Panels], own: Array | None = None) -> Study[Panels]:
    """The study of a direction as it looks from the recommended level on where other directions are fine; `own` is E there."""
    chosen, elsewhere = study.chosen, np.zeros_like(study.loss)
    own = setting.run(fine.with_panels({name: study.value})).loss if own is None else own
    for following in range(chosen + 1, len(study.levels)):
        finer = setting.run(fine.with_panels({name: study.levels[following].value})).loss
        elsewhere = np.abs(finer - own) * setting.share.at(study.loss) / setting.share.at(finer)
        if setting.share.times(elsewhere, study.loss) <= 1:
            break
        chosen, own = following, finer
    return replace(study, chosen=chosen, elsewhere=elsewhere)
