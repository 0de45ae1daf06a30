"""Between the two conditions of learnability: certified gaps, late targets, and the search for them."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import h5py
import pytest
from mpi4py import MPI

from mfpde.errors import InputError
from mfpde.learnability import gap
from mfpde.learnability.certificate import InvariantIdeal, invariant_ideal, verify
from mfpde.learnability.derivatives import Derivatives, derivatives_at_zero
from mfpde.learnability.gap import LATE_FOR_ALL, late_target, parabola_target
from mfpde.learnability.polynomials import heat_transform, raw_monomials, text
from mfpde.learnability.reflective import reflection
from mfpde.learnability.report import learnability
from mfpde.learnability.search import count, search, summary
from mfpde.learnability.subspaces import Span
from mfpde.learnability.taylor_flow import taylor_coefficients, taylor_flow
from mfpde.problem.activation import parse_activation
from mfpde.problem.target import hermite_target, parse_target

CUBIC = "z1 + 2*z1*z2 - 7/6*(z1^3 - 3*z1) - z1*(z2^2 - 1)/2 + z3*(z2 - z1^2 + 1)"
STUCK = [
    *[(parabola_target(Fraction(c), gap.SIN_COS), "sin(u) + cos(u)") for c in ("1/2", "-1", "2/3")],
    *[(parabola_target(Fraction(c), gap.EXP), "exp(u)") for c in ("1/2", "3")],
    (heat_transform(parse_target(CUBIC)), "u + u^2/2 + u^3/6"),
]


@pytest.mark.parametrize("q,activation", STUCK, ids=lambda x: x if isinstance(x, str) else "")
def test_a_target_without_reflection_may_keep_its_taylor_flow_in_a_plane(q: dict, activation: str) -> None:
    """The proof is an invariant ideal; its ingredients are checked again, and a tampered proof is refused."""
    target, sigma = hermite_target("", 3, raw_monomials(q)), parse_activation(activation)
    report = learnability(target, sigma, others=())
    assert report.definition.reflective.dimension == report.no_bias.reflective.dimension == 0
    generic, own, spread = report.flows
    assert generic.taylor.order == 3 and own.taylor.order is None and own.taylor.span.dimension == 2
    assert own.ideal is not None and verify(own.ideal)
    assert text(own.ideal.generators[0], "w") == "w3"
    assert (spread.ideal is None) == activation.startswith("u") and spread.taylor.span.dimension >= 2
    field = tuple({a: 2 * c if sum(a) == 1 else c for a, c in g.items()} for g in own.ideal.field)
    assert not verify(InvariantIdeal(own.ideal.generators, field))


def test_a_late_target_fills_at_an_order_beyond_its_number_of_coefficients() -> None:
    for top, number_of_coefficients, found in ((2, 5, 7), (3, 9, 11), (4, 14, 17)):
        q = late_target(top)
        v = reflection(q, 3, range(top + 2)).learned
        order = taylor_flow(q, v, gap.SIN_COS, 40).order
        assert v.dimension == 3 and order == found > number_of_coefficients
        assert gap.uncancelled_order(q, 3) == 3


def test_some_targets_fill_late_for_all_activations() -> None:
    """W_1..W_5 with symbols for sigma_n: the fourth component is 0 as a polynomial, and at order 6 it is not."""
    import sympy

    symbols = sympy.symbols("s0:12")
    coefficients = list(islice(taylor_coefficients(LATE_FOR_ALL, 4, Derivatives("", symbols, True)), 6))
    last = [sympy.expand(w[3]) for w in coefficients]
    assert last[:5] == [0] * 5 and last[5] != 0
    assert gap.uncancelled_order(LATE_FOR_ALL, 4) == 4
    assert reflection(LATE_FOR_ALL, 4, range(4)).learned.dimension == 4


def test_for_almost_all_activations_the_flow_fills_u_and_never_before_the_uncancelled_order() -> None:
    """Theorem 3, and the lower bound by weights, on a sample of all families."""
    for name, family in gap.FAMILIES.items():
        for i in range(12):
            found = gap.examine(family(i, 1), 3)
            assert found.spans[0][0] == found.spans[0][2] == found.dimension_u, (name, i)
            for span, order, invariant, uncancelled, _ in found.spans:
                assert span <= invariant <= found.dimension_v, (name, i)
                assert span < invariant or order >= uncancelled, (name, i)


def test_a_search_finds_the_cubic_gap_and_says_so(tmp_path: Path) -> None:
    """Candidate 251 of the grid, 11 from seed 240 on, is stuck; what was examined is not examined again."""
    path = tmp_path / "gap.h5"
    rows = search(MPI.COMM_SELF, path, ["cancelling"], 12, 240)
    assert count(rows["cancelling"], 3).stuck == (11,) and count(rows["cancelling"], 0).filled == 12
    assert "cancelling 11, u + u^2/2 + u^3/6" in summary(rows, 240)
    with h5py.File(path, "a") as file:
        file["cancelling/rows"][5, 0] = 9
    assert search(MPI.COMM_SELF, path, ["cancelling"], 12, 240)["cancelling"][5, 0] == 9
    with pytest.raises(InputError, match="sparse"):
        search(MPI.COMM_SELF, path, ["sprase"], 3, 240)


def test_no_ideal_is_found_where_the_flow_leaves() -> None:
    target, sigma = parse_target("z1 + z1*z2"), derivatives_at_zero(parse_activation("exp"), 20)
    assert sigma is not None
    assert invariant_ideal(heat_transform(target), sigma, Span(2, 0.0, [[1, 0]])) is None
