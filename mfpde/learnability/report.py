"""Can this network learn this polynomial, which part of it, and how fast: all exact answers in one report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from mfpde.errors import USUAL, InputError
from mfpde.expressions.expression import parse
from mfpde.learnability.certificate import InvariantIdeal, invariant_ideal
from mfpde.learnability.derivatives import Derivatives, derivatives_at_zero, generic_derivatives, hermite_derivatives
from mfpde.learnability.polynomials import heat_transform, raw_monomials, substitute
from mfpde.learnability.reflective import THRESHOLD, Reflection, Violation, first_violation, reflection, span_of_gradient
from mfpde.learnability.subspaces import Span
from mfpde.learnability.taylor_flow import TaylorFlow, taylor_flow
from mfpde.learnability.violation import QuadratureCheck, quadrature_check
from mfpde.learnability.visibility import Visibility, visibility
from mfpde.problem.activation import Activation, parse_activation
from mfpde.problem.laws import Law, violated
from mfpde.problem.target import Target, hermite_target, parse_target

LARGEST_P, LARGEST_DEGREE = 9, 60
ORDER = 24
# Degree at which a function that is no polynomial is truncated, and what counts as 0 among its coefficients.
TRUNCATED, ROUNDED = 4, 1e-9
# Smooth activations whose Taylor flow is reported beside that of the user's.
SMOOTH = ("tanh(u + 0.5)", "erf(u + 1)", "sin(u) + cos(u)", "exp(u)")


@dataclass(frozen=True)
class Flow:
    """A Taylor flow, and the proof that it stays in its span where that is smaller than the invariant subspace."""

    taylor: TaylorFlow
    ideal: InvariantIdeal | None


@dataclass(frozen=True)
class Report:
    """What can be said before a run.

    Attributes:
        target: h*.
        visibility: The degrees that sigma sees.
        definition: The largest reflective subspace by Definition 3.3, and its consequences.
        no_bias: The same for a network without bias; the two agree if sigma sees the same degrees.
        checks: Their quadrature checks.
        flows: Taylor flows: of almost all sigma, of the given one at w = 0 (if smooth there) and at N(0, I/d), and of others.
        theorem: Whether Assumption 3.1, on which Theorem 3.4 rests, holds for sigma and the law of a.
        law: What the report does not take into account of the law of a; "" if there is nothing.
    """

    target: Target
    visibility: Visibility
    definition: Reflection
    no_bias: Reflection
    checks: tuple[QuadratureCheck, QuadratureCheck]
    flows: tuple[Flow, ...]
    theorem: str
    law: str = ""

    @property
    def trapped(self) -> bool:
        """Whether a network without bias keeps a loss of at least `no_bias.bound` at d = infinity."""
        return self.no_bias.reflective.dimension > 0


def threshold_of(target: Target) -> float:
    """What counts as 0 in rank decisions about a target."""
    return 0.0 if target.rational else THRESHOLD if target.energy is None else ROUNDED


@np.errstate(**USUAL)
def learnability(
    target: Target | str,
    activation: Activation | str,
    order: int = ORDER,
    others: Sequence[str] = SMOOTH,
    law: Law | None = None,
) -> Report:
    """The report on a target and an activation.

    Args:
        target: A polynomial in z1, z2, .. as a text, or from `parse_target` or `target_along`, or from `parse_function`: of that
            the report is about the truncation at degree `TRUNCATED`.
        activation: Its name or an expression in u, or from `parse_activation`.
        order: Largest order of the Taylor flows.
        others: Further activations for the Taylor flow at w = 0.
        law: Law of the outer weights; one that Assumption 3.1 allows if not given.

    Raises:
        InputError: If a text cannot be read.
    """
    if isinstance(target, str):
        target = parse_target(target, None, LARGEST_P, LARGEST_DEGREE)
    if isinstance(activation, str):
        activation = parse_activation(activation)
    if target.energy is not None and not target.exact:
        target = target.truncated(TRUNCATED)
    q, threshold = heat_transform(target), threshold_of(target)
    seen = visibility(activation, target.degree)
    reflected = cache(lambda visible: reflection(q, target.p, visible, threshold))
    definition, no_bias = reflected(seen.definition), reflected(seen.flow)
    check, check_no_bias = (
        quadrature_check(q, part.learned, part.reflective, activation, shift=shift)
        for part, shift in ((definition, True), (no_bias, False))
    )
    count = order + target.degree + 3
    every = reflected(tuple(range(target.degree + 1)))
    flows = [_flow(q, every.learned, generic_derivatives(count), order)]
    at_zero, spread = (
        derivatives_at_zero(activation, count),
        _flow(q, no_bias.learned, hermite_derivatives(activation, count), order),
    )
    if at_zero is not None:
        flows.append(_flow(q, no_bias.learned, at_zero, order))
        if at_zero.ratio is not None and spread.taylor.span.dimension == flows[-1].taylor.span.dimension:
            spread = replace(spread, ideal=flows[-1].ideal)  # the same trajectory, at another speed
    flows.append(spread)
    for name in others:
        if name.replace(" ", "") != activation.text.replace(" ", ""):
            other = parse_activation(name)
            sigma = derivatives_at_zero(other, count)
            assert sigma is not None
            stays = reflected(visibility(other, target.degree).flow).learned
            flows.append(_flow(q, stays, sigma, order))
    wrong = "" if law is None else violated(law)
    theorem = f"asks for another law of a: this one is {wrong}; computed only" if wrong else _assumption(activation)
    unused = "" if law is None else _unused(law)
    return Report(target, seen, definition, no_bias, (check, check_no_bias), tuple(flows), theorem, unused)


def _unused(law: Law) -> str:
    """What the law of a has to do with a report: where w starts in U it stays there whatever the law; a Taylor flow is that of
    the output 0, which a law that is not symmetric does not start with."""
    if law.symmetric:
        return ""
    return "S, U and bounds hold for any; the Taylor flows are those of a network with output 0, and this one starts with another"


def _assumption(activation: Activation) -> str:
    """Assumption 3.1: sigma, sigma' and sigma'' exist and are bounded (judged by the growth of sigma up to |u| = 40)."""
    if activation.kinks:
        return f"asks for sigma in C^2 and is not: kinks at u = {', '.join(f'{k:g}' for k in activation.kinks)}; computed only"
    inside, outside = (np.abs(activation(np.linspace(-reach, reach, 4001))).max() for reach in (20.0, 40.0))
    return "applies" if outside <= 1.01 * inside else "asks for a bounded sigma; computed only"


