"""Every implementation of a protocol goes through the same tests: discretisations, laws, terms, all that there are."""

import re
import tomllib
from dataclasses import dataclass
from io import BytesIO
from itertools import count, product
from math import prod

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from numpy.typing import NDArray
from support import packed, rates_of, read

import mfpde
from mfpde.discretisation.protocol import Discretisation
from mfpde.discretisations import DISCRETISATIONS, resolution_of
from mfpde.errors import InputError
from mfpde.evolution.drift import drift
from mfpde.evolution.flow import DensityFlow, loss
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.neurons import LearningRates, Neurons, Nodes, Rates, Trained
from mfpde.problem.config import load
from mfpde.problem.laws import Law, parse_law
from mfpde.problem.problem import Problem, problem_of
from mfpde.problem.sections import Config
from mfpde.problem.terms import GradientTerm, Term, parse_terms
from mfpde.quadrature.panels import equal_panels
from mfpde.quadrature.rules import gauss_rule
from mfpde.registry import Named

Array = NDArray[np.float64]
SELF = MPI.COMM_SELF
PANELS = ["discretization.a_nodes=4", "discretization.r_nodes=2", "discretization.cells=4"]
COARSE = {
    "flow": PANELS,
    "net": ["discretization.nodes=net", "discretization.net_points=256"],
    "affine": ["discretization.frame=affine", *PANELS],
}
# What none of them solves.
FOUR = ["target.polynomial=z1*z2*z3*z4", "discretization.hermite_degree=4"]
REFUSED = {"flow": FOUR, "net": ["input.dimension=inf", "initial.a=rademacher"], "affine": FOUR}
TARGETS = {1: "z1 + z1**2/2", 2: "z1 + z1*z2"}
DECAY = 'training.terms=["weight_decay(0.1)"]'
STAGES = "training.stages=[{duration=0.3, xi_w=1.0, xi_a=1.0}, {duration=1.0, xi_a=1.0, reset_a=true, activation='tanh(u + 1)'}]"


@dataclass(frozen=True)
class Moved:
    """A flow, and its state at t = 0.3."""

    discretisation: Discretisation
    config: Config
    problem: Problem
    flow: DensityFlow
    vector: Array
    time: float = 0.3

    @property
    def nodes(self) -> Nodes:
        return self.flow.nodes(self.vector)


def moved(name: str, p: int, *more: str) -> Moved:
    """A small problem of this discretisation."""
    config, problem = read(
        *COARSE[name], f"target.polynomial={TARGETS[p]}", "discretization.hermite_degree=6", "input.dimension=20", *more
    )
    discretisation, options = DISCRETISATIONS[name], config.discretization
    flow = discretisation.start(SELF, problem, options, resolution_of(problem, options))
    found: list[Array] = []
    flow.follow([0.0, Moved.time], 1e-6, lambda step, vector: found.append(vector.copy()))
    return Moved(discretisation, config, problem, flow, found[-1])


@pytest.fixture(scope="module", params=list(product(DISCRETISATIONS, TARGETS, ([], [DECAY]))), ids=str)
def run(request: pytest.FixtureRequest) -> Moved:
    """Each discretisation at p = 1 and 2, without a term and with one."""
    name, p, terms = request.param
    return moved(name, p, *terms)


def test_neurons_are_a_probability_law_of_the_right_dimension(run: Moved) -> None:
    nodes, n = run.nodes, len(run.nodes.a)
    assert nodes.v.shape == (run.problem.p, n) and nodes.r.shape == nodes.weight.shape == (n,) and nodes.b is None
    assert abs(nodes.weight.sum() - 1) < 1e-12
    first = run.flow.nodes(packed(run.flow))
    exact, second = (1e-12, 3e-3) if run.discretisation.name != "net" else (2e-2, 0.1)  # four cells of a mesh; 256 points
    assert abs(first.weight @ first.a) < exact and np.abs(first.weight @ first.v.T).max() < exact
    assert abs(first.weight @ first.a**2 - 1 / 3) < exact and abs(first.weight @ first.r**2 - (20 - run.problem.p) / 20) < exact
    assert np.abs((first.v * first.weight) @ first.v.T - np.eye(run.problem.p) / 20).max() < second / 20


