# Prediction beside outcome: trapped or not on ten targets at d = inf, and when the plateau ends for d = 10^2..10^8.
"""Run as `.venv/bin/python examples/predictions.py [FIGURE.png]`; some ten minutes, most of them for part two.

Part one runs the solver at d = inf on ten targets, to an accuracy of 1e-3 over the whole run, and prints E(T) with its error.
Part two takes targets of isotropic leap 2 to finite d: along characteristics, with the finite-element density for one of
them, and one of leap 3 for comparison.  With a_0 = +-1 (Rademacher) all labels have one rate, and the linearised prediction
is sharp.
"""

import sys
from fractions import Fraction
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.digits import credible
from mfpde.discretisation.resolution import given_resolution, make_labels
from mfpde.discretisations import build_problem
from mfpde.features.bases import basis_of
from mfpde.learnability.gap import parabola_target
from mfpde.learnability.polynomials import number, raw_monomials, text
from mfpde.learnability.predictions import FollowedLabels, departure_time, follow_labels, predicted_times
from mfpde.learnability.report import Report, learnability
from mfpde.learnability.subspaces import orthonormal_basis
from mfpde.output.plot import figure
from mfpde.particles.characteristics import characteristics, normal_rule
from mfpde.problem.activation import parse_activation
from mfpde.problem.config import load
from mfpde.problem.sections import Config
from mfpde.problem.target import parse_target
from mfpde.solve import solve

Array = NDArray[np.float64]
TANH = "tanh(u + 0.5)"
TURNED = "(3*z1 + 4*z2)/5 + (3*z1 + 4*z2)*(4*z1 - 3*z2)/25"
PARABOLA = text(raw_monomials(parabola_target(Fraction(1, 2))))
# h*, sigma, final time.
CASES = [
    ("z1 + z1*z2", TANH, 300),
    ("z1 + z1*z2", "relu", 300),
    ("z1 + z1*z2 + z1*z2*z3", TANH, 300),
    ("z1 + z1*z2 + z1*z2*z3", "relu", 300),
    ("z1*z2", TANH, 300),
    ("z1 + z1*z2*z3", TANH, 300),
    ("z1 + z2^2 - 1", TANH, 300),
    ("z1 + z1*(z2^3 - 3*z2*z3^2)/4", TANH, 300),
    (TURNED, "tanh", 300),
    (PARABOLA, "sin(u) + cos(u)", 300),
]
# h* of leap 2, a time by which it has left the plateau for all d, and the law of a_0.
LEAVING = [
    ("z1*z2", 65, "rademacher"),
    ("z1 + z2^2 - 1", 30, "rademacher"),
    ("z1 + z2^2 - 1", 30, "uniform(-1, 1)"),
    ("z1 + z1*z2*z3", 32, "rademacher"),
]
DIMENSIONS = [10.0**k for k in range(2, 9, 2)]
LEAP_3, DIMENSIONS_3 = ("z1^3 - 3*z1", 450, "rademacher"), [10.0**k for k in (4, 5, 6)]
# The plateau is left when the loss is this far below that at d = inf.
DROP, DROP_3 = 0.05, 0.01
# K of part two: with 16, the times of a_0 = +-1 change by less than 0.001.
DEGREE = 10
# A label has reached a direction if it has moved this share of the largest |v| along it.
REACHED = 1e-4


