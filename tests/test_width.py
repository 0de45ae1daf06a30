"""c and s against exact networks, without samples: second differences of the law, and binomial averages of N neurons."""

from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from math import factorial, inf, prod, sqrt

import numpy as np
import pytest
from scipy.stats import binom
from support import SELF, measured, read

from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.neurons import Nodes
from mfpde.particles.network import NetworkFlow
from mfpde.problem.problem import Problem
from mfpde.width.course import NODES, WEIGHTS, legs
from mfpde.width.evolution import Curves, Evolution
from mfpde.width.fields import Truncation

Array = np.ndarray


def binomial(problem: Problem, K: int, N: int, times: list[float]) -> tuple[Array, Array]:
    """Mean and deviation of E_N at d = inf, where a_0 = +-1 is all that is random."""
    features = HermiteFeatures(SELF, hermite_modes(problem.p, K, 0, inf), problem.stages[0].activation)
    w = np.eye(N, problem.p + N, problem.p)
    signs = np.where(np.arange(N) < np.arange(N + 1)[:, None], 1.0, -1.0)
    loss = np.array([measured(NetworkFlow(problem, features, a, w), times, 1e-7) for a in signs])
    weight = binom.pmf(np.arange(N + 1), N, 0.5)
    mean = weight @ loss
    return mean, np.sqrt(weight @ (loss - mean) ** 2)


@pytest.mark.parametrize("target", ["z1 + z1**2/2", "z1 + z1*z2"])
def test_the_correction_at_infinite_dimension_is_that_of_binomial_averages(target: str) -> None:
    """By Richardson's extrapolation from N = 3, 6, 12: c and s^2 to 1e-3."""
    _, problem = read(f"target.polynomial={target}", "input.dimension=inf", "initial.a=rademacher", "training.final_time=4")
    p, K = problem.p, 6
    nodes = Nodes(np.array([-1.0, 1.0]), np.zeros((p, 2)), np.ones(2), np.full(2, 0.5))
    found = Evolution(problem, Truncation(K, 0, K), nodes, legs(problem, 2.0)).run(SELF)
    at = np.flatnonzero(np.isin(found.time, [0.0, 2.0, 4.0]))
    scaled, variances = [], []
    for N in (3, 6, 12):
        mean, deviation = binomial(problem, K, N, [0.0, 2.0, 4.0])
        scaled.append(N * (mean - found.loss[at]))
        variances.append(N * deviation**2)
    twice, variance = extrapolated(scaled), extrapolated(variances)
    own = (found.correction - found.energy[:, -1])[at]  # the networks have the loss of degree K
    assert np.abs(own - twice).max() < 1e-3 and np.abs(own).min() > 0.1
    assert np.abs(found.deviation[at] ** 2 - variance).max() < 1e-3


def extrapolated(values: list[Array]) -> Array:
    """The limit of what has a series in 1/N, from three values, N twice as large each time."""
    once = [2 * after - before for before, after in pairwise(values)]
    return (4 * once[1] - once[0]) / 3


