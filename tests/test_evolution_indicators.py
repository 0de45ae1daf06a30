"""Indicators: each one against states whose answer is known, so that none of them can be silent."""

from math import comb, inf, log, sqrt
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from support import AFFINE, first_flow, packed, read, states

from mfpde.affine.flow import AffineFlow, State
from mfpde.discretisations import start_flow
from mfpde.evolution.indicators import LabelsView, View, indicators, seen, warnings
from mfpde.features.hermite.modes import hermite_modes
from mfpde.features.protocol import Moments
from mfpde.moving.cells import normal_cells
from mfpde.moving.folds import folded
from mfpde.neurons import Nodes
from mfpde.problem.inner import SquaredRadius
from mfpde.problem.laws import Law, parse_law
from mfpde.problem.laws.point import Point
from mfpde.quadrature.labels import Labels
from mfpde.quadrature.rules import gauss_rule

SELF = MPI.COMM_SELF
NOBODY = Nodes(np.empty(0), np.empty((1, 0)), np.empty(0), np.empty(0))
NAMES = ("fold", "label_error", "negative", "outer_mass", "top_modes", "torn")


def test_the_table_has_all_indicators_and_advises_above_their_limits() -> None:
    table = indicators()
    assert tuple(sorted(table)) == NAMES
    for name, row in table.items():
        assert warnings({name: 1.01 * row.limit}) == {name: row.advice} and row.advice
        assert warnings({name: 0.99 * row.limit}) == {} == warnings({})


def number(name: str, view: View) -> float:
    """An indicator that exists."""
    found = indicators()[name].compute(view)
    assert found is not None
    return found


def at_labels(a: Law, square: Law, counts: tuple[int, int], values) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """The estimate and the rule's value for one moment that is a function of a and r^2."""
    labels = Labels(gauss_rule(a, counts[:1]), gauss_rule(square, counts[1:]))
    by_slice = values(labels.nodes[:, 0], labels.nodes[:, 1] ** 2)[:, None]
    moments = Moments(labels.weight @ by_slice, by_slice)
    view = View(SELF, hermite_modes(1, 0, 0, inf), moments, NOBODY, LabelsView(labels, range(len(labels))))
    return number("label_error", view), float(moments.all[0])


@pytest.mark.parametrize("pole", [1.2, 1.5, 3.0])
def test_label_error_is_the_error_of_the_rule_with_two_labels_of_a_fewer(pole: float) -> None:
    """1 / (pole - a): its coefficients are geometric, so the first neglected term of a rule is known from those it has.

    The last two are looked at, for one of them may vanish by parity: hence that of two labels fewer.
    """
    exact = log((pole + 1) / (pole - 1)) / 2
    found = {n: at_labels(parse_law("uniform(-1, 1)"), Point(1.0), (n, 1), lambda a, _: 1 / (pole - a)) for n in (4, 6, 8)}
    for n in (6, 8):
        assert abs(log(found[n][0] / abs(found[n - 2][1] - exact))) < log(1.25)
        assert found[n][0] < found[n - 2][0] and abs(found[n][1] - exact) < found[n][0]


def test_label_error_looks_at_the_radius_as_well() -> None:
    """exp(-2 r^2) at d = 10: its coefficients in Laguerre polynomials are C(j + 3, j)^(1/2) q^j (1 - q)^4, q = 2/7.

    Its norm is (1 + 8/d)^(-2); a rule of n nodes has the last coefficient up to aliasing, an eighth of it.
    """
    for n in (4, 5, 6):
        estimate, _ = at_labels(Point(1.0), SquaredRadius(10, 2), (1, n), lambda _, s: np.exp(-2 * s))
        last = comb(n + 2, n - 1) * (2 / 7) ** (2 * n - 2) * (5 / 7) ** 8
        assert abs(log(estimate / (last * 1.8**2))) < 2 * log(8 / 7) + 0.05


def test_label_error_bounds_that_of_a_run_with_few_labels_and_falls_as_they_are_added() -> None:
    """At d = inf, against 32 labels: not less than what is wrong in the moments, and at most 50 times that."""
    found: list[tuple[np.ndarray, float]] = []
    for n in (4, 6, 8, 10, 32):
        config, problem = read("input.dimension=inf", f"discretization.a_nodes={n}", "discretization.a_panels=1")
        flow = start_flow(SELF, problem, config.discretization)
        observed = flow.observe(3.0, states(flow, [3.0], 1e-10)[0])
        found.append((observed.moments, observed.columns["/history/label_error"]))
    estimates = np.array([estimate for _, estimate in found])
    errors = np.array([np.linalg.norm(moments - found[-1][0]) for moments, _ in found[:-1]])
    assert (errors < estimates[:-1]).all() and (estimates[:-1] < 50 * errors).all()
    assert (np.diff(estimates) < 0).all()


def test_top_modes_is_the_share_of_the_two_highest_degrees() -> None:
    modes = hermite_modes(2, 5, 2, 10.0)
    m = np.zeros(len(modes))
    last, before, middle = (np.flatnonzero(modes.degree == k)[0] for k in (5, 4, 3))
    m[[last, before, middle]] = 1.0, 2.0, 2.0
    assert number("top_modes", View(SELF, modes, Moments(m, m[None]), NOBODY)) == pytest.approx(5 / 9, rel=1e-14)
    assert number("top_modes", View(SELF, modes, Moments(0 * m, m[None]), NOBODY)) == 0.0


