"""A loss over eight decades, each record relative to what is left of it.

`python examples/small_losses.py [FOLDER]` prints E(t) with its error beside a closed form, and draws small_losses.png; a minute
on one core.  sigma(u) = u^2, a = 1 fixed, h* = z1^2, d = 3, up to t = 1000: the setting of a published mean-field experiment by
SGD of 5,000 neurons.  With f = x^T M x, M = E[w w^T] = diag(q_1, q_2, .., q_2) and s = tr(B - M) = 1 - q_1 - (d - 1) q_2,

    q_1' = 4 (s + 2 (1 - q_1)) q_1,    q_2' = 4 (s - 2 q_2) q_2,    q_1(0) = q_2(0) = 1 / d,
    E = (s^2 + 2 (1 - q_1)^2 + 2 (d - 1) q_2^2) / 2.

E falls like t^-2, as q_2 falls like 1 / t: an accuracy in units of E h*^2 / 2 says nothing of it from t = 100 on.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import mfpde
from mfpde.digits import credible
from mfpde.output.plot import figure

Array = NDArray[np.float64]
DIMENSION, RELATIVE = 3, 1e-3
SHOWN = (1.0, 10.0, 100.0, 300.0, 1000.0)


def reference(d: int, times: Array) -> Array:
    """E at the times, ascending from 0, by the closed form."""

    def rates(time: float, q: Array) -> list[float]:
        s = 1 - q[0] - (d - 1) * q[1]
        return [4 * (s + 2 * (1 - q[0])) * q[0], 4 * (s - 2 * q[1]) * q[1]]

    q = solve_ivp(rates, (0, times[-1]), [1 / d, 1 / d], "DOP853", times, rtol=1e-13, atol=1e-16).y
    s = 1 - q[0] - (d - 1) * q[1]
    return np.asarray((s**2 + 2 * (1 - q[0]) ** 2 + 2 * (d - 1) * q[1] ** 2) / 2)


def measured(d: int, times: Array, relative: float = RELATIVE) -> tuple[Array, Array]:
    """Collective. E at the times and its estimated error, by the run."""
    result = mfpde.run(
        progress=False,
        target={"polynomial": "z1^2"},
        network={"activation": "quadratic"},
        input={"dimension": d},
        initial={"a": "point(1)"},
        training={"final_time": float(times[-1]), "xi_a": 0.0},
        discretization={"relative_accuracy": relative},
        output={"times": times.tolist(), "snapshots": 0},
    )
    assert result.error is not None
    return result.loss, result.error


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    times = np.unique([0.0, *np.geomspace(0.1, 1000.0, 33), *SHOWN])
    (E, error), exact = measured(DIMENSION, times), reference(DIMENSION, times)
    print("| t | E | closed form | relative error | estimate |")
    for k in np.searchsorted(times, SHOWN):
        off, stated = abs(E[k] / exact[k] - 1), error[k] / exact[k]
        print(f"| {times[k]:g} | {credible(E[k], error[k])} | {exact[k]:.6g} | {off:.0e} | {stated:.0e} |")
    with figure(folder / "small_losses.png", 1) as (_, axes):
        axes[0].loglog(times[1:], exact[1:], lw=1.3, label="closed form")
        axes[0].loglog(times[1:], E[1:], "o", ms=4, label="mfpde")
        axes[0].set(xlabel="time $t$", ylabel="loss $E$", title=r"$h^* = z_1^2$, $\sigma(u) = u^2$, $a = 1$, $d = 3$")
        axes[0].grid(alpha=0.3)
        axes[0].legend()


if __name__ == "__main__":
    main()