def _flow(q: Any, invariant: Span, sigma: Derivatives, order: int) -> Flow:
    taylor = taylor_flow(q, invariant, sigma, order)
    return Flow(taylor, invariant_ideal(q, sigma, taylor.span) if taylor.order is None else None)


def target_along(polynomial: str, directions: Sequence[Sequence[Fraction]], rational: bool = True) -> Target:
    """The target of R^d that is a polynomial in z_i = directions[i].x, itself a polynomial in x_1..x_d.

    Raises:
        InputError: If the polynomial has more variables than there are directions.
    """
    given = parse_target(polynomial, None, LARGEST_P, LARGEST_DEGREE)
    if given.p > len(directions):
        raise InputError(f"--directions: {len(directions)} rows for {polynomial!r}; allowed: one for each of z1 to z{given.p}")
    raw = raw_monomials(heat_transform(given))
    columns = [[row[j] for row in directions[: given.p]] for j in range(len(directions[0]))]
    inside = substitute(raw, columns) if raw else {}
    return hermite_target(polynomial, len(columns), inside, given.rational and rational)


def parse_directions(text: str) -> tuple[list[list[Fraction]], bool]:
    """The rows of a matrix "1, 0, 2; 0, 1/2, sqrt(2)", and whether all its entries are rational.

    Raises:
        InputError: If it is no matrix of real numbers.
    """
    rows = [row.split(",") for row in text.strip().strip("[]").replace("],", ";").replace("[", "").replace("]", "").split(";")]
    if len({len(row) for row in rows}) != 1:
        raise InputError(f"--directions: the rows of {text!r} differ in length; allowed: entries by commas, rows by semicolons")
    values = [[parse(entry, [], "--directions") for entry in row] for row in rows]
    return [[x.number for x in row] for row in values], all(x.rational for row in values for x in row)


def parse_subspace(text: str, target: Target, name: str = "z") -> Span:
    """The subspace of V spanned by linear forms "z2, z1 - z3".

    Raises:
        InputError: If they are not linear forms, or do not lie in V.
    """
    key, names = "--subspace", [f"{name}{i + 1}" for i in range(target.p)]
    threshold = threshold_of(target)
    space = Span(target.p, threshold)
    v = span_of_gradient(heat_transform(target), target.p, threshold)
    for part in text.split(","):
        form = parse(part, names, key).linear_form
        if form is None:
            raise InputError(f"{key}: {part.strip()!r} is no linear form; allowed: combinations of {', '.join(names)}, by commas")
        vector = list(form)
        if not any(vector):
            raise InputError(f"{key}: {part.strip()!r} is 0; allowed: non-zero combinations of {', '.join(names)}")
        if not v.contains(vector):
            raise InputError(
                f"{key}: {part.strip()!r} is not in V, the span of the gradient of h*; allowed: combinations within V"
            )
        space.add(vector)
    return space


def violation_of(report: Report, subspace: Span) -> tuple[Violation | None, Violation | None]:
    """Why h* is not reflective with respect to a given subspace of V: by Definition 3.3, and without bias."""
    q, v = heat_transform(report.target), report.definition.v
    seen = report.visibility
    return first_violation(q, v, subspace, seen.definition), first_violation(q, v, subspace, seen.flow)
