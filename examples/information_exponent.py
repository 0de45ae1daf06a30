"""How long a single-index target takes to be found on the sphere: d^((k - 2) / 2) for information exponent k.

`python examples/information_exponent.py [FOLDER]` prints two tables and draws information_exponent.png; about two minutes on one
core.  The target is he_k(z1), k = 1..4 (normalised), the activation he_1 + he_2 + he_3 + he_4, so that its Hermite coefficient
c_k of the target's degree is 1; w on the sphere, a = 1 fixed, correlation loss.  Then every neuron moves by itself: with
v = w_1 its overlap with the target's direction,

    v' = k v^(k-1) (1 - v^2),    E f h* = E v^k,    v_0 = y / sqrt(d), y nearly N(0, 1),

which is gradient flow of the population loss in the setting of Ben Arous, Gheissari and Jagannath (arXiv 2003.10409).  It is
integrated in closed form: F(v(t)) = F(v_0) + k t with F' = v^(1-k) / (1 - v^2).  For k >= 3 a neuron with y > 0 escapes at
t = (sqrt(d) / y)^(k-2) / (k (k - 2)); for k = 2 at (log d) / 4 - (log y) / 2.  He_3 is odd: the half with v_0 < 0 stays at the
equator.

The escape time is when E f h* reaches half of what it tends to.  For k >= 3 neurons escape one after another, each within a
time of order 1: E f h* of finitely many nodes is a staircase, whose error is the mass of a node (1024 of them here, so 1e-3
and more).  Steps are explicit and escaped neurons contract at rate 2 k: a run takes steps in proportion to its time, so k = 4
ends at d = 10^4.
"""

import sys
from dataclasses import dataclass
from math import log, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc, expit

import mfpde
from mfpde.digits import credible
from mfpde.output.plot import figure

Array = NDArray[np.float64]
DIMENSIONS = {1: (2, 4, 6, 8), 2: (2, 4, 6, 8), 3: (2, 4, 6, 8), 4: (2, 3, 4)}
# |v| = expit(x): the trapezoidal rule in x converges exponentially, for k >= 2.
X = np.arange(-60.0, 60.0, 0.1)
# y of a neuron of the upper quartile: half of the neurons have a larger |y|.
MEDIAN = 0.6744897501960817


def antiderivative(k: int, x: Array) -> Array:
    """F(v) at v = expit(x) for k = 2, 3, 4, to rounding also where v or 1 - v is tiny."""
    v, log_v, log_rest = expit(x), -np.logaddexp(0, -x), -np.logaddexp(0, x)
    if k == 3:
        return (np.log1p(v) - log_rest) / 2 - 1 / v
    log_odds = log_v - (np.log1p(v) + log_rest) / 2
    return log_odds if k == 2 else log_odds - np.exp(-2 * log_v) / 2


def _inverse(k: int, F: Array) -> Array:
    """v > 0 of F(v), by bisection in log(v / (1 - v))."""
    low, high = np.full_like(F, -300.0), np.full_like(F, 300.0)
    for _ in range(64):
        middle = (low + high) / 2
        below = antiderivative(k, middle) < F
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return expit(low)


def correlation(k: int, d: float, times: Array) -> Array:
    """E f h* = E v^k, exact, shape of `times`: the integral of k |v|^(k-1) P(|v(t)| > |v|), with signs.

    For k = 1, v = tanh(u + t) with u = artanh v_0, whose density is proportional to 1 / cosh(u)^(d-1).
    """
    if k == 1:
        u = np.linspace(-15.0, 15.0, 301) / sqrt(d)
        weight = np.exp(-(d - 1) * np.log1p(2 * np.sinh(u / 2) ** 2))
        return np.asarray(np.tanh(times[:, None] + u) @ weight / weight.sum())
    found = []
    for time in times:
        # On the left v' has the sign of v^(k-1): |v| falls for odd k.
        F = antiderivative(k, X)
        right, left = _inverse(k, F - k * time), -_inverse(k, F - (-1) ** k * k * time)
        slope = k * np.exp(-k * np.logaddexp(0, -X)) * expit(-X)
        found.append(float((slope * (1 - _law(right, d) + (-1) ** k * _law(left, d))).sum() * (X[1] - X[0])))
    return np.array(found)


def _law(v: Array, d: float) -> Array:
    """P(v_0 <= v) on the sphere: v_0^2 ~ Beta(1/2, (d - 1) / 2)."""
    return (1 + np.sign(v) * betainc(0.5, (d - 1) / 2, np.minimum(v**2, 1.0))) / 2


def limit(k: int) -> float:
    """What E f h* tends to: neurons with v_0 < 0 are not found by he_3."""
    return 0.5 if k == 3 else 1.0


def predicted(k: int, d: float) -> float:
    """The escape time by its law in d, to leading order."""
    if k == 1:
        return float(np.arctanh(0.5))
    if k == 2:
        return log(d / MEDIAN**2) / 4
    return (sqrt(d) / MEDIAN) ** (k - 2) / (k * (k - 2))


def escape(k: int, d: float) -> float:
    """When E f h* reaches half of its limit, exact."""
    late = 2 * predicted(k, d) + 1
    return float(brentq(lambda t: correlation(k, d, np.array([t]))[0] - limit(k) / 2, 0.0, late, rtol=1e-10))


