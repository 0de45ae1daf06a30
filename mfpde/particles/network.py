"""A finite network in R^d under its exact population gradient: N neurons (a_i, w_i), Gaussian x, no sampling of x.

    f(x) = 1/N sum_i a_i sigma(w_i.x),      E[sigma(w.x) sigma(w'.x)] = sum_k G_k(S) G_k(S') (w.w')^k,   S = |w|^2,
    a_i' = -xi_a psi_i,   w_i' = -xi_w a_i grad psi_i,   psi_i = sum_k G_k(S_i) P_ki - T(w_i),
    P_ki = 1/N sum_j a_j G_k(S_j) (w_i.w_j)^k,           T(w) = E[f* sigma(w.x)],
    grad psi_i = sum_k sqrt((k+1)(k+2)) G_{k+2}(S_i) P_ki w_i + sum_jk k G_k(S_i) a_j G_k(S_j) (w_i.w_j)^{k-1} w_j / N - grad T

with the tables G_k = c_k(s)/s^k of the mean-field solver (`mfpde.features.hermite`), whose Hermite truncation at K makes the
network tend to the same limit as N grows.  With biases, sigma(w_i.x + b_i), they are G_k(S_i, b_i), and

    b_i' = -xi_b a_i ( sum_k sqrt(k+1) G_{k+1}(S_i, b_i) P_ki - dT/db ).

T is a sum over the modes of the target.  The loss is

    E = 1/2 ( 1/N sum_ik a_i G_k(S_i) P_ki - 2/N sum_i a_i T(w_i) + |h|^2 ).

Pairs are handled in tiles of the Gram matrix; the neurons are divided over the ranks and passed around a ring.
A rotation of V-perp turns the N first directions w_i into a triangle (Bartlett), so m = min(N, d - p) columns suffice
there at any d, also infinite: the cost is N^2 (p + m + K) for a right-hand side.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf, sqrt
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.compile import load_compiled
from mfpde.evolution.drift import add_terms
from mfpde.evolution.flow import InStage
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.neurons import Cloud, LearningRates, Neurons, Rates, on_sphere
from mfpde.particles.sampling import generator
from mfpde.problem.problem import Problem
from mfpde.problem.stage import Stage

Array = NDArray[np.float64]

DECLARATIONS = """
void pair_sums(int64_t rows, int64_t columns, double *q, const double *G, const double *g, int64_t stride, double *power);
"""
# A tile of the Gram matrix: it stays in the cache between the two products and the sums.
ROWS, COLUMNS = 128, 512
# Neurons drawn with one seed, and the key of the biases' random streams beside those of the blocks.
BLOCK, BIASES = 64, 2**43


def initial_network(problem: Problem, count: int, seed: tuple[int, int], first: int, last: int) -> tuple[Array, Array]:
    """The neurons [first, last) of `count` independent ones, up to a rotation of V-perp common to all.

    Row i of the part in V-perp has independent N(0, 1/d) entries in front of the i-th, which is chi_{d-p-i} / sqrt(d), and
    zeros behind: the triangular factor of a Gaussian matrix. At d = inf it is the identity.

    Args:
        problem: Gives d, p and the law of w.
        count: N.
        seed: The seed and the number of the repetition.
        first, last: Which ones; a neuron depends on its number alone.

    Returns:
        a, shape (last - first,), and w, shape (last - first, p + min(count, d - p)), the components in V first; those in
        V-perp are left out where w_0 = 0, for they stay 0.
    """
    p, complement = problem.p, problem.d - problem.p
    width = 0 if problem.w.name == "zero" else int(min(count, complement))
    u, w = np.empty(last - first), np.zeros((last - first, p + width))
    for block in range(first // BLOCK, -(-last // BLOCK)):
        draw = generator(seed, block)
        for i in range(block * BLOCK, (block + 1) * BLOCK):
            label, v, before = draw.random(), draw.standard_normal(p), draw.standard_normal(int(min(i, complement)))
            corner = 0.0 if i >= complement else sqrt(draw.chisquare(complement - i) / problem.d) if problem.d < inf else 1.0
            if not first <= i < last:
                continue
            u[i - first], row = label, w[i - first]
            row[:p] = problem.w.scale * v
            if width:
                row[p : p + len(before)] = problem.w.scale * before
                row[p + len(before) : p + len(before) + 1] = corner
    if problem.w.name == "sphere":
        w = rows_on_sphere(w)
    return problem.a.quantile(np.maximum(u, 2.0**-54)), w


def initial_biases(problem: Problem, count: int, seed: tuple[int, int], first: int, last: int) -> Array | None:
    """b_0 of the neurons [first, last), shape (last - first,), or None where there are no biases; arguments as for
    `initial_network`."""
    if problem.b is None:
        return None
    blocks = range(first // BLOCK, -(-last // BLOCK))
    u = np.concatenate([np.empty(0), *(generator(seed, BIASES + block).random(BLOCK) for block in blocks)])
    return problem.b.quantile(np.maximum(u[first - blocks.start * BLOCK :][: last - first], 2.0**-54))


def rows_on_sphere(w: Array) -> Array:
    """w / |w|, by rows."""
    return on_sphere(w.T, np.zeros(len(w)))[0].T


def add_terms_in_space(
    stage: Stage,
    time: float,
    xi: LearningRates,
    p: int,
    neurons: tuple[Array, Array, Array | None],
    rates: tuple[Array, Array, Array | None],
) -> None:
    """Adds a stage's terms to the velocity of neurons in R^d: w_perp' = (r' / r) w_perp, and 0 at r = 0.

    Args:
        stage: With its terms.
        time: Since its start.
        xi: Learning rates at that time.
        p: Dimension of V.
        neurons: a (n,), w (n, p + m), and with biases b (n,).
        rates: a', w' and b', alike.
    """
    if not stage.terms:
        return
    (a, w, b), (da, dw, db) = neurons, rates
    r = np.sqrt((w[:, p:] ** 2).sum(axis=1))
    dv, dr = np.zeros((1, p, len(a))), np.zeros((1, len(a)))
    biases, change = (None if x is None else x[None] for x in (b, db))
    add_terms(stage, time, xi, Neurons(a[None], w[:, :p].T[None], r[None], biases), Rates(da[None], dv, dr, change))
    dw[:, :p] += dv[0].T
    dw[:, p:] += np.divide(dr[0], r, out=np.zeros_like(r), where=r > 0)[:, None] * w[:, p:]


def penalty(comm: MPI.Intracomm, stage: Stage, reduced: Cloud) -> float:
    """Collective. What the regularised loss adds to E, of the neurons of one slice on each rank."""
    return float(comm.allreduce(stage.penalty(reduced)))


# A record: time, E, moments, and with terms that regularise it the penalty.
type Row = tuple[float, float, Array, *tuple[float, ...]]


def penalties(stage: Stage, of: Callable[[], float]) -> tuple[float, ...]:
    """What a record has of it: the penalty where there is one, or nothing."""
    return (of(),) if stage.regularised else ()


class NetworkFlow(InStage):
    """The flow of this rank's neurons; its unknowns are (a, w), and with biases b, flattened. Collective to construct and to
    evaluate.

    Args:
        problem: What to solve; the same on all ranks.
        features: The Hermite truncation, over all ranks.
        a, w: This rank's neurons, shapes (n,) and (n, p + m), the components in V first.
        b: Their biases, shape (n,), if there are any.
    """

    def __init__(self, problem: Problem, features: HermiteFeatures, a: Array, w: Array, b: Array | None = None) -> None:
        self.comm = features.comm
        self.problem, self.stage = problem, problem.stages[0]
        self.features = features
        self.target = features.modes.target_coefficients(problem.target)
        self.beyond = features.modes.beyond(problem.target)
        self.counts = self.comm.allgather(len(a))
        self.total = sum(self.counts)
        self.width = w.shape[1]
        self._start = np.concatenate((a, w.ravel(), *([] if b is None else [b])))
        macros = {"K": features.modes.hermite_degree}
        compiled = load_compiled(self.comm, Path(__file__).with_name("network.c"), DECLARATIONS, macros)
        self._ffi, self._lib = compiled.ffi, compiled.lib

    @property
    def size(self) -> int:
        return len(self._start)

    def pack(self, vector: Array) -> None:
        vector[...] = self._start

    def scales(self) -> Array:
        scale = np.ones(self.size)
        self.neurons(scale)[1][...] = self.problem.w.scale or 1.0
        return scale

    def neurons(self, theta: Array) -> tuple[Array, Array]:
        """Views of a (n,) and w (n, p + m)."""
        n = self.counts[self.comm.rank]
        return theta[:n], theta[n : n + n * self.width].reshape(n, self.width)

    def biases(self, theta: Array) -> Array | None:
        """View of b (n,), or None."""
        return theta[self.counts[self.comm.rank] * (1 + self.width) :] if self.features.biases else None

    def placed(self, theta: Array) -> tuple[Array, Array, Array | None]:
        """The neurons a, w, b; on the sphere, w / |w|."""
        a, w = self.neurons(theta)
        return a, rows_on_sphere(w) if self.stage.on_sphere else w, self.biases(theta)

    def measure(self, theta: Array, time: float = 0.0) -> tuple[float, Array]:
        """Collective. The loss, and the moments over the modes."""
        a, w, b = self.placed(theta)
        reduced = self.reduced(a, w, self.total, self.problem.p, b)
        moments = self.features.moments(reduced, np.ones(1)).all
        T = self._target_terms(reduced)[0]
        G = self.features.functions((w**2).sum(axis=1), b)
        power, _ = self._pair_sums(a, w, G)
        K = self.features.modes.hermite_degree
        local = float(a @ ((G[:, : K + 1] * power).sum(axis=1) - 2 * T)) / self.total
        return 0.5 * (self.comm.allreduce(local) + float(self.target @ self.target)) + self.beyond, moments

    def penalty(self, theta: Array) -> float:
        """Collective. What the regularised loss adds to E."""
        a, w, b = self.placed(theta)
        return penalty(self.comm, self.stage, self.reduced(a, w, self.total, self.problem.p, b))

    def rates(self, time: float, theta: Array, out: Array) -> float:
        a, w, b = self.placed(theta)
        reduced = self.reduced(a, w, self.total, self.problem.p, b)
        self.features.moments(reduced, np.ones(1))  # extends the tables to the largest |w| of all ranks
        T, dT_v, dT_r, dT_b = self._target_terms(reduced)
        G, K, p = self.features.functions((w**2).sum(axis=1), b), self.features.modes.hermite_degree, self.problem.p
        if self.stage.interaction:
            power, force = self._pair_sums(a, w, G)
        else:
            power, force = np.zeros((len(a), K + 1)), np.zeros_like(w)
        k = np.arange(K + 1)
        force += (np.sqrt((k + 1.0) * (k + 2.0)) * G[:, 2:] * power).sum(axis=1)[:, None] * w
        force[:, :p] -= dT_v.T
        force[:, p:] -= dT_r[:, None] * w[:, p:]
        xi = self.stage.rates(time)
        da, dw = self.neurons(out)
        da[...] = -xi.a * ((G[:, : K + 1] * power).sum(axis=1) - T)
        dw[...] = -xi.w * a[:, None] * force
        db = self.biases(out)
        if db is not None:
            db[...] = -xi.b * a * ((np.sqrt(k + 1.0) * G[:, 1 : K + 2] * power).sum(axis=1) - dT_b)
        add_terms_in_space(self.stage, time, xi, p, (a, w, b), (da, dw, db))
        if self.stage.on_sphere:
            dw -= (w * dw).sum(axis=1, keepdims=True) * w
        return inf

    @staticmethod
    def reduced(a: Array, w: Array, total: int, p: int, b: Array | None = None) -> Cloud:
        """Neurons a (n), w (n, p + m), b (n), of `total` with equal weights, as (a, v, r, b)."""
        return Cloud.of(a, w[:, :p].T, np.sqrt((w[:, p:] ** 2).sum(axis=1)), np.full(len(a), 1 / total), b)

    def _target_terms(self, reduced: Cloud) -> tuple[Array, Array, Array, Array]:
        """T (n), grad_v T (p, n), dT/dr / r (n) and with biases dT/db (n): Psi of the residual -T, at neurons with a = 1."""
        n, p = reduced.a.shape[1], self.problem.p
        # dT/dr / r is wanted at r = 0 as well: it depends on r only through S, so a tiny r does.
        unit = replace(reduced, a=np.ones((1, n)), r=np.maximum(reduced.r, 1e-30))
        T, dv, dr, db = np.empty((1, n)), np.empty((1, p, n)), np.empty((1, n)), np.empty((1, n))
        out = Rates(T, dv, dr, db if self.features.biases else None)
        self.features.velocities(unit, -self.target, LearningRates(1.0, 1.0, 1.0), out)
        return T[0], dv[0], dr[0] / unit.r[0], db[0]

    def _pair_sums(self, a: Array, w: Array, G: Array) -> tuple[Array, Array]:
        """Collective. P, shape (n, K + 1), and the sum over j in grad psi, shape (n, p + m)."""
        K1 = self.features.modes.hermite_degree + 1
        power, force = np.zeros((len(a), K1)), np.zeros_like(w)
        own = np.ascontiguousarray(G[:, :K1])
        pointer = self._ffi.from_buffer
        tile = np.empty(ROWS * COLUMNS)
        for theirs, g in self._ring(w, own * (a / self.total)[:, None]):
            weights = pointer("double[]", g)
            for j in range(0, len(theirs), COLUMNS):
                columns = theirs[j : j + COLUMNS]
                for i in range(0, len(a), ROWS):
                    rows = slice(i, min(i + ROWS, len(a)))
                    q = tile[: (rows.stop - i) * len(columns)].reshape(rows.stop - i, len(columns))
                    np.matmul(w[rows], columns.T, out=q)
                    arrays = (pointer("double[]", x) for x in (q, own[rows], power[rows]))
                    self._lib.pair_sums(*q.shape, next(arrays), next(arrays), weights + j, g.shape[1], next(arrays))
                    force[rows] += q @ columns
        return power, force

    def _ring(self, w: Array, g: Array) -> Iterator[tuple[Array, Array]]:
        """Collective. Each rank's w (n, p + m) and g^T (K + 1, n), this rank's own first, passed on from rank to rank."""
        rank, size = self.comm.rank, self.comm.size
        block = np.concatenate((w, g), axis=1)
        for shift in range(size):
            yield np.ascontiguousarray(block[:, : self.width]), np.ascontiguousarray(block[:, self.width :].T)
            if shift + 1 < size:
                received = np.empty((self.counts[(rank + shift + 1) % size], block.shape[1]))
                self.comm.Sendrecv(block, dest=(rank - 1) % size, recvbuf=received, source=(rank + 1) % size)
                block = received
