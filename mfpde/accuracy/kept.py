"""Studies of a run that is there already and goes on: the error of its own levels, whatever those of a new run would be."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mfpde.accuracy.studies import Level, Setting, Study
from mfpde.discretisation.protocol import Direction
from mfpde.discretisation.resolution import Resolution
from mfpde.quadrature.panels import Panels

# Nodes of a run that goes on, up to which its own error is measured on its own elements.
REMEASURED = 5000
# Share of the truncation's correction that is uncertain where it was measured on the elements of the run.
ON_OWN = 0.01


def fixed_study(
    setting: Setting, base: Resolution, name: str, direction: Direction, kept: Panels, study: Study[Panels]
) -> Study[Panels]:
    """The error of panels that a run has already, by the finest levels that a study of its own has found; where these are no
    finer, by the refinement of all of its panels, as coarser ones say nothing of it."""
    levels = list(study.levels)
    values = [each.value for each in levels]
    number = values.index(kept) if kept in values else sum(value.total < kept.total for value in values)
    if kept not in values:
        levels.insert(number, _level(setting, base, name, kept))
    if number + 1 == len(levels) and not direction.exact:
        levels.append(_level(setting, base, name, direction.everywhere_finer(kept)))
    levels = [*levels[max(number - 1, 0) : number + 1], *levels[max(number + 1, len(levels) - 2) :]]
    return Study(tuple(levels), min(number, 1), study.settled, fixed=True)


def seen_on_own(
    setting: Setting, base: Resolution, directions: dict[str, Direction], studies: dict[str, Study[Panels]]
) -> dict[str, Callable[[], Study[Panels]]]:
    """Tasks for directions whose error is more than their share: the same levels where the other directions are those of the run.

    On few labels an error is not averaged over them, and looks up to a hundred times as large.  Large runs are left out.
    """
    fine = base.with_panels({name: study.value for name, study in studies.items()})

    def again(name: str) -> Study[Panels]:
        levels = tuple(_level(setting, fine, name, level.value) for level in studies[name].levels)
        return replace(studies[name], levels=levels)

    large = [
        name for name, study in studies.items() if not directions[name].exact and setting.share.times(study.error, study.loss) > 1
    ]
    return {name: partial(again, name) for name in large if fine.nodes <= REMEASURED}


def _level(setting: Setting, base: Resolution, name: str, panels: Panels) -> Level[Panels]:
    found = setting.run(base.with_panels({name: panels}))
    return Level(panels, found.loss, found.moments)
