"""A committee of erf neurons, whose gradients are closed formulas in arcsines (Saad and Solla): a simulation that shares no code.

    E erf(w.x) erf(w'.x) = 2/pi asin(2 w.w' / sqrt((1 + 2 |w|^2)(1 + 2 |w'|^2))),   E z1 erf(w.x) = 2 w_1 / sqrt(pi (1 + 2 |w|^2))

With neurons of V alone and |w|^2 = |v|^2 + r^2 it is the mean-field flow at d = inf, whose neurons are orthogonal in V-perp.
"""

from math import pi, sqrt
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.integrate import solve_ivp
from support import SELF, features_of, read

from mfpde.evolution.flow import Recording
from mfpde.evolution.integrate import integrate
from mfpde.particles.network import NetworkFlow, initial_network
from mfpde.particles.sgd import Sgd
from mfpde.solve import solve

Array = np.ndarray


def overlap(v: Array, S: Array, b: Array, B: Array) -> Array:
    """E erf erf for neurons v (n, m) of |w|^2 = S (n,) and b (k, m) of B (k,), shape (n, k)."""
    return 2 / pi * np.arcsin(2 * v @ b.T / np.sqrt(np.outer(1 + 2 * S, 1 + 2 * B)))


class Committee:
    """Neurons a erf(w.x) with weights, w = (v, r e) with directions e orthogonal to each other and to V.

    Args:
        a, v, r, weight: Shapes (n,), (n, m), (n,), (n,).
        linear: The target's coefficient of z1.
        teachers: Further terms b_0 erf(b.x) of the target, as rows (b_0, b_1, ..) of up to m + 1 numbers.
        xi, decay: Learning rates and weight decay of a and w.
        interaction: Whether the neurons see f.
        sphere: Whether they move on spheres |w| = const.
    """

    def __init__(
        self, a, v, r, weight, linear=1.0, teachers=(), xi=(1.0, 1.0), decay=(0.0, 0.0), interaction=True, sphere=False
    ) -> None:
        self.sphere = sphere
        self.start, self.shape = np.concatenate((a, v.ravel(), r)), v.shape
        self.weight, self.linear, self.xi, self.decay, self.interaction = weight, linear, xi, decay, interaction
        rows = np.zeros((len(teachers), v.shape[1] + 1))
        for row, teacher in zip(rows, teachers, strict=True):
            row[: len(teacher)] = teacher
        self.b0, self.b, self.B = rows[:, 0], rows[:, 1:], (rows[:, 1:] ** 2).sum(axis=1)

    def split(self, theta: Array) -> tuple[Array, Array, Array]:
        n, m = self.shape
        return theta[:n], theta[n : n + n * m].reshape(n, m), theta[n + n * m :]

    def gradient(self, v: Array, r: Array, S: Array, b: Array, B: Array) -> tuple[Array, Array]:
        """Derivatives of `overlap` by v (n, k, m) and r (n, k)."""
        A = 1 + 2 * S
        root = np.sqrt(np.outer(A, 1 + 2 * B))
        rho = 2 * v @ b.T / root
        outer = 2 / pi / np.sqrt(1 - rho**2)
        dv = outer[:, :, None] * (2 * b[None] / root[:, :, None] - (rho / A[:, None])[:, :, None] * 2 * v[:, None])
        return dv, -outer * rho * (2 * r / A)[:, None]

    def rates(self, time: float, theta: Array) -> Array:
        a, v, r = self.split(theta)
        S = (v**2).sum(axis=1) + r**2
        A = 1 + 2 * S
        e1 = np.eye(v.shape[1])[0]
        psi = -self.linear * 2 * v[:, 0] / np.sqrt(pi * A)
        dv = -self.linear * 2 / sqrt(pi) * (e1 / np.sqrt(A)[:, None] - (v[:, 0] / A**1.5)[:, None] * 2 * v)
        dr = self.linear * 2 / sqrt(pi) * v[:, 0] / A**1.5 * 2 * r
        others = [(-self.b0, self.b, self.B)] + ([(self.weight * a, v, S)] if self.interaction else [])
        for mass, b, B in others:
            psi = psi + overlap(v, S, b, B) @ mass
            gv, gr = self.gradient(v, r, S, b, B)
            dv, dr = dv + np.einsum("nkm,k->nm", gv, mass), dr + gr @ mass
        if self.sphere:
            along = ((v * dv).sum(axis=1) + r * dr) / S
            dv, dr = dv - along[:, None] * v, dr - along * r
        (xa, xw), (la, lw) = self.xi, self.decay
        return np.concatenate((-xa * (psi + la * a), (-xw * (a[:, None] * dv + lw * v)).ravel(), -xw * (a * dr + lw * r)))

    def losses(self, theta: Array) -> tuple[float, float, float]:
        """E, E f h*, and the penalty."""
        a, v, r = self.split(theta)
        S = (v**2).sum(axis=1) + r**2
        mass = self.weight * a
        cross = mass @ (self.linear * 2 * v[:, 0] / np.sqrt(pi * (1 + 2 * S)) + overlap(v, S, self.b, self.B) @ self.b0)
        mixed = 2 * self.linear * (self.b0 * 2 * self.b[:, 0] / np.sqrt(pi * (1 + 2 * self.B))).sum()
        square = self.linear**2 + mixed + self.b0 @ overlap(self.b, self.B, self.b, self.B) @ self.b0
        penalty = 0.5 * self.weight @ (self.decay[0] * a**2 + self.decay[1] * S)
        return 0.5 * (mass @ overlap(v, S, v, S) @ mass + square) - cross, cross, penalty

    def run(self, times: list[float]) -> tuple[Array, Array]:
        """Rows of `losses`, and the states."""
        end = solve_ivp(self.rates, (0.0, times[-1]), self.start, "DOP853", times, rtol=1e-10, atol=1e-12).y.T
        return np.array([self.losses(theta) for theta in end]), end