@dataclass
class Cloud:
    """Weighted neurons a (n), w (n, d), b (n) in R^d, with the exact loss of degree K: the kernel of all harmonics at once."""

    problem: Problem
    K: int
    weight: Array
    known: dict[int, HermiteFeatures] = field(default_factory=dict)

    def features(self, number: int) -> HermiteFeatures:
        if number not in self.known:
            modes, stage = hermite_modes(self.problem.p, self.K, 0, inf), self.problem.stages[number]
            self.known[number] = HermiteFeatures(SELF, modes, stage.activation, biases=self.problem.b is not None)
        return self.known[number]

    def rates(self, number: int, time: float, state: Array) -> tuple[Array, float]:
        """Time derivative of the rows (a, w, b), and E."""
        problem, stage, p, K = self.problem, self.problem.stages[number], self.problem.p, self.K
        a, w, b = state[:, 0], state[:, 1:-1], state[:, -1]
        norm = np.linalg.norm(w, axis=1)[:, None] if stage.on_sphere else 1.0
        u = w / norm
        k = np.arange(K + 1)
        G = self.features(number).functions((u**2).sum(axis=1), None if problem.b is None else np.ascontiguousarray(b))
        own, rise = G[:, : K + 1], np.sqrt((k + 1.0) * (k + 2.0)) * G[:, 2:]
        q, charge = u @ u.T, (self.weight * a)[:, None] * own
        power = q[..., None] ** k
        P = np.einsum("ijk,jk->ik", power, charge)
        slope = np.einsum("ik,ijk,jk,jd->id", own[:, 1:] * k[1:], power[..., :-1], charge[:, 1:], u)
        T, by_w, by_b = np.zeros_like(a), np.zeros_like(u), np.zeros_like(a)
        for alpha, c in zip(problem.target.alpha.tolist(), problem.target.coefficients, strict=True):
            n = sum(alpha)
            size = c * sqrt(factorial(n) / prod(map(factorial, alpha)))
            monomial = size * np.prod(u[:, :p] ** alpha, axis=1)
            T += monomial * G[:, n]
            by_b += monomial * sqrt(n + 1) * G[:, n + 1]
            by_w += (monomial * rise[:, n])[:, None] * u
            for i, m in enumerate(alpha):
                if m:
                    lower = [e - (i == j) for j, e in enumerate(alpha)]
                    by_w[:, i] += size * m * np.prod(u[:, :p] ** lower, axis=1) * G[:, n]
        loss = 0.5 * float(self.weight @ (a * (own * P).sum(axis=1)) + problem.target.square) - float(self.weight @ (a * T))
        on, xi = float(stage.interaction), stage.rates(time)
        psi = on * (own * P).sum(axis=1) - T
        gradient = a[:, None] * (on * (slope + (rise * P).sum(axis=1)[:, None] * u) - by_w)
        bias = a * (on * (np.sqrt(k + 1.0) * G[:, 1 : K + 2] * P).sum(axis=1) - by_b)
        lost = [getattr(term, f"decay_{name}") for term in stage.terms for name in "awb"] or [0.0, 0.0, 0.0]
        out = np.column_stack((psi + lost[0] * a, gradient + lost[1] * w, bias + lost[2] * b))
        if stage.on_sphere:
            out[:, 1:-1] = (out[:, 1:-1] - (u * out[:, 1:-1]).sum(axis=1)[:, None] * u) / norm
        return -np.array([xi.a, *[xi.w] * w.shape[1], xi.b]) * out, loss

    def losses(self, state: Array) -> Array:
        """E at the ends of all steps, by the same method and steps."""
        found = []
        for leg in legs(self.problem):
            if leg.first and self.problem.stages[leg.stage].reset_a:
                state = state.copy()
                state[:, 0] = 0.0
            for step in range(leg.steps + 1):
                rate, total = np.zeros_like(state), np.zeros_like(state)
                for i in range(4):
                    moved = state + leg.length * NODES[i] * rate
                    rate, loss = self.rates(leg.stage, leg.inside(step if step < leg.steps else step - 1, i), moved)
                    total += WEIGHTS[i] * rate
                    if i == 0:
                        found.append(loss)
                if step < leg.steps:
                    state = state + leg.length * total
        return np.array(found)


FIRST = 'duration=1.0, xi_w=1.0, xi_a="1+t"'
SECOND = 'duration=0.8, xi_a=1.0, xi_w=0.5, reset_a=true, activation="sin(u)+u/2"'
STAGES = f"training.stages=[{{{FIRST}}}, {{{SECOND}}}]"
CASES = {
    "plain": ["target.polynomial=z1+z1**2/2"],
    "p = 2": ["target.polynomial=z1+z1*z2", "input.dimension=4"],
    "one direction": ["target.polynomial=z1+z1**2/2", "input.dimension=2"],
    "biases": ["initial.b=uniform(-1, 1)", "training.xi_b=0.7"],
    "sphere": ["initial.w=sphere", "training.constraint=sphere"],
    "sphere with biases": ["initial.w=sphere", "training.constraint=sphere", "initial.b=uniform(-1, 1)"],
    "decay": ["training.decay_a=0.2", "training.decay_w=0.3"],
    "correlation": ["training.interaction=false"],
    "stages": [STAGES],
    "zero": ["initial.w=zero", "training.xi_a=0.5"],
}