@dataclass(frozen=True)
class Run:
    """One run: E f h* at its records beside the exact one.

    Attributes:
        k, d: Information exponent and dimension.
        times, found, exact: Shapes (n,).
        escape, truth: The escape time, of the run and exact.
    """

    k: int
    d: float
    times: Array
    found: Array
    exact: Array
    escape: float
    truth: float

    @property
    def error(self) -> float:
        """Largest difference of E f h* from the exact one over the records."""
        return float(np.abs(self.found - self.exact).max())

    @property
    def uncertainty(self) -> float:
        """Of the escape time: that error over the slope of E f h*, and what lines between records leave."""
        i = int(np.searchsorted(self.times, self.truth))
        slope = (self.exact[i + 1] - self.exact[i - 2]) / (self.times[i + 1] - self.times[i - 2])
        return self.error / float(slope) + 1e-4 * self.truth


def measure(k: int, d: float, cells: int = 128, degree: int = 7, tolerance: float = 1e-4) -> Run:
    """Collective. Runs the flow frame a little beyond the escape, with cells of equal width."""
    truth = escape(k, d)
    times = truth * np.linspace(0.0, 1.15, 70)
    result = mfpde.run(
        progress=False,
        target={"polynomial": f"he{k}(z1)"},
        network={"activation": "he1(u) + he2(u) + he3(u) + he4(u)"},
        input={"dimension": d},
        initial={"a": "point(1)", "w": "sphere"},
        training={"final_time": times[-1], "xi_a": 0.0, "interaction": False, "constraint": "sphere"},
        discretization={
            **{"accuracy": False, "hermite_degree": 4, "radial_degree": 2, "r_nodes": 2, "tolerance": tolerance},
            **{"cells": cells, "degree": degree, "core_width": 4.0, "grading": 0.0},
        },
        output={"times": times.tolist(), "snapshots": 0},
    )
    found = result.columns["correlation"]
    reached = float(np.interp(limit(k) / 2, found, times))
    return Run(k, d, times, found, correlation(k, d, times), reached, truth)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    runs = [measure(k, 10.0**power) for k, powers in DIMENSIONS.items() for power in powers]
    print("| k | d | escape time | exact | leading order | largest error of E f h* |")
    for run in runs:
        cells = [
            f"{run.k}",
            f"{run.d:.0e}",
            credible(run.escape, run.uncertainty),
            f"{run.truth:.5g}",
            f"{predicted(run.k, run.d):.5g}",
        ]
        print(f"| {' | '.join(cells)} | {run.error:.0e} |")
    for k in DIMENSIONS:
        print(f"k = {k}: {slope([run for run in runs if run.k == k])}")
    draw(runs, folder / "information_exponent.png")


def slope(runs: list[Run]) -> str:
    """The growth of the escape time between the two largest dimensions, of the runs and exact."""
    before, last = runs[-2:]
    if runs[0].k == 2:
        found, exact = ((b - a) / log(last.d / before.d) for a, b in ((before.escape, last.escape), (before.truth, last.truth)))
        return f"t / log d = {found:.4f}, exact {exact:.4f}, theory 1/4"
    found, exact = (log(b / a) / log(last.d / before.d) for a, b in ((before.escape, last.escape), (before.truth, last.truth)))
    return f"exponent {found:.4f}, exact {exact:.4f}, theory {max(runs[0].k - 2, 0) / 2:g}"


def draw(runs: list[Run], picture: Path) -> None:
    """Escape times over d with the laws, and E f h* over time in units of the escape time."""
    with figure(picture, 2) as (drawing, axes):
        for k in DIMENSIONS:
            own, d = [run for run in runs if run.k == k], np.geomspace(1e2, 1e8, 50)
            law = {1: "$O(1)$", 2: r"$\log d$", 3: "$d^{1/2}$", 4: "$d$"}[k]
            axes[0].loglog(d, [predicted(k, x) for x in d], color=f"C{k}", lw=1.2)
            axes[0].loglog([r.d for r in own], [r.escape for r in own], "o", color=f"C{k}", label=f"he$_{k}(z_1)$: {law}")
            for run in (own[0], own[-1]):
                style = "--" if run is own[0] else "-"
                label = f"he$_{k}$, $d = 10^{round(np.log10(run.d))}$"
                scaled = run.times / run.truth
                axes[1].plot(scaled, run.exact / limit(k), style, color=f"C{k}", lw=1.3, label=label)
                axes[1].plot(scaled[::6], run.found[::6] / limit(k), "o", ms=4, color=f"C{k}")
        axes[0].set(xlabel="dimension $d$", ylabel="escape time", title="dots: mfpde, lines: leading order in $d$")
        axes[1].set(xlabel="time / escape time", ylabel=r"$E f h^*$ / limit", title="dots: mfpde, lines: exact")
        axes[1].set_xlim(0, 1.15)
        for axis in axes:
            axis.grid(alpha=0.3)
            axis.legend(fontsize="small")
        drawing.set_size_inches(10.4, 4.2)


if __name__ == "__main__":
    main()
