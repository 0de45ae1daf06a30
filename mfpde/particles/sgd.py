"""Online SGD of a finite network on fresh Gaussian samples, in the mean-field scaling.

    f(x) = 1/N sum_i a_i sigma(w_i.x),    with samples x_1..x_B at each step and t = step * eta:
    a_i += eta xi_a(t) mean_b (y_b - f(x_b)) sigma(w_i.x_b),
    w_i += eta xi_w(t) mean_b (y_b - f(x_b)) a_i sigma'(w_i.x_b) x_b,    and eta times the stage's terms

(with biases sigma(w_i.x + b_i), and b_i moves like w_i at the rate xi_b for a coordinate of x that is 1)

with labels y_b = f*(x_b) + s e_b, e_b ~ N(0, 1), s the label noise; with the correlation loss y_b alone instead of
y_b - f(x_b); on the sphere each w_i is divided by |w_i| after a step.

The gradient is that of one neuron's a sigma(w.x), N times the network's: unit time is that of the mean-field flow.
Neurons are divided over the ranks, which all draw the same samples: a step depends on its number alone.

The loss that is recorded is the population's.  With g the part of f in the rotation-invariant Hermite modes,
E = 1/2 sum_i (m_i - h_i)^2 + 1/2 E |f - g|^2; the first term is exact, the second is small (1/N, and what the modes
truncate), and only this one is a mean over fixed test samples.
"""

from collections.abc import Callable, Sequence
from math import inf

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import InputError, RunError
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import Modes
from mfpde.interrupts import stop_together
from mfpde.neurons import Cloud
from mfpde.particles.network import NetworkFlow, add_terms_in_space, penalties, penalty, rows_on_sphere
from mfpde.particles.sampling import generator
from mfpde.problem.activation import derivative
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]

# Steps between two looks at signals.
PATIENCE = 16
# Test samples for the part of the loss outside the modes.
TEST = 1024
# Keys of the random streams beside those of the initial neurons, which count blocks upwards from 0.
SAMPLES, TESTS, NOISE = 2**40, 2**41, 2**42


def modes_at(modes: Modes, d: float, x: Array) -> Array:
    """The orthonormal modes he_alpha(z) :|y|^{2j}: at samples x (n, d), shape (n, modes).

    The normalised Wick power is (-1)^j L_j^{(D/2-1)}(|y|^2 / 2) / sqrt(binom(j + D/2 - 1, j)), a Laguerre polynomial.
    """
    from scipy.special import binom, eval_genlaguerre, gamma

    p, half = modes.p, (d - modes.p) / 2
    degree = modes.hermite_degree
    he = np.polynomial.hermite_e.hermevander(x[:, :p], degree) / np.sqrt(gamma(np.arange(1.0, degree + 2)))
    square = (x[:, p:] ** 2).sum(axis=1) / 2
    j = np.arange(int(modes.radial.max()) + 1)
    radial = (-1.0) ** j * eval_genlaguerre(j, half - 1, square[:, None]) / np.sqrt(binom(j + half - 1, j))
    value = radial[:, modes.radial]
    for q in range(p):
        value = value * he[:, q, modes.alpha[:, q]]
    return np.asarray(value)


