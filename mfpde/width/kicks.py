"""The noise of one-pass SGD: how a sample x moves all neurons, in every sector, and what that is in a unit of time.

With x = (z, y), y in V perp along e, gamma the angle between w_perp and y, and eps = f(x) - h*(x) with the exact sigma,

    sigma(v.z + r |y| cos gamma + b) = sum_l sigma_l P_l(cos gamma),    sigma_l = N_l E_gamma[sigma P_l],

a sample moves a neuron by -xi eps (sigma_l, a d sigma_l/dx, (a/r) sigma_l) in sector l.  Per unit of time, and eta/B, the
covariance of all kicks is that of these columns over x, with sqrt of the law of x as weights: Gauss-Hermite in z, Gauss-Laguerre
in |y|^2.  Noise of deviation tau in the labels adds tau^2 to eps^2.  (The series in Hermite modes of x fails in the tail.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from mfpde.problem.activation import Activation, derivative
from mfpde.problem.inner import SquaredRadius
from mfpde.problem.laws.normal import Normal
from mfpde.problem.problem import Problem
from mfpde.problem.stage import Stage
from mfpde.quadrature.rules import gauss_rule
from mfpde.width.fields import Fields
from mfpde.width.sectors import multiplicity

Array = NDArray[np.float64]

# Nodes of a direction of z by p, of |y|^2, and of the angle; neurons times nodes that are worked on at once.
Z_NODES, Y_NODES, ANGLES, CHUNK = {1: 16, 2: 12, 3: 8}, 4, 20, 200_000


@dataclass(frozen=True)
class Samples:
    """Points x, up to the direction of y.

    Attributes:
        z: Shape (p, points).
        y: |y|, shape (points,).
        weight: Shape (points,).
    """

    z: Array
    y: Array
    weight: Array


def gauss_samples(problem: Problem) -> Samples:
    """A product Gauss rule of the law of x."""
    p = problem.p
    z = gauss_rule(Normal(0.0, 1.0), (Z_NODES[p],))
    square = gauss_rule(SquaredRadius(problem.d, p), (Y_NODES,))
    places = np.meshgrid(*[z.nodes] * p, np.sqrt(problem.d * square.nodes), indexing="ij")
    weights = np.meshgrid(*[z.weights] * p, square.weights, indexing="ij")
    rows = np.array([x.ravel() for x in places])
    return Samples(rows[:p], rows[p], np.prod([x.ravel() for x in weights], axis=0))


def angles(D: int, largest: int) -> tuple[Array, Array, Array]:
    """cos gamma of two directions in D dimensions: Gauss nodes, weights, and P_l there, shape (l, nodes), for l <= `largest`."""
    count = 2 if D == 1 else ANGLES
    k = np.arange(2.0, count)
    squares = np.concatenate(([1 / D], k * (k + D - 3) / ((2 * k + D - 2) * (2 * k + D - 4))))
    x, vectors = eigh_tridiagonal(np.zeros(count), np.sqrt(squares))
    P = [np.ones(count), x]
    for n in range(1, largest):
        P.append(((2 * n + D - 2) * x * P[n] - n * P[n - 1]) / (n + D - 2) if n + D > 2 else np.zeros(count))
    return x, vectors[0] ** 2, np.array(P[: largest + 1])


class Kicks:
    """Columns of the noise of a problem.

    Args:
        problem: With a finite dimension.
        stage: Activation and loss.
        weight: Of the neurons, shape (n,).
        samples: Points x.
        label_noise: tau.
        centred: Whether the mean over x is removed, which is the gradient itself: the columns then are those of a covariance.
    """

    def __init__(
        self, problem: Problem, stage: Stage, weight: Array, samples: Samples, label_noise: float = 0.0, centred: bool = True
    ) -> None:
        self.problem, self.stage, self.weight, self.samples = problem, stage, weight, samples
        self.noise, self.centred = label_noise, centred
        self.slope: Activation = derivative(stage.activation)
        self.target = problem.target(samples.z)

    def columns(self, fields: Fields) -> list[Array]:
        """The columns of each sector, shapes (n, P + 2, columns)."""
        found = self._parts(fields, len(fields.sectors))
        output = (self.weight * fields.y[0]) @ found[0, :, 0]
        root, residual = np.sqrt(self.samples.weight), fields.interaction * output - self.target
        xi = -fields.xi[None, :, None]
        columns = []
        for number, here in enumerate(fields.sectors):
            size = float(multiplicity(here.sector.degree, self.problem.d - self.problem.p))
            moves = xi * size * found[number]
            if number == 0 and self.centred:
                noisy = moves * residual
                noisy -= (noisy @ self.samples.weight)[:, :, None]
                parts = [noisy * root, *([moves * (self.noise * root)] if self.noise else [])]
                columns.append(np.concatenate(parts, axis=2))
            else:
                columns.append(moves * (root * np.hypot(residual, self.noise)))
        return columns

    def _parts(self, fields: Fields, count: int) -> Array:
        """E_gamma[D sigma P_l] of all neurons, D the derivatives of a sigma by (a, x, S), shape (l, n, P + 2, points)."""
        p, n = self.problem.p, fields.y.shape[1]
        x, weight, P = angles(int(self.problem.d) - p, count - 1)
        z, y = self.samples.z, self.samples.y
        out = np.empty((count, n, len(fields.y) + 1, len(y)))
        rows = max(1, CHUNK // (len(y) * len(x)))
        projection = (P * weight).T
        for low in range(0, n, rows):
            part = slice(low, min(low + rows, n))
            a, v, r = fields.y[0, part, None], fields.y[1 : p + 1, part], fields.y[p + 1, part, None]
            shift = 0.0 if len(fields.y) == p + 2 else fields.y[p + 2, part, None, None]
            u = (v.T @ z)[:, :, None] + (r * y)[:, :, None] * x + shift
            value = np.moveaxis(self.stage.activation(u) @ projection, 2, 0)
            slope = self.slope(u)
            plain, across = np.moveaxis(slope @ projection, 2, 0), np.moveaxis(slope @ (x[:, None] * projection), 2, 0)
            block = out[:, part]
            block[:, :, 0] = value
            for q in range(p):
                block[:, :, 1 + q] = a * plain * z[q]
            block[:, :, p + 1] = a * across * y
            if len(fields.y) > p + 2:
                block[:, :, p + 2] = a * plain
            block[:, :, -1] = a * fields.inverse_radius[part, None] * value
        return out
