"""Quadratic activation: the moment matrices of the neurons obey a closed equation, for every d.

`python examples/quadratic.py [FOLDER]` prints E with its estimated error beside the solution of that equation, and draws
quadratic.png; half a minute on one core.  sigma(u) = u^2, a fixed, h* = z^T B z = z1^2 - z2^2.  With f = x^T M x,
M = E[a w w^T], and Q = M - B,

    Phi(a, w) = a (2 w^T Q w + tr Q |w|^2),    w' = -a H w,    H = 4 Q + 2 tr Q.

As a^2 = 1, (a w w^T)' = -(H w w^T + w w^T H) and (w w^T)' = -(H a w w^T + a w w^T H): the second moments M and P = E[w w^T]
close,

    M' = -(H P + P H),    P' = -(H M + M H),    E = tr Q^2 + (tr Q)^2 / 2,    M(0) = E[a] I / d,  P(0) = I / d.

In the complement of V they are multiples of the identity, m and q say, with D = d - 2 of them in the traces.

a = +-1: B is learned.  Along z1 neurons with a = 1, along z2 those with a = -1 grow like e^{4 t} out of |v_0|^2 = 1 / d, so that
the time grows by log(d) / 8; at d = inf, v = 0 stays.  a = 1: M = P is positive, and E tends to the least value that such a
matrix allows: M = 2/3 e_1 e_1^T, E = 4/3.
"""

import sys
from math import inf, log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import mfpde
from mfpde.digits import credible
from mfpde.output.plot import figure

Array = NDArray[np.float64]
TARGET = np.diag([1.0, -1.0])
LAWS = {"rademacher": 0.0, "point(1)": 1.0}
DIMENSIONS = (1e1, 1e2, 1e4, 1e8, inf)
TIME = 4.0


def moments(d: float, mean: float, times: Array) -> tuple[Array, Array]:
    """M and P on V, and D m and D q, at the times: shapes (n, 2, 2, 2) and (n, 2); `mean` is E[a] of a = +-1."""
    D, identity = d - 2, np.eye(2)

    def rates(time: float, state: Array) -> Array:
        (M, P), (m, q) = state[:8].reshape(2, 2, 2), state[8:]  # m and q times D
        trace = np.trace(M - TARGET) + m
        H, outside = 4 * (M - TARGET) + 2 * trace * identity, 4 * m / D + 2 * trace
        return -np.concatenate(((H @ P + P @ H).ravel(), (H @ M + M @ H).ravel(), [2 * outside * q, 2 * outside * m]))

    start = np.concatenate((mean * identity.ravel() / d, identity.ravel() / d, [mean * (1 - 2 / d), 1 - 2 / d]))
    solution = solve_ivp(rates, (0, times[-1]), start, "DOP853", times, rtol=1e-12, atol=1e-14)
    return solution.y[:8].T.reshape(-1, 2, 2, 2), solution.y[8:].T


def reference(d: float, mean: float, times: Array) -> Array:
    """E at the times, by the moment matrices."""
    on_V, outside = moments(d, mean, times)
    Q, m = on_V[:, 0] - TARGET, outside[:, 0]
    trace = np.trace(Q, axis1=1, axis2=2) + m
    return np.asarray((Q**2).sum((1, 2)) + m**2 / (d - 2) + trace**2 / 2)


def measured(d: float, law: str, times: Array, accuracy: float = 1e-5) -> tuple[Array, Array]:
    """Collective. E at the times and its estimated error, by the run."""
    result = mfpde.run(
        progress=False,
        target={"polynomial": "z1^2 - z2^2"},
        network={"activation": "quadratic"},
        input={"dimension": d},
        initial={"a": law},
        training={"final_time": float(times[-1]), "xi_a": 0.0},
        discretization={"accuracy": accuracy},
        output={"times": times.tolist(), "snapshots": 0},
    )
    assert result.error is not None
    return result.loss, result.error


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    times = np.linspace(0.0, TIME, 81)
    print("| a | d | E(2) | E(4) | largest error | largest estimate | E = 1 at t, minus log(d) / 8 |")
    with figure(folder / "quadratic.png", 2) as (drawing, axes):
        for axis, (law, mean) in zip(axes, LAWS.items(), strict=True):
            for number, d in enumerate(DIMENSIONS):
                (E, error), exact = measured(d, law, times), reference(d, mean, times)
                values = " | ".join(credible(E[i], error[i]) for i in (40, 80))
                late = f"{np.interp(-1.0, -exact, times) - log(d) / 8:.4f}" if exact[-1] < 1 else ""
                print(f"| {law} | {d:g} | {values} | {np.abs(E - exact).max():.0e} | {error.max():.0e} | {late} |", flush=True)
                name = {1e4: "$d = 10^4$", 1e8: "$d = 10^8$", inf: r"$d = \infty$"}.get(d, f"$d = {d:g}$")
                axis.plot(times, exact, color=f"C{number}", lw=1.3, label=name)
                axis.plot(times[::4], E[::4], "o", ms=4, color=f"C{number}")
            axis.set(xlabel="time $t$", ylabel="loss $E$ (dots: mfpde, lines: moment matrices)", ylim=(0, None))
            axis.grid(alpha=0.3)
            axis.legend(fontsize="small")
        axes[0].set_title(r"$h^* = z_1^2 - z_2^2$, $\sigma(u) = u^2$, $a = \pm 1$")
        axes[1].axhline(4 / 3, color="k", ls="--", lw=1)
        axes[1].set_title("$a = 1$: positive matrices reach $4/3$ (dashed)")
        drawing.set_size_inches(10.4, 4.2)


if __name__ == "__main__":
    main()
