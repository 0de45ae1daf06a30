"""p = 4 and 5 at d = inf, against neurons whose pairs interact in closed form: no Hermite modes, no elements.

At d = inf the parts of two neurons' w in V-perp are orthogonal, w.w' = v.v', and with S = |v|^2 + r^2

    E[sigma(w.x) sigma(w'.x)] = exp(v.v' - (S + S') / 2)                             for sigma(u) = sin(u) + cos(u),
                                2/pi asin(2 v.v' / sqrt((1 + 2 S) (1 + 2 S')))       for sigma(u) = erf(u),
    E[z_1 .. z_k sigma(w.x)]  = v_1 .. v_k E[sigma^(k)(w.x)]                         (Stein),
    E[sigma^(k)(w.x)]         = (1, 1, -1, -1, 1, ..)_k exp(-S / 2),  or  erf^(k)(0) (1 + 2 S)^(-k / 2).
"""

from dataclasses import dataclass
from math import inf, pi, sqrt

import numpy as np
import pytest
from numpy.polynomial.hermite import hermval
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from support import SELF, follow, labels_of, read

import mfpde
from mfpde.discretisations import start_flow
from mfpde.errors import InputError
from mfpde.features.hermite.modes import hermite_modes, multi_indices
from mfpde.problem.defaults import LARGEST_MODES, largest_degree, mode_count

Array = NDArray[np.float64]
# Products of different variables, by their numbers, with their coefficients in h*.
Terms = dict[tuple[int, ...], float]


def sin_cos_pairs(c: Array, S: Array) -> tuple[Array, Array, Array]:
    """The kernel of all pairs, its derivatives by c = v.v' and by the first S."""
    value = np.exp(c - (S[:, None] + S) / 2)
    return value, value, -value / 2


def sin_cos_mean(k: int, S: Array) -> tuple[Array, Array]:
    """E[sigma^(k)(w.x)], and its derivative by S."""
    value = (1, 1, -1, -1)[k % 4] * np.exp(-S / 2)
    return value, -value / 2


def erf_pairs(c: Array, S: Array) -> tuple[Array, Array, Array]:
    size = 1 + 2 * S
    norm = np.sqrt(np.outer(size, size))
    x = 2 * c / norm
    slope = 2 / pi / np.sqrt(1 - x**2)
    return 2 / pi * np.arcsin(x), 2 * slope / norm, -slope * x / size[:, None]


def erf_mean(k: int, S: Array) -> tuple[Array, Array]:
    at_zero = 2 / sqrt(pi) * (-1) ** (k - 1) * hermval(0.0, [0] * (k - 1) + [1])  # erf' = 2 / sqrt(pi) exp(-u^2)
    return at_zero * (1 + 2 * S) ** (-k / 2), -k * at_zero * (1 + 2 * S) ** (-k / 2 - 1)


PAIRS = {"sin(u)+cos(u)": (sin_cos_pairs, sin_cos_mean), "erf": (erf_pairs, erf_mean)}


@dataclass(frozen=True)
class Pairs:
    """Neurons (a, v, r), one for each label, that start at v = 0, r = 1 with xi_a = xi_w = 1.

    Attributes:
        activation: A key of `PAIRS`.
        terms: Of h*.
        p: Number of variables.
        a, weight: The labels a_0 and their weights, shape (n,).
    """

    activation: str
    terms: Terms
    p: int
    a: Array
    weight: Array

    def loss(self, times: list[float]) -> Array:
        """E at the given times."""
        start = np.concatenate((self.a, np.zeros(self.p * len(self.a)), np.ones(len(self.a))))
        found = solve_ivp(self._rates, (0.0, times[-1]), start, "DOP853", times, rtol=1e-11, atol=1e-12)
        return np.array([self._loss(state) for state in found.y.T])

    def _split(self, state: Array) -> tuple[Array, Array, Array]:
        rows = state.reshape(self.p + 2, -1)
        return rows[0], rows[1:-1], rows[-1]

    def _target(self, v: Array, S: Array) -> tuple[Array, Array, Array]:
        """T = E[h* sigma(w.x)], and its derivatives by v, at fixed S, and by S."""
        T, by_v, by_S = np.zeros_like(S), np.zeros_like(v), np.zeros_like(S)
        for variables, c in self.terms.items():
            mean, slope = PAIRS[self.activation][1](len(variables), S)
            product = v[list(variables)].prod(axis=0)
            T += c * product * mean
            by_S += c * product * slope
            for q in variables:
                by_v[q] += c * v[[i for i in variables if i != q]].prod(axis=0) * mean
        return T, by_v, by_S

    def _loss(self, state: Array) -> float:
        a, v, r = self._split(state)
        S = (v**2).sum(axis=0) + r**2
        mass = self.weight * a
        kernel = PAIRS[self.activation][0](v.T @ v, S)[0]
        return float(mass @ kernel @ mass / 2 - mass @ self._target(v, S)[0] + sum(c**2 for c in self.terms.values()) / 2)

    def _rates(self, _: float, state: Array) -> Array:
        a, v, r = self._split(state)
        S = (v**2).sum(axis=0) + r**2
        mass = self.weight * a
        kernel, by_c, by_S = PAIRS[self.activation][0](v.T @ v, S)
        T, T_v, T_S = self._target(v, S)
        pull = by_S @ mass - T_S
        dv = (by_c * mass) @ v.T - T_v.T + 2 * (pull * v).T
        return np.concatenate((T - kernel @ mass, (-a * dv.T).ravel(), -a * 2 * r * pull))