def test_moments_are_those_of_the_neurons(run: Moved) -> None:
    flow, nodes = run.flow, run.nodes
    expected = flow.features.moments(nodes.cloud, np.ones(1)).all
    seen = flow.observe(run.time, run.vector)
    for found in (flow.moments(run.vector, run.time), seen.moments):
        assert found.shape == flow.target.shape == (len(flow.modes),) and np.abs(found - expected).max() < 1e-13
    assert abs(seen.mass - 1) < 1e-12 and seen.mass_error < 1e-12


def test_the_loss_that_is_trained_falls_and_a_term_adds_its_potential(run: Moved) -> None:
    """E + penalty, the latter 0 without terms."""
    flow, nodes = run.flow, run.nodes
    terms = [term for term in flow.stage.terms if isinstance(term, GradientTerm)]
    assert abs(flow.penalty(run.vector) - sum(nodes.weight @ term.potential(nodes.cloud)[0] for term in terms)) < 1e-14
    assert (flow.penalty(run.vector) > 0) == bool(terms)
    first, last = (
        float(loss(flow.moments(vector, time), flow.target)) + flow.penalty(vector)
        for time, vector in ((0.0, packed(flow)), (run.time, run.vector))
    )
    assert last < first - 1e-3


def velocity(run: Moved) -> tuple[Nodes, Rates]:
    """The neurons, and how they move in the mean field of their own."""
    flow, nodes = run.flow, run.nodes
    rates = Rates(np.zeros((1, len(nodes.a))), np.zeros((1, *nodes.v.shape)), np.zeros((1, len(nodes.a))))
    residual = flow.stage.residual(flow.moments(run.vector, run.time), flow.target)
    drift(flow.stage, flow.features, nodes.cloud, residual, run.time, rates)
    return nodes, rates


def test_moments_change_as_the_drift_of_the_neurons_says(run: Moved) -> None:
    """By central differences of 1e-4: for nodes that move to their error, on a mesh to that of its operator, of order 4.

    Where the nodes are the unknowns, their rates are the drift itself, to round-off.
    """
    flow, h = run.flow, 1e-4
    nodes, rates = velocity(run)
    assert rates.a is not None and rates.r is not None
    ends = (Nodes(nodes.a + s * rates.a[0], nodes.v + s * rates.v[0], nodes.r + s * rates.r[0], nodes.weight) for s in (h, -h))
    expected = np.subtract(*(flow.features.moments(end.cloud, np.ones(1)).all for end in ends)) / (2 * h)
    out = rates_of(flow, run.vector, run.time)
    found = np.subtract(*(flow.moments(run.vector + s * out, run.time) for s in (h, -h))) / (2 * h)
    assert np.abs(found - expected).max() < (1e-8 if isinstance(flow, LagrangianFlow) else 1e-4) * np.abs(expected).max()
    if isinstance(flow, LagrangianFlow):
        ahead, behind = (flow.nodes(run.vector + s * out) for s in (0.5, -0.5))
        for own, drifted in ((ahead.a - behind.a, rates.a), (ahead.v - behind.v, rates.v), (ahead.r - behind.r, rates.r)):
            assert np.abs(own - drifted[0]).max() < 1e-14 and np.abs(drifted).max() > 1e-3


def test_a_kept_state_is_whole_and_gives_the_same_flow_again(run: Moved) -> None:
    whole: dict[str, Array] = {}
    for name, field in run.flow.state(run.vector).items():
        whole[name] = np.full(prod(field.shape), np.nan)
        whole[name][np.ravel(field.index)] = np.ravel(field.values)
        assert np.isfinite(whole[name]).all(), name

    again = run.flow.restarted(0, lambda name, places: whole[name][places])
    assert again.number == 0 and again.size == run.flow.size and np.array_equal(packed(again), run.vector)
    assert np.abs(rates_of(again, run.vector, run.time) - rates_of(run.flow, run.vector, run.time)).max() < 1e-14