def main() -> None:
    """Prints both tables; draws the second."""
    print("At d = inf: dimension of S by Definition 3.3 and without bias, directions reached, plateau\n")
    print(f"{'h*':<32}{'sigma':<17}{'S':>4}{'S nb':>6}{'reached':>9}{'bound':>8}{'E(T)':>19}  verdict")
    for polynomial, activation, time in CASES:
        print(plateau(polynomial, activation, time), flush=True)
    print(f"\nTime to leave the plateau by {DROP}, sigma = {TANH}: measured, predicted from d = 10^8\n")
    print(
        f"{'h*':<16}{'a_0':<16}"
        + "".join(f"{f'd = {d:.0e}':>16}" for d in DIMENSIONS)
        + f"{'slope in log d':>22}{'1/(2 rate)':>12}"
    )
    curves = []
    for polynomial, time, law in LEAVING:
        found, predicted, labels = leaving(polynomial, time, law, DIMENSIONS)
        slopes = [np.polyfit(np.log(DIMENSIONS), t, 1)[0] for t in (found, predicted)]
        times = "".join(f"{f'{t:.2f}, {s:.2f}':>16}" for t, s in zip(found, predicted, strict=True))
        last = 1 / (2 * labels.rate[-1].max())
        print(f"{polynomial:<16}{law:<16}{times}{f'{slopes[0]:.4f}, {slopes[1]:.4f}':>22}{last:>12.4f}", flush=True)
        curves.append((f"{polynomial}, $a_0$ {law}", found, predicted))
    polynomial, time, law = LEAVING[1]
    density, exact = departure_time(*finite_elements(polynomial, time, law, DIMENSIONS[1]), DROP), curves[1][1][1]
    print(f"{polynomial} at d = 10^4 by the finite-element density: {density:.4f}, along characteristics: {exact:.4f}")
    found = departures(*LEAP_3, DIMENSIONS_3, DROP_3)[0]
    exponents = ", ".join(f"{x:.3f}" for x in np.diff(np.log10(found)))
    print(f"\nleap 3, {LEAP_3[0]}: t = {', '.join(f'{t:.1f}' for t in found)} for d = 1e4, 1e5, 1e6")
    print(f"its exponents from one d to the next: {exponents} (predicted for d -> inf: 1/2)")
    if len(sys.argv) > 1:
        draw(Path(sys.argv[1]), curves)


def plateau(polynomial: str, activation: str, time: float) -> str:
    """One row of the first table."""
    report = predict(polynomial, activation)
    labels = infinite(configuration(polynomial, activation, time, inf), report, np.linspace(0, time, 101))
    part, size = report.no_bias, np.abs(labels.v).max()
    reached = int((np.linalg.svd(labels.v[-1], compute_uv=False) > REACHED * size).sum()) if size else 0
    outside = np.abs(labels.v @ orthonormal_basis(part.reflective).T).max(initial=0.0)
    bound = float(part.visible_bound)
    loss, error = accurate(polynomial, activation, time)
    if report.trapped:
        verdict = f"trapped, as predicted: |v_S| <= {outside:.0e}, E - bound = {loss - bound:.1e}"
        agrees = outside < 1e-6 and abs(loss - bound) < 1e-2 + error
    else:
        verdict = "free, as predicted" + (", and not yet learned" if loss > 0.01 else "")
        agrees = reached == part.v.dimension
    name = polynomial if len(polynomial) < 32 else polynomial[:28] + ".."
    sizes = f"{report.definition.reflective.dimension:>4}{part.reflective.dimension:>6}{f'{reached} of {part.v.dimension}':>9}"
    numbers = f"{number(part.visible_bound):>8}{credible(loss, error):>19}"
    return f"{name:<32}{activation:<17}{sizes}{numbers}  {verdict if agrees else 'DISAGREES'}"


