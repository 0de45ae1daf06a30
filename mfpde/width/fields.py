"""The mean field at one time, at the nodes of a run: what a perturbation of the neurons feels.

With x = (v_1, ..., v_p, r, b), Psi = sum residual g of l = 0 and U = a Psi(x) + 1/2 (decay_a a^2 + decay_w |w|^2 + decay_b b^2) a
neuron moves by y' = -xi_y dU/dy, y = (a, x).  A displacement T = (A, X, S) of it, in a sector and with S along grad P_l, obeys

    T_c' = -xi_c ( (L T)_c + D_c . mu ),      mu the change of the moments in the sector,
    D = (g, a g_i, (a/r) g),      L = Hessian of U;  L_SS = (a/r) Psi_r + decay_w.

With the correlation loss the residual is -h, and no neuron feels mu.
"""

from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.features.hermite.coefficients import hermite_coefficients
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.problem.activation import Activation
from mfpde.problem.problem import Problem
from mfpde.problem.stage import Stage
from mfpde.problem.terms.weight_decay import WeightDecay
from mfpde.width.sectors import FIELD_ORDER, Sector, sectors

Array = NDArray[np.float64]

# Degrees beyond K that third derivatives look up, less the two that the features know anyway.
BEYOND = 2 * FIELD_ORDER - 2


@dataclass(frozen=True)
class Truncation:
    """K and J of the modes, and the largest degree L of a sector."""

    K: int
    J: int
    L: int


@dataclass(frozen=True)
class SectorFields:
    """The modes of one sector at n nodes.

    Attributes:
        sector: Which one.
        values: g, then g_i, then g_ij for i <= j, shape (n, derivatives, modes).
        D: Derivatives of a g by (a, x, S), shape (n, P + 2, modes).
    """

    sector: Sector
    values: Array
    D: Array


@dataclass(frozen=True)
class Fields:
    """The mean field at one time.

    Attributes:
        y: The nodes (a, v_1, ..., v_p, r[, b]), shape (P + 1, n).
        xi: Learning rate of each of them, and of S, shape (P + 2,).
        interaction: 1; 0 with the correlation loss.
        moments, residual: m of l = 0, and m - h, shape (modes,).
        velocity: y', shape (P + 1, n).
        L: Hessian of U, with S last, shape (n, P + 2, P + 2).
        psi2, psi3: Derivatives of Psi by x, shapes (n, P, P) and (n, P, P, P).
        inverse_radius: 1/r, or 0 at r = 0, shape (n,).
        sectors: All sectors, l = 0 first.
    """

    y: Array
    xi: Array
    interaction: float
    moments: Array
    residual: Array
    velocity: Array
    L: Array
    psi2: Array
    psi3: Array
    inverse_radius: Array
    sectors: list[SectorFields]


