"""The times of a width run: steps of equal length between the times at which the right-hand side is not smooth."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mfpde.evolution.integrate import Interval, intervals
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]

# Length of a step in units of 1 / max(xi), and as few steps as a stage may have.
STEP, FEWEST = 1.0, 4
# Steps that all stages may have, and times of a leg at which learning rates are looked at.
MOST, LOOKS = 5_000, 33
# Nodes of the classical Runge-Kutta method of order 4, and its weights.
NODES, WEIGHTS = (0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)


@dataclass(frozen=True)
class Leg:
    """A part of one stage on which its learning rates are smooth, divided into equal steps.

    Attributes:
        stage: Number of the stage.
        start: Of the stage, in training time.
        interval: Since the start of the stage.
        steps: How many.
        first: Whether the stage begins with it.
    """

    stage: int
    start: float
    interval: Interval
    steps: int
    first: bool

    @property
    def length(self) -> float:
        """Of a step."""
        return (self.interval.end - self.interval.start) / self.steps

    @property
    def times(self) -> Array:
        """Of the steps' ends since the start of the training, shape (steps + 1,)."""
        return np.linspace(self.start + self.interval.start, self.start + self.interval.end, self.steps + 1)

    def inside(self, step: int, stage: int) -> float:
        """The time of a Runge-Kutta stage since the start of the stage of the training, at the ends the limit from inside."""
        return self.interval.inside(self.interval.start + (step + NODES[stage]) * self.length)


def legs(problem: Problem, refinement: float = 1.0) -> list[Leg]:
    """The legs of a training.

    Args:
        problem: Gives its stages.
        refinement: How many times as many steps as usual.
    """
    found = []
    for number, stage in enumerate(problem.stages):
        for interval in intervals([stage.duration], stage.breaks):
            length = interval.end - interval.start
            looked_at = [interval.inside(t) for t in np.linspace(interval.start, interval.end, LOOKS)]
            fastest = max(1 / stage.unit_of_time(t) for t in looked_at)
            pulses = max(length / stage.longest_step(t) for t in looked_at)
            least = FEWEST * length / stage.duration
            steps = max(1, ceil(refinement * max(length * fastest / STEP, least, pulses) - 1e-9))
            found.append(Leg(number, stage.start, interval, steps, interval.start == 0.0))
    return found