@pytest.mark.parametrize("case", CASES)
def test_all_sectors_are_the_second_differences_of_the_law(case: str) -> None:
    """At D = 2, V perp as 10 angles, or D = 1, as two signs: differences at +-0.01 and +-0.02, extrapolated, K = 4: to 1e-5.

    c = 1/2 E d^2/de^2 F((1 - e) rho + e delta_theta), s^2 = E (d/de F)^2, F the loss as a function of the initial law.
    """
    K = 4
    defaults = ["target.polynomial=z1+z1**2/2", "input.dimension=3"]
    _, problem = read(*defaults, *([] if case == "stages" else ["training.final_time=2.5"]), *CASES[case])
    p, d, biases = problem.p, int(problem.d), problem.b is not None
    rng = np.random.default_rng(len(case))
    n = 3
    a, r = rng.uniform(-1, 1, n), rng.uniform(0.4, 0.9, n)
    v, b = rng.standard_normal((p, n)) / sqrt(d), rng.uniform(-1, 1, n)
    if problem.w.name == "zero":
        v, r = np.zeros_like(v), np.zeros_like(r)
    if problem.stages[0].on_sphere:
        v, r = (x / np.sqrt((v**2).sum(axis=0) + r**2) for x in (v, r))
    weight = rng.dirichlet(np.full(n, 5.0))
    nodes = Nodes(a, v, r, weight, b if biases else None)
    found: Curves = Evolution(problem, Truncation(K, K, K), nodes, legs(problem)).run(SELF)
    angle = np.arange(10) * 2 * np.pi / 10
    directions = np.array([[1.0], [-1.0]]) if d - p == 1 else np.column_stack((np.cos(angle), np.sin(angle)))
    rows = [(a[i], *v[:, i], *(r[i] * e), b[i] * biases) for i, e in product(range(n), directions)]
    state, law = np.array(rows), np.repeat(weight / len(directions), len(directions))
    cloud = Cloud(problem, K, law)
    middle = cloud.losses(state)
    first, second = np.zeros((n, len(middle))), np.zeros((n, len(middle)))
    for source in range(n):
        delta = np.zeros(len(law))
        delta[source * len(directions)] = 1.0
        plus, minus, far, behind = (
            replace(cloud, weight=(1 - e) * law + e * delta).losses(state) for e in (0.01, -0.01, 0.02, -0.02)
        )
        first[source] = (8 * (plus - minus) - (far - behind)) / 0.12
        second[source] = (16 * (plus + minus) - (far + behind) - 30 * middle) / (12 * 0.01**2)
    assert np.abs(found.loss - middle).max() < 1e-12
    assert np.abs(found.correction - found.energy[:, -1] - 0.5 * weight @ second).max() < 1e-5
    assert np.abs(found.deviation - np.sqrt(weight @ first**2)).max() < 1e-5
    assert (found.energy[-1, 1] > 1e-3 or case == "zero") and np.ptp(found.correction) > 5e-3


def test_blocks_of_sources_add_up_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """To 1e-12."""
    _, problem = read("target.polynomial=z1+z1**2/2", "input.dimension=8", "training.final_time=2")
    rng = np.random.default_rng(0)
    n = 7
    nodes = Nodes(rng.uniform(-1, 1, n), rng.standard_normal((1, n)) / 3, rng.uniform(0.5, 1, n), rng.dirichlet(np.ones(n)))
    own = Evolution(problem, Truncation(4, 2, 3), nodes, legs(problem))
    whole = own.run(SELF)
    monkeypatch.setattr("mfpde.width.evolution.BLOCK", 2)
    parts = own.run(SELF)
    for name in ("correction", "deviation", "energy"):
        assert np.abs(getattr(whole, name) - getattr(parts, name)).max() < 1e-12, name
    assert whole.correction.max() > 0.1