def accurate(polynomial: str, activation: str, time: float) -> tuple[float, float]:
    """E(T) at d = inf and its estimated error."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "limit.h5"
        options = (f"output.file={path}", "output.times=101", "discretization.accuracy=1e-3")
        config = configuration(polynomial, activation, time, inf, *options)
        solve(MPI.COMM_SELF, config, build_problem(config))
        with h5py.File(path) as file:
            return float(file["history/loss"][-1]), float(file["error/estimate"][-1])


def leaving(polynomial: str, time: float, law: str, dimensions: list[float]) -> tuple[Array, Array, FollowedLabels]:
    """Times at which the loss leaves the plateau, and those predicted from the last of them."""
    found, labels = departures(polynomial, time, law, dimensions)
    return found, predicted_times(labels, dimensions, len(found) - 1, found[-1]), labels


def departures(
    polynomial: str, time: float, law: str, dimensions: list[float], drop: float = DROP
) -> tuple[Array, FollowedLabels]:
    """Times at which the loss leaves the plateau, along characteristics; the labels at d = inf."""
    times = np.linspace(0, time, 10 * int(time) + 1)
    few = labelled(law)
    labels = infinite(configuration(polynomial, TANH, time, inf, *few), predict(polynomial, TANH), times)
    found = []
    for d in dimensions:
        config = configuration(polynomial, TANH, time, d, *few)
        problem = build_problem(config)
        # At leap 3 the neurons leave one after another, the outermost first: panels follow that.
        rule = {1: normal_rule(32, 6), 2: normal_rule(1, 24), 3: normal_rule(1, 16)}[problem.p]
        rules = make_labels(problem, given_resolution(problem, config.discretization))
        curve = characteristics(
            problem, rules, basis_of(problem, problem.numbers(config.discretization)), times.tolist(), rule, 1e-9
        )
        found.append(departure_time(times, curve.loss, labels.loss, drop))
    return np.array(found), labels


def finite_elements(polynomial: str, time: float, law: str, d: float) -> tuple[Array, Array, Array]:
    """Times, loss and the loss at d = inf by the finite-element density, to an accuracy of 1e-4 at the same Hermite degree."""
    times = np.linspace(0, time, 10 * int(time) + 1)
    limit = infinite(configuration(polynomial, TANH, time, inf, *labelled(law)), predict(polynomial, TANH), times).loss
    with TemporaryDirectory() as directory:
        path = Path(directory) / "density.h5"
        more = (f"initial.a={law}", f"discretization.hermite_degree={DEGREE}", f"output.file={path}", "output.snapshots=0")
        config = configuration(polynomial, TANH, time, d, *more, f"output.times={len(times)}")
        solve(MPI.COMM_SELF, config, build_problem(config))
        with h5py.File(path) as file:
            return times, file["history/loss"][:], limit


def labelled(law: str) -> tuple[str, ...]:
    """A law of a with 12 labels (2 for two points), one label of r, and the Hermite degree."""
    numbers = ("accuracy=false", "a_nodes=12", "r_nodes=1", f"hermite_degree={DEGREE}")
    return f"initial.a={law}", *(f"discretization.{number}" for number in numbers)


def predict(polynomial: str, activation: str) -> Report:
    """The algebra."""
    return learnability(parse_target(polynomial), parse_activation(activation), order=12, others=())


def configuration(polynomial: str, activation: str, time: float, d: float, *more: str) -> Config:
    """The solver's configuration."""
    size = "inf" if d == inf else f"{int(d)}"
    named = (f"target.polynomial={polynomial}", f"network.activation={activation}", f"input.dimension={size}")
    return load(None, ["output.plot=false", *named, f"training.final_time={float(time)}", *more])


def infinite(config: Config, report: Report, times: Array) -> FollowedLabels:
    """The labels at d = inf."""
    across = orthonormal_basis(report.no_bias.reflective)
    return follow_labels(MPI.COMM_SELF, build_problem(config), config.discretization, times.tolist(), across)


def draw(path: Path, curves: list[tuple[str, Array, Array]]) -> None:
    """Departure times over d, with the predictions as lines."""
    with figure(path, 1) as (_, axes):
        for k, (polynomial, found, predicted) in enumerate(curves):
            axes[0].semilogx(DIMENSIONS, predicted, color=f"C{k}", lw=1.5)
            axes[0].semilogx(DIMENSIONS, found, "o", color=f"C{k}", label=f"$h^*$ = {polynomial}")
        axes[0].set(xlabel="dimension $d$", ylabel="time to leave the plateau", title="dots: dynamics, lines: linearised rate")
        axes[0].legend()
        axes[0].grid(alpha=0.3)


if __name__ == "__main__":
    main()
