"""A soft committee machine: the symmetric plateau, and its end after a time that grows like log d.

`python examples/soft_committee.py [FOLDER]` prints E with its estimated error beside an independent solution, and draws
soft_committee.png; about two minutes on one core.  sigma(u) = erf(u / sqrt 2), second layer a = 1 fixed, and two orthogonal
teachers of norm b = 2, h* = (sigma(b z1) + sigma(b z2)) / 2: the setting of Saad and Solla (Phys. Rev. E 52, 4225) and of
Goldt et al. (arXiv 1906.08632), with infinitely many students.  Instead of finitely many order parameters the state is the law of
(v, r), v = (w_1, w_2), r = |w in the complement|, and every average is an arcsine: with S = |w|^2 and theta the angle between
two complements, uniform on the sphere in d - 2 dimensions,

    K(w, w') = 2/pi E_theta asin( (v.v' + r r' cos theta) / sqrt((1 + S)(1 + S')) ),
    T(w)     = 1/pi sum_m asin( b v_m / sqrt((1 + S)(1 + b^2)) ),
    w' = -grad (E_rho K(w, .) - T(w)),    E = E_rho E_rho K / 2 - E_rho T + asin(b^2 / (1 + b^2)) / (2 pi).

The reference follows particles by these formulas, without Hermite modes or elements: composite Gauss nodes of
u = (y1 - y2) / sqrt 2, graded to the line u = 0 that divides what the two teachers attract.  At d = inf all students are one,
stay on that line, and the plateau never ends; it is unstable across it at the rate lambda, minus the second derivative of
E K - T, so that it ends after (log d) / (2 lambda) and a constant.
"""

import sys
from dataclasses import dataclass
from itertools import pairwise
from math import asin, inf, log, pi, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import mfpde
from mfpde.digits import credible
from mfpde.output.plot import figure

Array = NDArray[np.float64]
B = 2.0
DIMENSIONS = (1e2, 1e4, 1e6, inf)
TIME, ACCURACY = 240.0, 1e-3
# Panels of u > 0, in standard deviations.
PANELS = (0.0, 0.03, 0.1, 0.3, 0.8, 1.6, 2.6, 4.0, 6.5)


@dataclass(frozen=True)
class Students:
    """Half of the students, those with y1 > y2; the others are their mirror images.

    Attributes:
        d: Dimension, or inf.
        v, r, weight: Shapes (n, 2), (n,), (n,); the weights sum to 1.
        cosine, share: Nodes and weights of cos theta, shapes (m,).
    """

    d: float
    v: Array
    r: Array
    weight: Array
    cosine: Array
    share: Array

    @property
    def start(self) -> Array:
        """As one vector."""
        return np.concatenate((self.v.ravel(), self.r))

    def split(self, state: Array) -> tuple[Array, Array]:
        n = len(self.r)
        return state[: 2 * n].reshape(n, 2), state[2 * n :]

    def overlaps(self, v: Array, r: Array, state: Array) -> tuple[Array, Array, Array, Array]:
        """The argument rho of the arcsine with all students (k, 2 n, m), sqrt((1 + S)(1 + S')) (k, 2 n), and these students."""
        own_v, own_r = self.split(state)
        other, radius = np.concatenate((own_v, own_v[:, ::-1])), np.concatenate((own_r, own_r))
        root = np.sqrt(np.outer(1 + (v**2).sum(1) + r**2, 1 + (other**2).sum(1) + radius**2))
        along = (v @ other.T)[:, :, None] + np.outer(r, radius)[:, :, None] * self.cosine
        return along / root[:, :, None], root, other, radius

    def rates(self, time: float, state: Array) -> Array:
        """The time derivative of the state."""
        v, r = self.split(state)
        A, mass = 1 + (v**2).sum(1) + r**2, np.concatenate((self.weight, self.weight)) / 2
        rho, root, other, radius = self.overlaps(v, r, state)
        slope = 2 / pi * mass[:, None] * self.share / np.sqrt(1 - rho**2)
        along = (slope * rho).sum((1, 2)) / A
        dv = (slope.sum(2) / root) @ other - along[:, None] * v
        dr = ((slope @ self.cosine) / root) @ radius - along * r
        teacher = B * v / np.sqrt(A * (1 + B**2))[:, None]
        pull = 1 / pi / np.sqrt(1 - teacher**2)
        towards = (pull * teacher).sum(1) / A
        dv -= pull * (B / np.sqrt(A * (1 + B**2)))[:, None] - towards[:, None] * v
        dr += towards * r
        return -np.concatenate((dv.ravel(), dr))

    def potential(self, v: Array, r: Array, state: Array) -> Array:
        """E K - T of any neurons, shape (k,)."""
        rho = self.overlaps(v, r, state)[0]
        K = 2 / pi * (np.arcsin(rho) @ self.share) @ np.concatenate((self.weight, self.weight)) / 2
        return np.asarray(K - self.teachers(v, r))

    def teachers(self, v: Array, r: Array) -> Array:
        """T of any neurons, shape (k,)."""
        return np.asarray(np.arcsin(B * v / np.sqrt((1 + (v**2).sum(1) + r**2) * (1 + B**2))[:, None]).sum(1) / pi)

    def loss(self, state: Array) -> float:
        v, r = self.split(state)
        T = self.teachers(v, r)
        return float(self.weight @ (self.potential(v, r, state) - T)) / 2 + asin(B**2 / (1 + B**2)) / (2 * pi)