ERF = ["network.activation=erf", "target.polynomial=z1", "discretization.hermite_degree=25", "training.final_time=4.0"]
ERF += ["output.times=5", "output.plot=false", "discretization.accuracy=false", "discretization.tolerance=1e-10"]
TWO = "initial.a='points(-1: 0.25, 1.5: 0.75)'"


def of_two_values(p: int, **known: Any) -> Committee:
    """The neurons of TWO at d = inf; what they are trained with is as in `Committee`."""
    return Committee(np.array([-1, 1.5]), np.zeros((2, p)), np.ones(2), np.array([0.25, 0.75]), **known)


def at_infinity(folder: Path, *overrides: str, **known: Any) -> tuple[dict[str, Array], Array]:
    """The history of a run at d = inf from two values of a, and the losses of the committee."""
    path = folder / "out.h5"
    config, problem = read(*ERF, TWO, "input.dimension=inf", f"output.file={path}", *overrides)
    solve(SELF, config, problem)
    rows, _ = of_two_values(problem.p, **known).run(config.record_times)
    with h5py.File(path) as file:
        return {name: values[:] for name, values in file["history"].items()}, rows


def compare_networks(overrides: list[str], bound: float, sgd: float, **known: Any) -> None:
    """A finite network and SGD at d = 9 against the committee of the same neurons."""
    erf = [word for word in ERF if not (known.get("teachers") and word.startswith("target"))]
    config, problem = read(*erf, "input.dimension=9", "discretization.radial_degree=12", *overrides)
    features, times = features_of(config, problem), config.record_times
    a, w = initial_network(problem, 12, (3, 0), 0, 12)
    flow = NetworkFlow(problem, features, a, w)
    rows, _ = Committee(a, w, np.zeros(len(a)), np.full(len(a), 1 / len(a)), **known).run(times)
    found: list[tuple[float, float]] = []
    integrate(flow, times, 1e-10, Recording(lambda step, vector: found.append((flow.measure(vector)[0], flow.penalty(vector)))))
    assert np.abs(np.array(found) - rows[:, [0, 2]]).max() < bound
    training, seen = Sgd(problem, features, a, w, 400, 0.02, (1, 0)), []
    training.run(times, lambda *row: seen.append(row))
    assert np.abs(np.array([row[1] for row in seen]) - rows[:, 0]).max() < sgd
    assert np.abs(np.array([sum(row[3:]) for row in seen]) - rows[:, 2]).max() < sgd
