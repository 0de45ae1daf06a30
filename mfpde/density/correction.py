"""What the error of a run's mean field changes of the map: a correction of the first order, and what it leaves.

The studies of a run's error say what its mean field lacks.  Points that are followed in the field with it and without it are
apart by what a finer run would change of where neurons are, to first order.  On narrow ridges that is a share of a bin, which
changes a picture much.  The difference is smooth in the labels: it is interpolated between few of them, and added to the map.
"""

from dataclasses import dataclass

from mfpde.density.choice import TRIALS, Ruler, Trial
from mfpde.density.maps import Interpolated, interpolant, refined_rules, sizes
from mfpde.discretisation.recorded import PushForward
from mfpde.evolution.passive import Passive, stacked
from mfpde.quadrature.rules import Rule

# Share of the correction that is not counted on: studies on coarse elements were found to miss up to a fifth of it;
# all of it counts where they have not come to an end.
UNCERTAIN = 0.3
# Share of the wanted error below which nothing is corrected; nodes times modes of the correction, and its nodes at the most.
SMALL, WORK, MOST = 0.02, 1_000_000, 5_000


@dataclass(frozen=True)
class Correction:
    """What is to be added to a map.

    Attributes:
        change: Of (A, X, R), and with biases of B; None where it is too small to matter, or could not be interpolated.
        error: What the field's error changes of the picture all the same, in L1.
    """

    change: Interpolated | None
    error: float


def correction(run: PushForward, ruler: Ruler, time: float, trial: Trial, passive: Passive) -> Correction | None:
    """Collective. The correction of the map at a time; None where the run knows nothing of its error.

    Args:
        run: What is drawn.
        ruler: Measures what it changes.
        time: Of the training.
        trial: Points to measure at.
        passive: Follows points in the run's own mean field.
    """
    if run.shift is None or not len(run.field.times):
        return None
    uncertain = UNCERTAIN if run.shift.settled else 1.0
    better = Passive(run.problem, run.shift.modes, run.shift.added(run.field, run.modes), time, passive.together)
    own = trial.nodes.part(slice(TRIALS))
    before, after = stacked(passive(own)), stacked(better(own))
    whole = ruler.moved(before, after)
    if whole <= SMALL * ruler.accuracy:
        return Correction(None, (1 + uncertain) * whole)
    rules = _few(run, max(TRIALS, min(MOST, WORK // len(run.shift.modes))))
    finer, coarser = (interpolant(ruler.comm, run.problem, each, rules) for each in (better, passive))
    change = Interpolated(rules, finer.values - coarser.values)
    left = ruler.moved(before + change.at(trial.start), after)
    if left > whole:
        return Correction(None, (1 + uncertain) * whole)
    return Correction(change, left + uncertain * whole)


def _few(run: PushForward, most: int) -> tuple[Rule, ...]:
    """Rules of at most about so many nodes, the run's own if these are few."""
    rules = run.rules
    while sizes(rules) > most:
        coarser = refined_rules(run.problem, rules, [-1] * len(rules))
        if sizes(coarser) >= sizes(rules):
            break
        rules = coarser
    return rules