def students(d: float, nodes: int = 4) -> Students:
    """At t = 0, N(0, I/d): `nodes` for each panel of u, 5 Gauss-Hermite nodes of (y1 + y2) / sqrt 2, 2 Gauss nodes of r^2, 3 of
    cos theta; at d = inf one student."""
    if d == inf:
        return Students(d, np.zeros((1, 2)), np.ones(1), np.ones(1), np.zeros(1), np.ones(1))
    x, w = np.polynomial.legendre.leggauss(nodes)
    u = np.concatenate([low + (high - low) * (x + 1) / 2 for low, high in pairwise(PANELS)])
    mass = np.concatenate([(high - low) * w / 2 for low, high in pairwise(PANELS)]) * np.exp(-(u**2) / 2)
    s, of_s = np.polynomial.hermite_e.hermegauss(5)
    # The two-point Gauss rule of Gamma(D / 2), and the three-point rule of cos theta in D dimensions, in closed form.
    D = d - 2
    root = sqrt(D / 2 + 1)
    square, of_r = 2 / d * (root**2 + root * np.array([-1.0, 1.0])), (1 + np.array([1.0, -1.0]) / root) / 2
    cosine, side = sqrt(3 / (D + 2)) * np.array([-1.0, 0.0, 1.0]), (D + 2) / (6 * D)
    U, S, R = (grid.ravel() for grid in np.meshgrid(u, s, np.sqrt(square), indexing="ij"))
    weight = np.einsum("i,j,k->ijk", mass / mass.sum(), of_s / of_s.sum(), of_r).ravel()
    v = np.column_stack((S + U, S - U)) / sqrt(2 * d)
    return Students(d, v, R, weight, cosine, np.array([side, 1 - 2 * side, side]))


def reference(d: float, times: Array, nodes: int = 4) -> Array:
    """E at the times, by the arcsines."""
    group = students(d, nodes)
    solution = solve_ivp(group.rates, (0, times[-1]), group.start, "DOP853", times, rtol=1e-8, atol=1e-9)
    return np.array([group.loss(state) for state in solution.y.T])


def instability(time: float = 1000.0) -> tuple[float, float]:
    """E of the plateau at d = inf, and the rate lambda at which students leave the line v_1 = v_2."""
    group, h = students(inf), 1e-3
    state = solve_ivp(group.rates, (0, time), group.start, "DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    v, r = group.split(state)
    across = v + h * np.array([[1.0, -1.0], [0.0, 0.0], [-1.0, 1.0]]) / sqrt(2)
    left, middle, right = group.potential(across, np.repeat(r, 3), state)
    return group.loss(state), -(left - 2 * middle + right) / h**2


def measured(d: float, times: Array, accuracy: float = ACCURACY) -> tuple[Array, Array]:
    """Collective. E at the times and its estimated error, by the run."""
    result = mfpde.run(
        progress=False,
        target={"function": "(erf(sqrt(2)*z1) + erf(sqrt(2)*z2))/2"},
        network={"activation": "erf(u/sqrt(2))"},
        input={"dimension": d},
        initial={"a": "point(1)"},
        training={"final_time": float(times[-1]), "xi_a": 0.0},
        discretization={"accuracy": accuracy},
        output={"times": times.tolist(), "snapshots": 0},
    )
    assert result.error is not None
    return result.loss, result.error


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    plateau, rate = instability()
    print(f"plateau at d = inf: E = {plateau:.7f}; lambda = {rate:.5f}, log(100) / (2 lambda) = {log(100) / (2 * rate):.2f}")
    times = np.linspace(0.0, TIME, 121)
    shown = [60, 120, 240]
    print("| d | largest error | largest estimate | " + " | ".join(f"E({t})" for t in shown) + " | E = plateau / 2 at t |")
    with figure(folder / "soft_committee.png", 1) as (_, axes):
        for number, d in enumerate(DIMENSIONS):
            (E, error), exact = measured(d, times), reference(d, times)
            ends = f"{np.interp(-plateau / 2, -E[2:], times[2:]):.1f}" if E[-1] < plateau / 2 else "never"
            values = [credible(E[i], error[i]) for i in (int(np.argmin(np.abs(times - t))) for t in shown)]
            worst = f"{np.abs(E - exact).max():.0e} | {error.max():.0e}"
            print(f"| {d:g} | {worst} | {' | '.join(values)} | {ends} |", flush=True)
            name = f"$d = {d:g}$" if d < 1e5 else "$d = 10^6$" if d < inf else r"$d = \infty$"
            axes[0].semilogy(times, exact, color=f"C{number}", lw=1.3, label=name)
            axes[0].semilogy(times[::5], E[::5], "o", ms=4, color=f"C{number}")
        title = r"$h^* = (\sigma(2 z_1) + \sigma(2 z_2))/2$, $\sigma = \mathrm{erf}(u/\sqrt{2})$, $a = 1$"
        axes[0].set(xlabel="time $t$", ylabel="loss $E$ (dots: mfpde, lines: arcsines)", title=title)
        axes[0].legend()
        axes[0].grid(alpha=0.3, which="both")


if __name__ == "__main__":
    main()
