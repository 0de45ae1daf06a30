"""Composite Gauss rules, against integrals in extended precision and the classical rules."""

from itertools import pairwise
from math import inf

import mpmath
import numpy as np
import pytest

from mfpde.problem.inner import SquaredRadius
from mfpde.problem.laws import Law
from mfpde.problem.laws.normal import Normal
from mfpde.problem.laws.rademacher import Rademacher
from mfpde.problem.laws.uniform import Uniform
from mfpde.quadrature.rules import Rule, gauss_rule

# Laws with ends between panels; the last one has D = 10^8, and so a width of 2e-4.
CASES: list[tuple[Law, tuple[float, ...]]] = [
    (Normal(0.0, 1.0), ()),
    (Normal(0.0, 1.0), (0.0,)),
    (Normal(0.0, 1.0), (-2.5, -0.7, 0.7, 2.5)),
    (Normal(1.0, 0.01), (0.99, 1.03)),
    (Uniform(-1.0, 1.0), ()),
    (Uniform(-2.0, 3.0), (-1.0, 0.5)),
    (SquaredRadius(2, 1), ()),
    (SquaredRadius(2, 1), (0.3, 2.0)),
    (SquaredRadius(12, 2), ()),
    (SquaredRadius(12, 2), (0.5, 1.1)),
    (SquaredRadius(1e8, 2), ()),
    (SquaredRadius(1e8, 2), (0.9999, 1.0001)),
]
N = 5
TANH_SINH = mpmath.calculus.quadrature.TanhSinh(mpmath.mp)


def density(law: Law, x: mpmath.mpf) -> mpmath.mpf:
    """The law's density up to a factor, from its definition."""
    if isinstance(law, Normal):
        return mpmath.exp(-(((x - law.mean) / law.deviation) ** 2) / 2)
    if isinstance(law, SquaredRadius):
        k = mpmath.mpf(law.d - law.p) / 2 - 1
        peak = max(k, mpmath.mpf(1)) / (mpmath.mpf(law.d) / 2)
        return mpmath.exp(k * mpmath.log(x / peak) - (x - peak) * law.d / 2)
    return mpmath.mpf(1)


def integrals(law: Law, low: float, high: float, centre: float, width: float) -> list[mpmath.mpf]:
    """Of ((x - centre) / width)^k over the law on [low, high], k = 0..2 N - 1."""
    lower, middle, upper = (float(x) for x in law.quantile(np.array([0.16, 0.5, 0.84])))
    spread = (upper - lower) / 2
    ends = np.clip(middle + spread * np.array([-40, -10, -5, -2, 0, 2, 5, 10, 40, 150]), max(low, law.support[0]), high)
    places = sorted({*map(float, ends), *(end for end in (low, high) if abs(end) < inf)})
    pairs = [
        (density(law, x) * w, (x - centre) / width)
        for start, end in pairwise(places)
        for x, w in TANH_SINH.get_nodes(mpmath.mpf(start), mpmath.mpf(end), 6, mpmath.mp.prec)
    ]
    return [sum(w * t**k for w, t in pairs) for k in range(2 * N)]


@pytest.mark.parametrize("law,edges", CASES, ids=str)
def test_composite_rules_are_exact_to_degree_2n_minus_1_on_every_panel(law: Law, edges: tuple[float, ...]) -> None:
    """In variables of the panel's own centre and width; nodes inside their panels, positive weights that sum to 1."""
    rule = gauss_rule(law, (N,) * (len(edges) + 1), edges)
    assert (rule.weights > 0).all() and abs(rule.weights.sum() - 1) < 1e-14 and (np.diff(rule.nodes) > 0).all()
    found, exact = [], []
    for part, (low, high) in zip(rule.slices, pairwise(rule.edges.tolist()), strict=True):
        x, w = rule.nodes[part], rule.weights[part]
        assert len(x) == N and (low < x).all() and (x < high).all()
        centre = float(w @ x / w.sum())
        width = float(np.sqrt(w @ (x - centre) ** 2 / w.sum()))
        found.append([float(w @ ((x - centre) / width) ** k) for k in range(2 * N)])
        with mpmath.workdps(30):
            exact.append(integrals(law, low, high, centre, width))
    total = sum(panel[0] for panel in exact)
    for panel, expected in zip(found, exact, strict=True):
        moments = np.array([float(value / total) for value in expected])
        # Round-off in units of a panel's spread, of nodes that are known to eps |x|.
        spread = 1e-12 + 2e-16 * np.abs(rule.nodes).max() / np.diff(rule.nodes).min()
        assert np.abs(np.array(panel) - moments).max() < 100 * spread * max(np.abs(moments).max(), moments[0])