# h* and its terms; those of odd degree are what erf, an odd function, can learn.
FOUR = "z1 + z1*z2 + z1*z2*z3*z4", {(0,): 1.0, (0, 1): 1.0, (0, 1, 2, 3): 1.0}
FIVE = "z1 + z1*z2 + 0.5*z1*z2*z3*z4*z5", {(0,): 1.0, (0, 1): 1.0, (0, 1, 2, 3, 4): 0.5}
ODD = "z1 + z4 + z1*z2*z3 + 2*z2*z3*z4", {(0,): 1.0, (3,): 1.0, (0, 1, 2): 1.0, (1, 2, 3): 2.0}


@pytest.mark.parametrize(
    "target,activation,K,held",
    [(FOUR, "sin(u)+cos(u)", 14, 1e-9), (FIVE, "sin(u)+cos(u)", 11, 1e-7), (ODD, "erf", 27, 2e-6)],
)
def test_the_loss_is_that_of_neurons_that_interact_in_pairs(
    target: tuple[str, Terms], activation: str, K: int, held: float
) -> None:
    polynomial, terms = target
    config, problem = read(
        "input.dimension=inf", f"target.polynomial={polynomial}", f"network.activation={activation}", "training.final_time=6",
        f"discretization.hermite_degree={K}", "discretization.a_nodes=8", "output.times=7",
    )  # fmt: skip
    found = follow(start_flow(SELF, problem, config.discretization), config.record_times, 1e-10)[:, 0]
    rule = labels_of(config, problem).a
    exact = Pairs(activation, terms, problem.p, rule.nodes, rule.weights).loss(config.record_times)
    assert exact[-1] < 0.8 * exact[0]
    assert np.abs(found - exact).max() < held


def test_the_estimate_covers_the_error_at_p_4() -> None:
    """All numbers by default, against 2 x 24 labels."""
    polynomial, terms = FOUR
    given = {"input": {"dimension": "inf"}, "target": {"polynomial": polynomial}, "network": {"activation": "sin(u)+cos(u)"}}
    result = mfpde.run(given)
    x, w = np.polynomial.legendre.leggauss(24)
    a, weight = np.concatenate(((x - 1) / 2, (x + 1) / 2)), np.tile(w, 2) / 4
    exact = Pairs("sin(u)+cos(u)", terms, 4, a, weight).loss(result.time.tolist())
    assert result.error is not None
    error = np.abs(result.loss - exact)
    assert (error <= result.error).all() and result.error.max() < 1e-4 * exact[0]


def test_modes_are_counted_and_enumerated_for_any_p() -> None:
    for p, d, K, J in ((1, inf, 9, 3), (4, inf, 6, 0), (5, 7.0, 5, 2), (8, inf, 4, 0)):
        modes = hermite_modes(p, K, J, d)
        assert len(modes) == mode_count(p, d, K, J) == len({*zip(map(tuple, modes.alpha.tolist()), modes.radial, strict=True)})
        assert (np.diff(modes.degree) >= 0).all() and (modes.alpha.sum(axis=1) + 2 * modes.radial == modes.degree).all()
    assert [*multi_indices(3, 2)] == [(2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2)]
    most = largest_degree(5, inf, 0)
    assert mode_count(5, inf, most, 0) <= LARGEST_MODES < mode_count(5, inf, most + 1, 0)


@pytest.mark.parametrize(
    "overrides,words",
    [
        (["input.dimension=100", "discretization.nodes=panels"], ["input.dimension", "p = 4", "1 to 3", "net"]),
        (["discretization.hermite_degree=60"], ["hermite_degree", "635,376", "50"]),
        (["target.polynomial=z1*z2*z3*z4*z5", "training.strategy=chen-ge"], ["p = 5", "252 rows", "130"]),
        (["target.polynomial=z1*z9"], ["target.polynomial", "z8"]),
    ],
)
def test_what_p_4_cannot_do_is_one_line(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read("input.dimension=inf", "target.polynomial=z1*z2*z3*z4", *overrides)
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)


def test_functions_of_four_variables_are_refused_unless_they_are_polynomials() -> None:
    with pytest.raises(InputError, match="no polynomial; allowed: p = 1 to 3"):
        read("input.dimension=inf", "target.function=tanh(z1*z2*z3*z4)")
    assert read("input.dimension=inf", "target.function=z1*z2*z3*z4")[1].p == 4
