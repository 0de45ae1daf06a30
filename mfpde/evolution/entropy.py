"""The entropy of the joint density rho of (a, v, r), with biases of (a, v, r, b), along the neurons: without the density.

With D = det d(A, X, R) / d(a_0, v_0, r_0), which stays positive, the density at a neuron is rho_0 / D, and

    H(t) = -int rho log rho = H(0) + E[log D],      (log D)' = -xi_w A (Laplace_v Psi + d^2 Psi / dr^2)(X, R)          (F3)

so a few neurons at Gauss nodes of the initial law, or where their product is large at those of a net, which carry log D through
the mean field of every step, give H(t) - H(0).  They follow the steps of the run; within a step E[log D] has the integrator's own
interpolant (order 7).
"""

from math import nan

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.integrate import DOP853

from mfpde.evolution.flow import Field, Reader
from mfpde.evolution.mean_field import MeanField
from mfpde.evolution.net import net_nodes
from mfpde.evolution.passive import BLOCK, Leg, rates_at, stacked, step, tensor_nodes
from mfpde.features.protocol import Basis, Features
from mfpde.neurons import Nodes
from mfpde.parallel import share
from mfpde.problem.laws.normal import Normal
from mfpde.problem.problem import Problem
from mfpde.problem.stage import Stage
from mfpde.quadrature.panels import equal_panels, graded_edges
from mfpde.quadrature.rules import Rule, gauss_rule

Array = NDArray[np.float64]

# Nodes by p, those of 3 for larger ones: labels of a and r, and cells, nodes of a cell, core width and grading in y; from
# d = GENTLE on, fewer in y. They give E[log D] to about 1e-3 (2e-5 at p = 1, d = 10, t = 2).
NODES = {1: (24, 4, 8, 4, 2.0, 1.5), 2: (16, 3, 6, 3, 2.0, 1.0), 3: (10, 2, 2, 3, 1.0, 0.0)}
GENTLE = 1000
# Nodes of the product at the most, as with biases or from p = 4 on; the points of the net that takes its place, and its scramble.
MOST, POINTS, SCRAMBLE = 20_000, 2**14, 1000


def has_entropy(problem: Problem) -> bool:
    """Whether (a, v, r), and b if there are biases, start with a density."""
    labels = (problem.a,) if problem.b is None else (problem.a, problem.b)
    return all(law.atoms is None for law in labels) and problem.w.name == "gaussian" and not problem.w.is_point


class Entropy:
    """H(t) - H(0) of a run, told of its stages and steps.

    Args:
        comm: Ranks that divide the nodes.
        problem: With a density, see `has_entropy`.
        modes: Modes of the run.
    """

    def __init__(self, comm: MPI.Intracomm, problem: Problem, modes: Basis) -> None:
        self.comm, self.problem, self.modes = comm, problem, modes
        self.target = modes.target_coefficients(problem.target)
        everything = entropy_nodes(problem)
        first, last = share(comm, len(everything.a))
        nodes = everything.part(slice(first, last))
        self._weight = nodes.weight
        self._state = np.concatenate((stacked(nodes), np.zeros((1, len(nodes.a)))))
        # Flat indices of this rank's part of the state of all neurons.
        self._shape = (len(self._state), len(everything.a))
        self._places = np.arange(self._shape[0])[:, None] * self._shape[1] + np.arange(first, last)
        self._features: Features | None = None
        self._stage: Stage | None = None
        self._known = True
        self._step = (0.0, 0.0)
        self._curve = np.zeros(1)

    def enter(self, stage: Stage) -> None:
        """A stage begins: copies that are averaged have no entropy of their own, and a = 0 has none."""
        if stage.average > 1 or stage.by_moments or stage.reset_a or stage.on_sphere:
            self._known = False
        if self._stage is None or stage.activation != self._stage.activation:
            self._features = self.modes.features(MPI.COMM_SELF, self.problem, stage.activation)
        self._stage = stage

    def stepped(self, times: Array, moments: Array) -> None:
        """Collective. A step is done, with the mean field at the points `LOBATTO` of it."""
        if not self._known or self._features is None or self._stage is None:
            return
        field, start, length = MeanField(times[None], moments[None]), times[0], times[-1] - times[0]
        # The method's own stages, then the end, then those of its interpolant.
        places = np.append(DOP853.C, (1.0, *DOP853.C_EXTRA))
        leg = Leg.of(self._stage, self._features, field, self.target, start, start + length, places)
        p, n = self.problem.p, self._state.shape[1]
        means = np.zeros(len(places) + 2)
        for first in range(0, n, BLOCK):
            part = slice(first, min(first + BLOCK, n))
            state, weight = np.ascontiguousarray(self._state[:, part]), self._weight[part]
            now, early = step(leg, state, p)
            K = np.concatenate((early, np.empty((4, *state.shape))))
            flat = K.reshape(len(K), -1)
            rates_at(leg, 12, now, K[12], p)
            for s, a in enumerate(DOP853.A_EXTRA, 13):
                inside = state + (length * (a[:s] @ flat[:s])).reshape(state.shape)
                rates_at(leg, s, inside, K[s], p)
            means[:16] += K[:, -1] @ weight
            means[16:] += state[-1] @ weight, now[-1] @ weight
            self._state[:, part] = now
        self.comm.Allreduce(MPI.IN_PLACE, means)
        rate, (before, after) = means[:16], means[16:]
        change = after - before
        curve = [change, length * rate[0] - change, 2 * change - length * (rate[12] + rate[0])]
        self._step = (start, length)
        self._curve = np.array([before, *curve, *(length * DOP853.D @ rate)])

    def state(self) -> tuple[Field, Array]:
        """What a checkpoint keeps: the neurons with their log D, and the numbers of the last step, the same on all ranks."""
        return Field(self._shape, self._places, self._state), np.array([float(self._known), *self._step, *self._curve])

    def restore(self, read: Reader, numbers: Array) -> None:
        """Collective. Goes on from what was kept, under the name "entropy"."""
        self._state = np.ascontiguousarray(read("entropy", self._places))
        self._known, self._step, self._curve = bool(numbers[0]), (float(numbers[1]), float(numbers[2])), numbers[3:]

    def __call__(self, time: float) -> float:
        """H(time) - H(0), at a time of the last step; nan where it is not known."""
        start, length = self._step
        if not self._known or time > (start + length) * (1 + 1e-9):
            return nan
        if length == 0:
            return 0.0
        x, y = (time - start) / length, 0.0
        for k, part in enumerate(self._curve[:0:-1]):  # as SciPy evaluates DOP853's interpolant
            y = (y + float(part)) * (x if k % 2 == 0 else 1 - x)
        return float(self._curve[0]) + y


def entropy_nodes(problem: Problem) -> Nodes:
    """The neurons at t = 0 that carry log D."""
    rules = _rules(problem)
    few = int(np.prod([len(rule) for rule in rules])) <= MOST
    return tensor_nodes(problem, rules) if few else net_nodes(problem, POINTS, SCRAMBLE)


def _rules(problem: Problem) -> tuple[Rule, ...]:
    n_a, n_r, cells, n, width, grading = NODES[min(problem.p, 3)]
    if problem.d >= GENTLE:
        cells, n = 1, 4 if problem.p < 3 else 3
    y = gauss_rule(Normal(0.0, 1.0), (n,) * cells, graded_edges(cells, width, grading))
    numbers = {"a": (n_a, 2), "b": (n_a // 2, 2), "r": (n_r, 1)}
    labels = [equal_panels(law, *numbers[name]).rule(law) for name, law in problem.directions.items() if name in numbers]
    return (*labels, *[y] * problem.p)