def test_unknowns_have_positive_scales_and_fields_are_written_whole(run: Moved) -> None:
    flow = run.flow
    assert flow.scales().shape == packed(flow).shape == run.vector.shape == (flow.size,) and flow.scales().min() > 0
    assert flow.breaks == () and flow.unit_of_time(0.0) == 1 and isinstance(flow.fastest(0.0, run.vector), str)
    for field in [*flow.datasets().values(), *flow.snapshot(run.vector).values()]:
        if not isinstance(field, np.ndarray):
            assert np.array_equal(np.sort(np.ravel(field.index)), np.arange(prod(field.shape)))


def test_the_moments_are_the_means_of_their_profiles(run: Moved) -> None:
    directions, profiles = run.discretisation.directions(run.problem), run.flow.profiles(run.vector)
    assert list(profiles) == list(directions) and bool(directions) == (run.discretisation.name == "flow")
    for rule, values in profiles.values():
        assert abs(rule.weights.sum() - 1) < 1e-13
        assert np.abs(rule.weights @ values - run.flow.moments(run.vector, run.time)).max() < 1e-13
    for name, direction in directions.items():
        assert direction.law == run.problem.directions[name] and direction.source in ("labels", "mesh")
        rule = direction.coarsest.rule(direction.law)
        finer = direction.finer(direction.coarsest, (rule, [np.cos(3 * rule.nodes)[:, None]]))
        assert direction.exact or finer.total > direction.coarsest.total


@pytest.mark.parametrize("name", DISCRETISATIONS)
def test_the_next_stage_has_the_neurons_of_the_last_one(name: str) -> None:
    run = moved(name, 2, STAGES)
    following = run.flow.next_stage(1, run.vector)
    old, new = run.nodes, following.nodes(packed(following))
    assert following.number == 1 and following.stage == run.problem.stages[1] != run.flow.stage
    assert np.array_equal(new.v, old.v) and np.array_equal(new.r, old.r) and np.array_equal(new.weight, old.weight)
    assert old.a.any() and not new.a.any()
    assert not following.moments(packed(following), 0.0).any() and np.array_equal(following.target, run.flow.target)


@pytest.mark.parametrize("name", DISCRETISATIONS)
def test_a_discretisation_solves_the_default_problem_and_says_what_it_refuses(name: str) -> None:
    discretisation = DISCRETISATIONS[name]
    assert discretisation.name == name
    config = load(None)
    assert discretisation.refusal(problem_of(config), config.discretization) is None
    config = load(None, REFUSED[name])
    refusal = discretisation.refusal(problem_of(config), config.discretization)
    assert refusal is not None and "allowed" in refusal and "\n" not in refusal


@pytest.mark.parametrize("name", DISCRETISATIONS)
def test_a_file_gives_back_its_density_and_an_empty_one_is_refused(name: str) -> None:
    small = [*COARSE[name], "discretization.hermite_degree=4", "input.dimension=20", "target.polynomial=z1"]
    config = load(None, [*small, "discretization.accuracy=false", "training.final_time=0.5", "output.times=2"])
    result = mfpde.run(tomllib.loads(config.to_toml()), comm=SELF, progress=False, snapshots=1)
    problem = mfpde.build_problem(config)
    with h5py.File(BytesIO(result.image)) as file:
        assert DISCRETISATIONS[name].read(file, problem) is not None
    with h5py.File(BytesIO(), "w") as file, pytest.raises(InputError):
        DISCRETISATIONS[name].read(file, problem)