class StageFields:
    """Makes the `Fields` of one stage.

    Args:
        problem: What to solve.
        stage: The stage.
        truncation: Of the modes.
        weight: Of the nodes, shape (n,).
    """

    def __init__(self, problem: Problem, stage: Stage, truncation: Truncation, weight: Array) -> None:
        self.problem, self.stage, self.weight, self.truncation = problem, stage, weight, truncation
        biases, p, K, J = problem.b is not None, problem.p, truncation.K, truncation.J
        L = 0 if problem.w.name == "zero" else truncation.L
        self.sectors = sectors(p, problem.d, K, J, L, biases, stage.on_sphere)
        modes = hermite_modes(p, K, J, problem.d)
        self.target, self.beyond = modes.target_coefficients(problem.target), modes.beyond(problem.target)
        wide = hermite_modes(p, K + BEYOND, 0, problem.d)
        self.features = HermiteFeatures(MPI.COMM_SELF, wide, stage.activation, biases=biases)
        decays = [term for term in stage.terms if isinstance(term, WeightDecay)]
        of_a, of_w, of_b = (sum(getattr(term, f"decay_{name}") for term in decays) for name in "awb")
        self.decay = np.array([of_a, *[of_w] * (p + 1), *[of_b] * biases, of_w])
        self._square = _square(stage.activation)

    def velocity(self, time: float, y: Array) -> tuple[Array, Array]:
        """m and y' alone, shapes (modes,) and (P + 1, n); `time` since the start of the stage."""
        (products,) = self._products(self.sectors[:1], y)
        moments, psi = self._psi(y, products, 1)
        return moments, self._velocity(self.xi(time), y, psi)

    def __call__(self, time: float, y: Array, largest: int | None = None) -> Fields:
        """The mean field of the nodes y, shape (P + 1, n), at a time since the start of the stage; of sectors l <= `largest`."""
        p, P, n = self.problem.p, len(y) - 1, y.shape[1]
        chosen = self.sectors if largest is None else self.sectors[: largest + 1]
        products = self._products(chosen, y)
        moments, psi = self._psi(y, products[0], FIELD_ORDER)
        a, r, xi = y[0], y[p + 1], self.xi(time)
        inverse = np.divide(1.0, r, out=np.zeros_like(r), where=r > 0)
        second, third = np.empty((n, P, P)), np.empty((n, P, P, P))
        for i in range(P):
            for j in range(P):
                second[:, i, j] = psi[_sorted(i, j)]
                for k in range(P):
                    third[:, i, j, k] = psi[_sorted(i, j, k)]
        L = np.zeros((n, P + 2, P + 2))
        L[:, 0, 1:-1] = L[:, 1:-1, 0] = np.array([psi[(i,)] for i in range(P)]).T
        L[:, 1:-1, 1:-1] = a[:, None, None] * second
        L[:, -1, -1] = a * inverse * psi[(p,)]
        L += np.diag(self.decay)
        values = [self._values(sector, found, a, inverse) for sector, found in zip(chosen, products, strict=True)]
        velocity = self._velocity(xi, y, psi)
        return Fields(
            y, xi, float(self.stage.interaction), moments, moments - self.target, velocity, L, second, third, inverse, values
        )

    def energy_beyond(self, y: Array) -> Array:
        """1/2 a^2 (E sigma(w.x + b)^2 - sum_{k <= K} c_k^2) of each node, the energy of a neuron beyond K, shape (n,)."""
        s, b = np.sqrt(self._square_norm(y)), self._biases(y)
        c = self._functions(y)[: self.truncation.K + 1] * s ** np.arange(self.truncation.K + 1.0)[:, None]
        whole = np.empty_like(s)
        still = s == 0
        whole[still] = self._square(np.zeros(int(still.sum())) if b is None else b[still])
        if not still.all():
            biases = None if b is None else b[~still]
            whole[~still] = hermite_coefficients(self._square, s[~still], 0, biases)[:, 0]
        return np.asarray(0.5 * y[0] ** 2 * (whole - (c**2).sum(axis=0)))

    def xi(self, time: float) -> Array:
        """Learning rates of (a, v_1, ..., v_p, r[, b], S), shape (P + 2,)."""
        rates, p = self.stage.rates(time), self.problem.p
        return np.array([rates.a, *[rates.w] * (p + 1), *([] if self.problem.b is None else [rates.b]), rates.w])

    def _biases(self, y: Array) -> Array | None:
        return None if self.problem.b is None else np.ascontiguousarray(y[-1])

    def _square_norm(self, y: Array) -> Array:
        return np.ones(y.shape[1]) if self.stage.on_sphere else np.asarray((y[1 : self.problem.p + 2] ** 2).sum(axis=0))

    def _functions(self, y: Array) -> Array:
        """G_q at the nodes for q = 0, ..., K + 6, on the sphere at |w| = 1, shape (K + 7, n)."""
        S, b = self._square_norm(y), self._biases(y)
        self.features.cover(float(max(S.max(), 0.0 if b is None else (b**2).max())))
        return np.ascontiguousarray(self.features.functions(S, b).T)

    def _products(self, wanted: list[Sector], y: Array) -> list[Array]:
        w, functions = y[1 : self.problem.p + 2], self._functions(y)
        S, largest = (w**2).sum(axis=0), max(int(sector.powers.max()) for sector in wanted)
        powers = [row ** np.arange(largest + 1.0)[:, None] for row in w]
        return [sector.products(powers, functions, S, self.stage.on_sphere) for sector in wanted]

    def _psi(self, y: Array, products: Array, order: int) -> tuple[Array, dict[tuple[int, ...], Array]]:
        """m, and Psi with its derivatives up to an order by name, each of shape (n,)."""
        zero = self.sectors[0]
        assert zero.field is not None  # of l = 0
        moments = zero.matrix[: zero.modes] @ (products @ (self.weight * y[0]))
        residual = self.stage.residual(moments, self.target)
        names = [name for name in zero.names if len(name) <= order]
        rows = (zero.field @ residual).reshape(len(zero.names), -1)[: len(names)]
        return moments, dict(zip(names, rows @ products, strict=True))

    def _velocity(self, xi: Array, y: Array, psi: dict[tuple[int, ...], Array]) -> Array:
        slope = np.array([psi[()], *(y[0] * psi[(i,)] for i in range(len(y) - 1))])
        return np.asarray(-xi[:-1, None] * (slope + self.decay[:-1, None] * y))

    @staticmethod
    def _values(sector: Sector, products: Array, a: Array, inverse_radius: Array) -> SectorFields:
        """The modes of a sector, and their derivatives, neuron by neuron."""
        P, n = sector.coordinates, len(a)
        found = (sector.matrix @ products).reshape(-1, sector.modes, n)
        values = np.ascontiguousarray(found.transpose(2, 0, 1))
        D = np.empty((n, P + 2, sector.modes))
        D[:, 0] = values[:, 0]
        np.multiply(a[:, None, None], values[:, 1 : P + 1], out=D[:, 1:-1])
        np.multiply((a * inverse_radius)[:, None], values[:, 0], out=D[:, -1])
        return SectorFields(sector, values, D)


def _sorted(*index: int) -> tuple[int, ...]:
    return tuple(sorted(index))


def _square(activation: Activation) -> Activation:
    """sigma^2."""
    return replace(activation, text=f"({activation.text})**2", source=f"({activation.source})**2", taylor=None, polynomial=None)