def test_one_panel_is_the_classical_rule() -> None:
    from scipy.special import roots_genlaguerre

    for n in (1, 2, 7, 20, 40):
        he, weight = np.polynomial.hermite_e.hermegauss(n)
        legendre, length = np.polynomial.legendre.leggauss(n)
        laguerre, mass = roots_genlaguerre(n, 4.0)
        for law, nodes, weights in (
            (Normal(0.0, 1.0), he, weight),
            (Normal(2.0, 0.5), 2 + he / 2, weight),
            (Uniform(-1.0, 1.0), legendre, length),
            (SquaredRadius(12, 2), laguerre / 6, mass),
        ):
            rule = gauss_rule(law, (n,))
            assert np.abs(rule.nodes - nodes).max() < 1e-13 * max(1, np.abs(nodes).max())
            assert np.abs(rule.weights - weights / weights.sum()).max() < 1e-13


@pytest.mark.parametrize("law", [Normal(0.0, 1.0), Uniform(-2.0, 1.0), SquaredRadius(2, 1), SquaredRadius(30, 3)], ids=str)
def test_a_recurrence_in_closed_form_is_that_of_the_density(law: Law) -> None:
    """The same law without its recurrence."""
    kind = type(law)
    numeric = type("Numeric", (kind,), {"recurrence": lambda self, n: None})(*law.__dict__.values())
    for n in (1, 4, 12):
        closed, found = gauss_rule(law, (n,)), gauss_rule(numeric, (n,))
        assert np.abs(closed.nodes - found.nodes).max() < 1e-11 * max(1, np.abs(closed.nodes).max())
        assert np.abs(closed.weights - found.weights).max() < 1e-12


@pytest.mark.parametrize("law,edges", CASES, ids=str)
def test_interpolation_reproduces_polynomials_panel_by_panel(law: Law, edges: tuple[float, ...]) -> None:
    """Another polynomial of degree n - 1 on every panel; values at the nodes come back as they are."""
    rule = gauss_rule(law, (N,) * (len(edges) + 1), edges)
    rng = np.random.default_rng(0)
    assert np.array_equal(rule.interpolation(rule.nodes), np.eye(len(rule)))
    for part in rule.slices:
        x = rule.nodes[part]
        polynomial = np.polynomial.Polynomial(rng.standard_normal(N), domain=[x[0], x[-1]])
        values = np.zeros(len(rule))
        values[part] = polynomial(x)
        at = np.linspace(x[0], x[-1], 23)[1:-1]
        # Nodes are known to eps |x|.
        assert np.abs(rule.interpolation(at) @ values - polynomial(at)).max() < 1e-13 + 1e-14 / np.ptp(x)


@pytest.mark.parametrize("law,edges", CASES, ids=str)
def test_the_polynomials_of_a_panel_are_orthonormal_and_give_its_coefficients(law: Law, edges: tuple[float, ...]) -> None:
    rule = gauss_rule(law, (N,) * (len(edges) + 1), edges)
    values = np.random.default_rng(1).standard_normal((len(rule), 3))
    for part, polynomials, coefficients in zip(rule.slices, rule.polynomials, rule.coefficients(values), strict=True):
        w = rule.weights[part] / rule.weights[part].sum()
        assert np.abs((polynomials.T * w) @ polynomials - np.eye(N)).max() < 1e-12
        assert np.abs(polynomials @ coefficients - values[part]).max() < 1e-11


def test_panels_may_have_different_numbers_of_nodes() -> None:
    rule = gauss_rule(Normal(0.0, 1.0), (2, 6, 3), (-1.0, 1.0))
    assert rule.counts == (2, 6, 3) and len(rule) == 11
    for k, exact in ((0, 1), (1, 0), (2, 1), (3, 0)):
        assert abs(rule.weights @ rule.nodes**k - exact) < 1e-13


def test_atoms_are_their_own_rule() -> None:
    rule: Rule = gauss_rule(Rademacher(), (17,))
    assert rule.nodes.tolist() == [-1.0, 1.0] and rule.weights.tolist() == [0.5, 0.5] and not rule.smooth
