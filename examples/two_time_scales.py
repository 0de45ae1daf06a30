"""A fast second layer: with xi_a / xi_w = 1 / eps the Hermite coefficients are learned one after another.

`python examples/two_time_scales.py [FOLDER]` prints two tables and draws two_time_scales.png; half a minute on one core.
The setting of Berthier, Montanari and Zhou (arXiv 2303.00055): a single-index target he_0 + .. + he_3 of z1 (normalised), the
same activation, w on the sphere, d = inf, a_0 uniform in [-1, 1].  With v = w_1 (0 at t = 0) and m_k = E[a v^k],

    eps a' = -sum_k (m_k - 1) v^k,    v' = -a (1 - v^2) sum_k (m_k - 1) k v^(k-1),    E = sum_k (m_k - 1)^2 / 2,

which the reference solves for Gauss-Legendre nodes of a_0.  For eps -> 0 degree 0 is learned at t = O(eps), degree 1 at
sqrt(eps) log(1/eps) / 4 (a and v / sqrt(eps) grow like e^(t / sqrt eps) until a v = O(1)), and degree k >= 2 after a time
O(eps^(1/(2k))): v = O(eps^(1/(2k))) then has to grow at a rate a v^(k-1) = O(1).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import mfpde
from mfpde.digits import credible
from mfpde.output.plot import figure

Array = NDArray[np.float64]
DEGREES = np.arange(4)
# eps of runs, and of the reference alone.
RUNS, FURTHER = (1.0, 1e-1, 1e-2, 1e-3), (1e-4,)
TIME, ACCURACY = 1.5, 1e-3


def records(eps: float, number: int = 160) -> Array:
    """0, logarithmic times from eps / 20 on, and 0.1."""
    return np.unique(np.concatenate(([0.0, 0.1], np.geomspace(eps / 20, TIME, number))))


def reference(eps: float, times: Sequence[float] | Array, nodes: int = 24) -> Array:
    """m_k at the times, shape (n, 4), for 2 `nodes` labels."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    start, weight = np.concatenate(((x - 1) / 2, (x + 1) / 2)), np.concatenate((w, w)) / 4

    def rates(time: float, state: Array) -> Array:
        a, v = np.split(state, 2)
        powers = v[:, None] ** DEGREES
        residual = (weight * a) @ powers - 1
        slopes = powers[:, :-1] @ (DEGREES[1:] * residual[1:])
        return -np.concatenate((powers @ residual / eps, a * (1 - v**2) * slopes))

    y0 = np.concatenate((start, np.zeros_like(start)))
    solution = solve_ivp(rates, (0, times[-1]), y0, "DOP853", times, rtol=1e-10, atol=1e-13)
    a, v = np.split(solution.y, 2)
    return np.einsum("n,nt,knt->tk", weight, a, v ** DEGREES[:, None, None])


@dataclass(frozen=True)
class Run:
    """One run: E with its estimated error, shapes (n,), and m_k, shape (n, 4)."""

    loss: Array
    error: Array
    coefficients: Array


def measure(eps: float, times: Array, accuracy: float = ACCURACY) -> Run:
    """Collective. The flow frame to a given accuracy."""
    target, activation = (" + ".join(f"he{k}({x})" for k in DEGREES) for x in ("z1", "u"))
    result = mfpde.run(
        progress=False,
        target={"polynomial": target},
        network={"activation": activation},
        input={"dimension": "inf"},
        initial={"w": "sphere"},
        training={"final_time": float(times[-1]), "xi_a": 1 / eps, "constraint": "sphere"},
        discretization={"accuracy": accuracy},
        output={"times": times.tolist(), "snapshots": 0},
    )
    assert result.error is not None
    order = [result.modes.index(((int(k),), 0)) for k in DEGREES]
    return Run(result.loss, result.error, result.coefficients[:, order])


def learned(times: Array, m: Array) -> Array:
    """When each m_k is 1/2 for the first time, shape (4,); nan if it never is."""
    found = np.full(len(DEGREES), np.nan)
    for k in DEGREES:
        i = int(np.argmax(m[:, k] >= 0.5))
        if i:
            share = (0.5 - m[i - 1, k]) / (m[i, k] - m[i - 1, k])
            found[k] = times[i - 1] + share * (times[i] - times[i - 1])
    return found


def scales(eps: float) -> Array:
    """The times of the theory, without their constants, shape (4,)."""
    return np.array([eps, sqrt(eps) * log(1 / eps) / 4, eps**0.25, eps ** (1 / 6)])


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    print("| xi_a / xi_w | E(0.1) | E(1.5) | largest error of E | largest estimate | of m_k |")
    when = {}
    with figure(folder / "two_time_scales.png", 2) as (drawing, axes):
        for eps in (*RUNS, *FURTHER):
            times = records(eps)
            exact = reference(eps, times)
            when[eps] = learned(times, exact)
            if eps in RUNS:
                run = measure(eps, times)
                wrong = np.abs(run.loss - ((exact - 1) ** 2).sum(axis=1) / 2).max()
                early = int(np.searchsorted(times, 0.1))
                values = " | ".join(credible(run.loss[i], run.error[i]) for i in (early, -1))
                of_m = np.abs(run.coefficients - exact).max()
                print(f"| {1 / eps:g} | {values} | {wrong:.0e} | {run.error.max():.0e} | {of_m:.0e} |", flush=True)
                if eps in (1.0, 1e-3):
                    for k in DEGREES:
                        style, name = ("--", None) if eps == 1 else ("-", f"degree {k}")
                        axes[0].semilogx(times[1:], exact[1:, k], style, color=f"C{k}", lw=1.4, label=name)
                        axes[0].semilogx(times[1::6], run.coefficients[1::6, k], "o", ms=3.5, color=f"C{k}")
        axes[0].set(xlabel=r"time $t$ ($\xi_w = 1$)", ylabel="Hermite coefficient $m_k$ (target: 1)")
        axes[0].set_title(r"$\xi_a/\xi_w = 1000$ (dashed: 1); dots: mfpde, lines: reference", fontsize="medium")
        eps = np.array(list(when))
        for k in DEGREES:
            axes[1].loglog(eps, [when[e][k] for e in eps], "o-", color=f"C{k}", lw=1, label=f"degree {k}")
            theory, small = np.array([scales(e)[k] for e in eps[2:]]), when[eps[-1]][k] / scales(eps[-1])[k]
            axes[1].loglog(eps[2:], theory * small, "k:", lw=1.2)
        axes[1].set(xlabel=r"$\varepsilon = \xi_w / \xi_a$", ylabel="time at which $m_k = 1/2$")
        axes[1].set_title(
            r"dotted: $\varepsilon$, $\sqrt{\varepsilon}\,\log(1/\varepsilon)$, $\varepsilon^{1/4}$, $\varepsilon^{1/6}$"
        )
        for axis in axes:
            axis.grid(alpha=0.3)
            axis.legend(fontsize="small")
        drawing.set_size_inches(10.4, 4.2)
    print("\ntimes at which m_k = 1/2, and in units of eps, sqrt(eps) log(1/eps) / 4, eps^(1/4), eps^(1/6)")
    for e, found in when.items():
        units = ", ".join(f"{x:.3f}" for x in found / scales(e)) if e < 1 else ""
        print(f"| {e:g} | {', '.join(f'{t:.3g}' for t in found)} | {units} |")


if __name__ == "__main__":
    main()
