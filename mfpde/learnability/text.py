"""The report of `python -m mfpde.learnability` as text."""

from collections.abc import Sequence
from math import inf
from typing import Any

from mfpde.learnability.derivatives import GENERIC
from mfpde.learnability.polynomials import heat_transform, number, raw_monomials, squared_norm, text
from mfpde.learnability.reflective import escape_law
from mfpde.learnability.report import Flow, Report, violation_of
from mfpde.learnability.subspaces import Span, orthogonal_basis


def render(report: Report, name: str = "z") -> str:
    """The report as text; `name` is that of the coordinates."""
    sections = [_head(report, name), _reflection(report, name, definition=True)]
    seen = report.visibility
    if any((n in seen.definition) != (n in seen.flow) for n in map(sum, heat_transform(report.target))):
        sections.append(_reflection(report, name, definition=False))
    flows = [line for flow in report.flows for line in _flow(flow, report.definition.v.dimension, name)]
    sections.append("Taylor flow  dw/dt = a E[h* sigma'(w.z) z],  w = sum_k W_k (a t)^k\n" + "\n".join(flows))
    return "\n\n".join(sections)


def _head(report: Report, name: str) -> str:
    target, part = report.target, report.definition
    q = heat_transform(target)
    margin = f"40 digits; rank decisions kept {part.smallest_kept:.1e}, dropped {part.largest_dropped:.1e}"
    rows = [
        ("target", f"{text(raw_monomials(q), name)},  E h*^2 = {number(squared_norm(q))}"),
        ("V", space(part.v, name)),
        ("activation", report.visibility.activation),
        ("arithmetic", "exact" if target.rational else margin),
        ("theory", f"the algebra is proven for this sigma; Theorem 3.4 {report.theorem}"),
    ]
    if target.energy is not None:
        degree = max(map(sum, q), default=0)
        rows[0] = ("target", f"{target.polynomial},  E h*^2 = {target.energy:.6g}")
        rows.insert(
            1,
            (
                "truncated",
                f"at degree {degree}, E h*^2 = {float((target.coefficients**2).sum()):.6g} of it; what follows is about this:",
            ),
        )
        rows.insert(2, ("", text(raw_monomials(q), name)))
        rows[4:] = [(key, "13 digits" if key == "arithmetic" else value) for key, value in rows[4:]]
    if report.law:
        rows.append(("law of a", report.law))
    return _rows(rows, 0)


def _reflection(report: Report, name: str, *, definition: bool) -> str:
    part, check = (report.definition, report.checks[0]) if definition else (report.no_bias, report.checks[1])
    seen = report.visibility
    title = "Reflective property, Definition 3.3 (all shifts u)" if definition else "The same without bias (u = r G, G ~ N(0, 1))"
    why = seen.reason
    if not definition:
        margin = "" if seen.smallest_seen == inf else f" (c_n seen {seen.smallest_seen:.1e}, others {seen.largest_unseen:.1e})"
        why = f"sigma sees degrees {', '.join(map(str, part.visible)) or 'none'} of h*{margin}"
    rest = (" - O(d^(-1/2))" if definition else " at d = inf") if part.bound else ""
    rows = [
        ("case", why),
        ("S", f"{space(part.reflective, name)}; no larger one"),
        ("U", space(part.learned, name)),
        ("h*_{S perp}", text(part.projected, name)),
        ("bound", f"E >= {number(part.bound)}{rest}"),
    ]
    if part.visible_bound != part.bound:
        rows.append(("unseen", f"E >= {number(part.visible_bound)}{rest}, as sigma cannot represent what it does not see"))
    for k, step in enumerate(part.steps):
        rows.append(("" if k else "staircase", f"leap {step.leap} (degree {step.degree}) adds {forms(step.directions, name)}"))
    if part.hidden.dimension:
        rows.append(("never", space(part.hidden, name)))
    leap = part.isotropic_leap
    largest = f"largest average {check.reflective:.1e} in S, {check.learned:.1e} in U, {check.samples} random points"
    rows += [
        ("leap", f"{'none' if leap is None else leap} (isotropic); all of V: {escape_law(leap)}"),
        ("quadrature", largest if check.samples else "not done: too many variables for a tensor grid"),
    ]
    return f"{title}\n{_rows(rows, 2)}"


def _flow(flow: Flow, full: int, name: str) -> list[str]:
    taylor = flow.taylor
    found, order, most = taylor.span.dimension, taylor.order, taylor.invariant.dimension
    if order is not None and most == full:
        verdict = f"fills V at s = {order}"
    elif order is not None:
        spanned = forms(orthogonal_basis(taylor.span), name) or "0"
        verdict = f"spans {spanned} at s = {order} and stays there, as grad Q_n(U) lies in U"
    elif flow.ideal is not None:
        zero = " = ".join(text(g, "w") for g in flow.ideal.generators)
        verdict = f"stays in dimension {found} of {most}: proof by the invariant ideal of 0 = {zero}"
    else:
        verdict = f"dimension {found} of {most} up to s = {len(taylor.coefficients)}, undecided beyond"
    margin = f"  [ranks: kept {taylor.smallest_kept:.0e}, dropped {taylor.largest_dropped:.0e}]"
    lines = [f"  {taylor.label}: {verdict}{'' if taylor.exact or not taylor.coefficients else margin}"]
    for k, w in enumerate(taylor.coefficients[:SHOWN], 1):
        if taylor.label != GENERIC:
            lines.append(f"    W{k} = ({', '.join(number(x, 6) for x in w)})")
    return lines


def subspace_text(report: Report, given: str, name: str, space_given: Span) -> str:
    """Whether h* is reflective with respect to a given S, as text."""
    lines = [f"S = span({given})"]
    for title, found in zip(("Definition 3.3", "without bias"), violation_of(report, space_given), strict=True):
        if found is None:
            lines.append(f"  {title}: reflective")
            continue
        vector = ", ".join(number(x) for x in found.vector)
        pairs = zip(found.basis, found.powers, strict=True)
        wick = "*".join(f"({forms([b], name)})" + f"^{n}" * (n > 1) for b, n in pairs if n) or "1"
        lines.append(f"  {title}: not reflective, E[h* :{wick}: z] has the part ({vector}) in S")
    return "\n".join(lines)


def space(span: Span, name: str) -> str:
    """A subspace as its dimension and a basis of linear forms."""
    basis = f": {forms(orthogonal_basis(span), name)}" if span.dimension else ""
    return f"dimension {span.dimension}{basis}"


def forms(vectors: Sequence[Sequence[Any]], name: str) -> str:
    """Vectors as linear forms."""
    return ", ".join(text({tuple(int(i == k) for i in range(len(b))): c for k, c in enumerate(b) if c}, name) for b in vectors)


def _rows(rows: list[tuple[str, str]], indent: int) -> str:
    return "\n".join(f"{'':<{indent}}{key:<{WIDTH - indent}}{value}" for key, value in rows)


# Column of the values, and Taylor coefficients shown.
WIDTH, SHOWN = 15, 4