def texts(kind: type[Named]) -> list[str]:
    """What stands in a configuration for each of a kind, as its usage says, with numbers for the names in brackets."""
    found = []
    for each in kind.classes().values():
        for usage in each.usage.split(" or "):
            for numbers in (count(0.25, 0.75), count(-1.25, 2.5)) if kind is Law else (count(0.25, 0.75),):
                name, bracket, arguments = usage.partition("(")
                found.append(name + bracket + re.sub(r"[A-Za-z_]\w*", lambda _: f"{next(numbers):g}", arguments))  # noqa: B023
    return list(dict.fromkeys(found))


LAWS = [*texts(Law), "normal(0, 0.5)", "point(0)", "points(-1: 0.25, 0: 0.5, 1: 0.25)", "points(-1: 0.5, 0: 0.25, 1: 0.25)"]


@pytest.fixture(params=LAWS)
def law(request: pytest.FixtureRequest) -> Law:
    return parse_law(request.param)


def test_quantiles_ascend_within_the_support_and_belong_to_the_density(law: Law) -> None:
    """density(q(u)) q'(u) is the same at all u, by central differences of 1e-5."""
    u = np.linspace(0.02, 0.98, 49)
    x, (low, high) = law.quantile(u), law.support
    assert x.shape == u.shape and (np.diff(x) >= 0).all() and (low <= x).all() and (x <= high).all()
    if law.atoms is not None:
        points, mass = law.atoms
        assert set(x.tolist()) <= set(points.tolist()) and abs(mass.sum() - 1) < 1e-14 and (np.diff(points) > 0).all()
        return
    scale = law.density(x) * (law.quantile(u + 1e-5) - law.quantile(u - 1e-5))
    assert np.abs(scale / scale.mean() - 1).max() < 1e-6


def test_gauss_rules_integrate_as_the_quantiles_do(law: Law) -> None:
    """Of entire functions; by a recurrence or from the density, on one panel or two: to 1e-12; 10^5 quantiles: to 1e-5."""
    functions = (np.ones_like, np.cos, lambda x: np.exp(x / 3))
    rules = [gauss_rule(law, (24,))]
    if law.atoms is None:
        rules.append(gauss_rule(law, (24, 24), law.quantile(np.array([0.5])).tolist()))
        panels = equal_panels(law, 12, 3).rule(law)
        assert np.abs([panels.weights[part].sum() - 1 / 3 for part in panels.slices]).max() < 1e-9
    points = law.quantile((np.arange(100_000) + 0.5) / 100_000)
    for f in functions:
        values = [float(rule.weights @ f(rule.nodes)) for rule in rules]
        assert np.ptp(values) < 1e-12 and abs(values[0] - f(points).mean()) < 1e-5
    assert all((rule.weights > 0).all() and (np.diff(rule.nodes) > 0).all() for rule in rules)


def test_a_law_is_symmetric_where_its_rule_is(law: Law) -> None:
    rule = gauss_rule(law, (6,))
    mirrored = np.allclose(rule.nodes, -rule.nodes[::-1], atol=1e-12) and np.allclose(rule.weights, rule.weights[::-1])
    assert law.symmetric == mirrored


def test_laws_of_both_kinds_are_tested() -> None:
    found = [parse_law(text) for text in LAWS]
    assert {(each.symmetric, each.atoms is None) for each in found} == set(product((True, False), repeat=2))
    assert {type(each) for each in found} == set(Law.classes().values())


XI = LearningRates(1.5, 0.7, 0.4)


TERMS = [parse_terms([text], "training.terms")[0] for text in texts(Term)]


@pytest.fixture(params=TERMS, ids=str)
def term(request: pytest.FixtureRequest) -> Term:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=list(product((1, 2), (False, True))), ids=str)
def cloud(request: pytest.FixtureRequest) -> Neurons:
    """Neurons in 3 slices, for p = 1 and 2, without biases and with them."""
    p, biases = request.param
    rng = np.random.default_rng(p)
    a, r, b = rng.standard_normal((3, 3, 5))
    return Neurons(a, rng.standard_normal((3, p, 5)), 0.5 + np.abs(r), b if biases else None)