class Sgd:
    """One run of online SGD. Collective to construct and to run.

    Args:
        problem: What to learn; d must be finite.
        features: The Hermite truncation of the recorded moments.
        a, w: This rank's neurons at the start, shapes (n,) and (n, at most d), the components in V first.
        batch, step: B and eta.
        seed: The seed and the number of the repetition.
        label_noise: Standard deviation of the noise in the labels.
        b: This rank's biases at the start, shape (n,), if there are any.

    Raises:
        InputError: If d is infinite or sigma has jumps.
    """

    def __init__(
        self,
        problem: Problem,
        features: HermiteFeatures,
        a: Array,
        w: Array,
        batch: int,
        step: float,
        seed: tuple[int, int],
        label_noise: float = 0.0,
        b: Array | None = None,
    ) -> None:
        check_sgd(problem)
        d = int(problem.d)
        self.problem, self.features, self.seed = problem, features, seed
        self.batch, self.step, self.label_noise = batch, step, label_noise
        self.comm: MPI.Intracomm = features.comm
        self.total = self.comm.allreduce(len(a))
        self.a = a.copy()
        self.b = None if b is None else b.copy()
        self.w = np.zeros((len(a), d))
        self.w[:, : w.shape[1]] = w
        self.slope = derivative(problem.stages[0].activation)
        self._test = generator(seed, TESTS).standard_normal((TEST, d))
        self._modes_at_test = modes_at(features.modes, problem.d, self._test)

    def run(self, times: Sequence[float], record: Callable[..., None]) -> int:
        """Collective. Steps to the last of `times`; records at the steps nearest to them. Returns the number of steps.

        A record is the time, the loss, the moments, and with terms that regularise the penalty.

        Raises:
            RunError: On all ranks, if the network blows up.
        """
        due = [round(time / self.step) for time in times]
        done = 0
        for k in due:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite ends the run below
                while done < k:
                    self._advance(done)
                    done += 1
                    if done % PATIENCE == 0:
                        stop_together(self.comm, done * self.step)
                loss, moments = self.measure()
            if not np.isfinite(loss):
                raise RunError(f"SGD has blown up by t = {k * self.step:.6g}: lower particles.step or the learning rates")
            record(k * self.step, loss, moments, *penalties(self.problem.stages[0], self.penalty))
        return done

    def _advance(self, number: int) -> None:
        time, sigma = number * self.step, self.problem.stages[0].activation
        x = generator(self.seed, SAMPLES + number).standard_normal((self.batch, self.w.shape[1]))
        u = self._arguments(x)
        value = sigma(u)
        stage = self.problem.stages[0]
        xi = stage.rates(time)
        error = self.problem.target(x[:, : self.problem.p].T)
        if self.label_noise:
            error += self.label_noise * generator(self.seed, NOISE + number).standard_normal(self.batch)
        if stage.interaction:
            f = self.a @ value / self.total
            self.comm.Allreduce(MPI.IN_PLACE, f)
            error -= f
        error *= self.step / self.batch
        change = value @ error
        if stage.terms:
            da, dw, db = np.zeros_like(self.a), np.zeros_like(self.w), None if self.b is None else np.zeros_like(self.b)
            add_terms_in_space(stage, time, xi, self.problem.p, (self.a, self.w, self.b), (da, dw, db))
        if xi.w or xi.b:
            slope = self.slope(u)
            if self.b is not None:
                self.b += (slope * (xi.b * self.a[:, None] * error)).sum(axis=1)
            self.w += (slope * (xi.w * self.a[:, None] * error)) @ x
        self.a += xi.a * change
        if stage.terms:
            self.a += self.step * da
            self.w += self.step * dw
            if self.b is not None and db is not None:
                self.b += self.step * db
        if stage.on_sphere:
            self.w = rows_on_sphere(self.w)

    def penalty(self) -> float:
        """Collective. What the regularised loss adds to E."""
        return penalty(self.comm, self.problem.stages[0], self._reduced())

    def _arguments(self, x: Array) -> Array:
        """w_i.x + b_i at samples x (n, d), shape (neurons, n)."""
        u = self.w @ x.T
        return u if self.b is None else u + self.b[:, None]

    def _reduced(self) -> Cloud:
        return NetworkFlow.reduced(self.a, self.w, self.total, self.problem.p, self.b)

    def measure(self) -> tuple[float, Array]:
        """Collective. The population loss (see the module), and the moments over the modes."""
        modes = self.features.modes
        moments = self.features.moments(self._reduced(), np.ones(1)).all
        residual = moments - modes.target_coefficients(self.problem.target)
        f = self.a @ self.problem.stages[0].activation(self._arguments(self._test)) / self.total
        self.comm.Allreduce(MPI.IN_PLACE, f)
        outside = f - self._modes_at_test @ moments
        rest = float((outside**2).mean()) + self._outside(outside)
        return 0.5 * (float(residual @ residual) + rest), moments

    def _outside(self, outside: Array) -> float:
        """E h^2 - 2 E (f - g) h for the part h of h* outside the modes: the first exact, the second a mean over test samples."""
        target, modes = self.problem.target, self.features.modes
        if target.energy is None:
            return 0.0
        h = target(self._test[:, : modes.p].T) - self._modes_at_test @ modes.target_coefficients(target)
        return 2 * target.beyond(modes.hermite_degree) - 2 * float((outside * h).mean())


def check_sgd(problem: Problem) -> None:
    """Raises InputError if SGD cannot run on the problem: at d = inf there are no samples, at a jump no gradient."""
    if problem.d == inf:
        raise InputError("input.dimension: inf has no samples for SGD; allowed with particles.method = 'sgd': a finite number")
    derivative(problem.stages[0].activation)
