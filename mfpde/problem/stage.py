"""One stage of a training: what moves the neurons in it, and how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

from mfpde.errors import RunError
from mfpde.neurons import Array, Cloud, LearningRates, Trained
from mfpde.problem.activation import Activation
from mfpde.problem.schedule import Schedule, joint_breaks
from mfpde.problem.terms import GradientTerm, Term

# The rate of what is not there.
NO_RATE = Schedule("0", "0.0", 0.0)


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        start, duration: In training time.
        activation: sigma during it.
        xi_a, xi_w, xi_b: Learning rates; their t counts from the start of the stage. xi_b is 0 where there are no biases.
        average: At its start, w becomes the average of this many independent copies.
        reset_a: Whether a starts again at 0.
        by_moments: Whether moments are all that is known of the law of w from its start on, and all that is needed.
        terms: Terms of the velocity beside the interaction, see `mfpde.problem.terms`.
        on_sphere: Whether w moves on |w| = 1, by the projected gradient.
        interaction: Whether the residual is that of the square loss, m - h, or with the correlation loss -E f h* just -h.
    """

    start: float
    duration: float
    activation: Activation
    xi_a: Schedule
    xi_w: Schedule
    average: int
    reset_a: bool
    by_moments: bool = False
    terms: tuple[Term, ...] = ()
    interaction: bool = True
    on_sphere: bool = False
    xi_b: Schedule = NO_RATE

    @property
    def trains(self) -> Trained:
        """What moves: what has a learning rate, and what a term moves."""
        rated = Trained(not self.xi_a.zero, not self.xi_w.zero, not self.xi_b.zero)
        return Trained(*map(any, zip(rated, *(term.trains(rated) for term in self.terms), strict=True)))

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times since its start at which a learning rate or a term jumps or has a kink, ascending."""
        of_terms = (t for term in self.terms for t in term.breaks if 0 < t < self.duration)
        return joint_breaks((self.xi_a, self.xi_w, self.xi_b), of_terms)

    def rates(self, time: float) -> LearningRates:
        """The learning rates at a time since its start.

        Raises:
            RunError: If one of them is not finite.
        """
        xi = LearningRates(self.xi_a(time), self.xi_w(time), self.xi_b(time))
        if not all(isfinite(x) for x in xi):
            names = "training.xi_a or training.xi_w" if self.xi_b.zero else "training.xi_a, xi_w or xi_b"
            raise RunError(f"{names} is not finite at t = {time:.6g}")
        return xi

    def residual(self, moments: Array, target: Array) -> Array:
        """Coefficients of the derivative of the trained loss by f, from those of f and h*."""
        return moments - target if self.interaction else -target

    @property
    def regularised(self) -> bool:
        """Whether another loss than E decreases, by its terms."""
        return any(isinstance(term, GradientTerm) for term in self.terms)

    def penalty(self, cloud: Cloud) -> float:
        """What the regularised loss adds to E, of neurons with their weights."""
        return float(sum((cloud.weight * term.potential(cloud)).sum() for term in self.terms if isinstance(term, GradientTerm)))

    def unit_of_time(self, time: float) -> float:
        """1 / max(xi_a, xi_w, xi_b) at `time`: what the flow needs for a change of order 1; inf where nothing moves."""
        fastest = max(self.rates(time))
        return 1 / fastest if fastest > 0 else inf

    def longest_step(self, time: float) -> float:
        """The longest step from `time` that cannot leap over a pulse of a learning rate; inf if there is none."""
        return min(xi.longest_step(time) for xi in (self.xi_a, self.xi_w, self.xi_b))

    @property
    def linear(self) -> bool:
        """Whether only a is trained, and with a polynomial: then moments of the law of w are all that enters."""
        plain = self.interaction and not self.terms
        return self.xi_w.zero and self.xi_b.zero and plain and self.activation.polynomial is not None

    @property
    def degree(self) -> int:
        """Degree of the polynomial activation."""
        return len(self.activation.polynomial or ()) - 1


def stage_times(stages: Sequence[Stage], times: Sequence[float]) -> list[list[float]]:
    """The record times of each stage, from its own start.

    One stage has just the given times; several have their start and end besides, so that a jump of the loss (by another
    activation, by a reset) has a record on both sides.
    """
    if len(stages) == 1:
        return [list(times)]
    found = []
    for stage in stages:
        slack = 1e-9 * stage.duration
        inside = [t - stage.start for t in times if slack < t - stage.start < stage.duration - slack]
        found.append([0.0, *inside, stage.duration])
    return found