def velocity_of(term: Term, neurons: Neurons, xi: LearningRates = XI) -> Rates:
    rates = Rates(*(np.zeros_like(x) for x in (neurons.a, neurons.v, neurons.r)), None if neurons.b is None else neurons.b * 0)
    term.add(0.0, xi, neurons, rates)
    return rates


def test_a_term_adds_to_what_is_there_and_leaves_out_what_stands_still(term: Term, cloud: Neurons) -> None:
    alone = velocity_of(term, cloud)
    assert alone.a is not None and alone.r is not None
    sum_of = Rates(np.ones_like(cloud.a), np.ones_like(cloud.v), np.ones_like(cloud.r), None)
    term.add(0.0, XI, cloud, sum_of)
    assert sum_of.a is not None and sum_of.r is not None
    for found, own in ((sum_of.a, alone.a), (sum_of.v, alone.v), (sum_of.r, alone.r)):
        assert np.abs(found - 1 - own).max() < 1e-14
    few = Rates(None, np.zeros_like(cloud.v), None, None)
    term.add(0.0, XI, cloud, few)
    assert np.array_equal(few.v, alone.v)


def test_a_term_has_the_divergence_of_central_differences(term: Term, cloud: Neurons) -> None:
    found = term.divergence(0.0, XI, cloud)
    assert found.shape == cloud.a.shape and np.abs(found - Term.divergence(term, 0.0, XI, cloud)).max() < 1e-8


@pytest.mark.parametrize("term", [term for term in TERMS if isinstance(term, GradientTerm)], ids=str)
def test_a_gradient_term_moves_down_its_potential(term: GradientTerm, cloud: Neurons) -> None:
    """Velocity = -xi grad U, by central differences of 1e-5."""
    rates, h = velocity_of(term, cloud), 1e-5

    def slope(**shift: Array) -> Array:
        ends = (Neurons(**{name: x + s * shift.get(name, 0.0) for name, x in blocks.items()}) for s in (h, -h))
        return np.asarray(np.subtract(*map(term.potential, ends)) / (2 * h))

    blocks = {name: x for name, x in vars(cloud).items() if x is not None}
    assert rates.a is not None and rates.r is not None
    assert np.abs(rates.a + XI.a * slope(a=np.ones(1))).max() < 1e-8
    assert np.abs(rates.r + XI.w * slope(r=np.ones(1))).max() < 1e-8
    for q, unit in enumerate(np.eye(cloud.v.shape[1])):
        assert np.abs(rates.v[:, q] + XI.w * slope(v=unit[:, None])).max() < 1e-8
    if rates.b is not None:
        assert np.abs(rates.b + XI.b * slope(b=np.ones(1))).max() < 1e-8


@pytest.mark.parametrize("rated", list(product((False, True), repeat=3)), ids=str)
def test_a_term_moves_nothing_but_what_it_says_it_trains(term: Term, cloud: Neurons, rated: tuple[bool, bool, bool]) -> None:
    """Whatever has no learning rate: what is said to stand still is left out of the unknowns."""
    xi = LearningRates(*(rate if on else 0.0 for rate, on in zip(XI, rated, strict=True)))
    rates, trained = velocity_of(term, cloud, xi), term.trains(Trained(*rated))
    assert rates.a is not None and rates.r is not None
    assert trained.a or not rates.a.any()
    assert trained.w or not (rates.v.any() or rates.r.any())
    assert trained.b or rates.b is None or not rates.b.any()


def test_a_term_may_move_one_part_alone() -> None:
    (term,) = parse_terms(["weight_decay(0, 0.2, 0)"], "training.terms")
    assert term.trains(Trained(True, True, True)) == Trained(False, True, False)


def test_all_terms_are_tested() -> None:
    assert {type(each) for each in TERMS} == set(Term.classes().values())