def density(p: int = 2, cells: int = 5) -> tuple[AffineFlow, State]:
    """A flow on a uniform mesh with its state at t = 0, whose arrays may be written to."""
    target = "z1 + z1*z2" if p == 2 else "z1 + z1^2"
    mesh = [f"discretization.cells={cells}", "discretization.grading=0", "discretization.a_nodes=3", "discretization.r_nodes=2"]
    flow, *_ = first_flow(AFFINE, *mesh, f"target.polynomial={target}", "input.dimension=20")
    assert isinstance(flow, AffineFlow)
    return flow, flow.layout.views(packed(flow))


def computed(name: str, flow: AffineFlow, state: State) -> float:
    return number(name, flow.view(state, Moments(np.zeros(1), np.zeros((1, 1)))))


@pytest.mark.parametrize("p", [1, 2])
def test_outer_mass_is_the_mass_in_the_cells_at_the_walls(p: int) -> None:
    """Of a uniform density: all but the share (3/5)^p of the inner cells, in half of the labels."""
    flow, state = density(p)
    state.q[...] = 1 / flow.slices.weight.sum()
    half = flow.slices.label_weight[3:].sum()
    state.q[:3] = 0.0
    assert computed("outer_mass", flow, state) == pytest.approx(half * (1 - 0.6**p), rel=1e-12)


def test_negative_is_the_label_weighted_mass_below_zero() -> None:
    flow, state = density()
    assert computed("negative", flow, state) == 0.0
    state.q[2, 7, 4] -= state.q[2, 7, 4] + 0.3
    state.q[5, 1, 0] = -2.0
    weight, label = flow.slices.weight, flow.slices.label_weight
    expected = 0.3 * weight[7, 4] * label[2] + 2.0 * weight[1, 0] * label[5]
    assert computed("negative", flow, state) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["a", "r"])
@pytest.mark.parametrize("direction", [0, 1])
def test_torn_is_the_share_of_a_carried_field_in_the_highest_degree(name: str, direction: int) -> None:
    """In one slice the field is cos(t) 1 + sin(t) P_3 in every cell, P_3 normalised: the share of its norm is sin(t)."""
    flow, state = density()
    field = getattr(state, name)
    field[...] = 1.0
    state.q[...] = 1 / flow.slices.weight.sum()
    assert computed("torn", flow, state) < 1e-14
    top = sqrt(7) * np.polynomial.legendre.legval(2 * flow.mesh.basis.points - 1, [0, 0, 0, 1])
    along = np.multiply.outer(top, np.ones(4)) if direction == 0 else np.multiply.outer(np.ones(4), top)
    field[1] = 0.8 + 0.6 * along.ravel()
    assert computed("torn", flow, state) == pytest.approx(0.6, rel=1e-12)


def test_what_does_not_exist_for_a_flow_has_no_column() -> None:
    """Elements that follow the flow have no negative density, a fixed mesh has no folds, neurons alone have neither."""
    flow, state = density()
    moments = flow.evaluate(state, 0.0)
    state.q[...] = -1.0
    assert set(seen(flow.view(state, moments))) == {f"/history/{name}" for name in NAMES if name != "fold"}
    assert set(seen(View(SELF, flow.modes, moments, NOBODY))) == {"/history/top_modes"}
    moving, *_ = first_flow("input.dimension=20", "discretization.a_nodes=3", "discretization.cells=3")
    columns = moving.observe(0.0, packed(moving)).columns
    assert {name for name in NAMES if f"/history/{name}" in columns} == {"fold", "label_error", "top_modes"}


@pytest.mark.parametrize("p", [1, 2, 3])
def test_a_mirrored_element_is_folded_and_a_collapsed_one_is_not_told(p: int) -> None:
    """J of a map of the elements' degree is exact; where a cell holds one degree too few, J is not certain."""
    cells = normal_cells(SELF, ((-0.5, 0.7),) * p, (4,) * p)
    y = cells.y[:, None]
    assert not folded(cells, y).any()
    mirrored = y.copy()
    mirrored[0] = -(y[0] ** 2)  # J = -2 y_0
    assert np.array_equal(folded(cells, mirrored), y[0] > 0)
    rough = np.where(np.arange(y.shape[-1]) % 2, 1e-3, -1e-3) * np.ones_like(y)
    assert not folded(cells, rough).any()


def test_joint_training_at_small_dimension_folds_a_quarter_of_the_mass() -> None:
    """p = 2, d = 10: mass(J < 0) at t = 30 is 0.29, 0.27, 0.25 on 6 x 4, 8 x 5, 14 x 5 cells."""
    small = ["a_nodes=8", "r_nodes=2", "cells=6", "degree=5", "tolerance=1e-5"]
    given = (f"discretization.{word}" for word in small)
    flow: Any = first_flow("input.dimension=10", "training.final_time=30", *given)[0]
    early, late = states(flow, [4.0, 30.0], 1e-5)
    assert flow.observe(4.0, early).columns["/history/fold"] == 0
    v = flow.nodes(late).v.reshape(2, *flow.elements.shape)
    mass = float(flow.elements.label_weight @ (folded(flow.elements.cells, v, 0.0) * flow.elements.cells.mass).sum(axis=(1, 2)))
    assert 0.2 < mass < 0.3
    assert 0.1 < flow.observe(30.0, late).columns["/history/fold"] < mass
