"""What is known of networks of N neurons: E[E_N] = E + c/N, deviation s/sqrt(N), and what follows for N."""

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mfpde.digits import credible

Array = NDArray[np.float64]

# What N is asked for: a deviation of 1% of E.  The expansion is trusted where c/N and s/sqrt(N) are below this part of E.
WANTED, TRUSTED = 0.01, 0.3
# c is not known where its error is above this part of the largest c so far.
LOST = 0.5
# Neurons of the band in a picture, unless asked otherwise.
NEURONS = 100


@dataclass(frozen=True)
class SmallSteps:
    """What one-pass SGD adds: E[E_SGD] = E + c/N + eta e + (eta/B) q, at the times of a `Width`, shapes (records,).

    Attributes:
        batch, step: B and eta, the length of a step in time.
        euler, euler_error: e, and its estimated error.
        noise, noise_error: q, and its error; it grows like d.
        noise_deviation: The standard deviation of E by noise is sqrt(eta/B) times this.
    """

    batch: int
    step: float
    euler: Array
    euler_error: Array
    noise: Array
    noise_error: Array
    noise_deviation: Array

    @property
    def mean(self) -> Array:
        """eta e + (eta/B) q."""
        return self.step * self.euler + self.step / self.batch * self.noise

    @property
    def error(self) -> Array:
        """That of the mean."""
        return self.step * self.euler_error + self.step / self.batch * self.noise_error

    @property
    def spread(self) -> Array:
        """The standard deviation of E by noise."""
        return sqrt(self.step / self.batch) * self.noise_deviation


@dataclass(frozen=True)
class Width:
    """The expansion in 1/N along a training, at times of its own, shapes (records,).

    Attributes:
        time: Training time, ascending; twice where its derivatives jump.
        loss, loss_error: E at N = inf as this computation sees it, and its estimated error.
        correction, correction_error: c, and its error.
        deviation, deviation_error: s, and its error.
        sectors: 1/2 <|mu_l|^2>, the part of c that harmonics of degree l = 0, 1, .. of V perp have, and in the last column the
            energy of single neurons beyond the modes, shape (records, sectors + 1).
        parts: The error of c by source.
        moments: Hermite coefficients of the mean field, shape (records, modes).
        hermite_degree, radial_degree: K and J of these.
        resolution: What was computed, in words.
        accuracy: Largest error of c and s, in units of their largest values, that was asked for.
        settled: Whether it was reached.
        warnings: What a user should know.
        sgd: What small steps and batches add, if that was asked for.
    """

    time: Array
    loss: Array
    loss_error: Array
    correction: Array
    correction_error: Array
    deviation: Array
    deviation_error: Array
    sectors: Array
    parts: dict[str, Array]
    moments: Array
    hermite_degree: int
    radial_degree: int
    resolution: str
    accuracy: float
    settled: bool
    warnings: tuple[str, ...] = ()
    sgd: SmallSteps | None = None

    @property
    def known(self) -> int:
        """How many records there are before the error of c is half of the largest c so far: at least one."""
        largest = np.maximum.accumulate(np.abs(self.correction))
        lost = np.flatnonzero(self.correction_error > LOST * largest)
        return max(1, int(lost[0])) if len(lost) else len(self.time)

    def mean(self, neurons: int) -> Array:
        """E[E_N] = E + c/N; with SGD + eta e + (eta/B) q."""
        return self.loss + self.correction / neurons + (0.0 if self.sgd is None else self.sgd.mean)

    def spread(self, neurons: int) -> Array:
        """The standard deviation of E_N over initial weights, s/sqrt(N); with SGD, over samples as well."""
        return np.hypot(self.deviation / sqrt(neurons), 0.0 if self.sgd is None else self.sgd.spread)

    def at(self, times: Array) -> tuple[Array, Array, Array]:
        """E, c and s at other times within the training, by splines; where a derivative jumps, from the left."""
        loss, correction, deviation = self.carried(np.stack((self.loss, self.correction, self.deviation)), times)
        return loss, correction, np.maximum(deviation, 0.0)

    def carried(self, curves: Array, times: Array) -> Array:
        """Curves (n, records) at other times within the training, shape (n, len(times)); arguments as for `at`."""
        found = np.empty((len(curves), len(times)))
        ends = [0, *(np.flatnonzero(np.diff(self.time) == 0) + 1), len(self.time)]
        for first, last in zip(reversed(ends[:-1]), reversed(ends[1:]), strict=True):
            here = times <= self.time[last - 1]
            found[:, here] = CubicSpline(self.time[first:last], curves[:, first:last], axis=1)(times[here])
        return found

    def neurons_for_mean(self, relative: float = WANTED) -> int:
        """The least N for which |c|/N is at most `relative` E at all times where c is known."""
        return max(1, ceil((np.abs(self.correction) / (relative * self.loss))[: self.known].max()))

    def neurons_for_one(self, relative: float = WANTED) -> int:
        """The least N for which s/sqrt(N), the deviation of one network, is at most `relative` E at these times."""
        return max(1, ceil(((self.deviation / (relative * self.loss)) ** 2)[: self.known].max()))

    def least(self) -> int:
        """The least N for which the expansion is trusted at these times."""
        return max(self.neurons_for_mean(TRUSTED), self.neurons_for_one(TRUSTED))

    def caution(self, neurons: int) -> str:
        """A warning where the expansion is not to be trusted for N neurons; "" elsewhere."""
        size = (np.maximum(np.abs(self.mean(neurons) - self.loss), self.spread(neurons)) / self.loss)[: self.known]
        wrong = np.flatnonzero(size > TRUSTED)
        if not len(wrong):
            return ""
        steps = "" if self.sgd is None else ", and steps as small as batches allow"
        return (
            f"width: with N = {neurons} the mean or the deviation differs from E by up to {size.max():.2g} E, and by more than "
            f"{TRUSTED:g} E from t = {self.time[wrong[0]]:.3g} on: an expansion says little there; it is meant for N >= "
            f"{self.least()}{steps}"
        )

    def line(self, loss: float | None = None, loss_error: float | None = None) -> str:
        """The summary: E, c and s at the end, with the digits that hold, and the N that 1% takes.

        Args:
            loss, loss_error: E and its error, of a run that knows it better.
        """
        last = self.known - 1
        ends = loss is not None and self.known == len(self.time)
        own = (loss, loss_error or 0.0) if loss is not None and ends else (float(self.loss[last]), float(self.loss_error[last]))
        until = "" if self.known == len(self.time) else " until then"
        sign = "-" if self.correction[last] < 0 else "+"
        mean = credible(abs(float(self.correction[last])), float(self.correction_error[last]))
        spread = credible(float(self.deviation[last]), float(self.deviation_error[last]))
        return (
            f"E_N = {credible(*own)} {sign} {mean}/N +- {spread}/sqrt(N) at t = {self.time[last]:g}     "
            f"N >= {self.neurons_for_mean()} for 1% of the mean, N >= {self.neurons_for_one()} for one network, over the run"
            f"{until}"
        )
