"""What a user types: polynomials, Hermite notation, where(), and texts that would cost too much."""

import random
import subprocess
import sys
import time

import numpy as np
import pytest

from mfpde.errors import InputError, RunError, quoted
from mfpde.expressions.code import evaluate_scalar
from mfpde.expressions.expression import parse
from mfpde.expressions.reading import balanced
from mfpde.problem.target import parse_target


def test_messages_are_one_line_of_ascii_and_quote_the_ends_of_long_texts() -> None:
    for kind in (InputError, RunError):
        message = str(kind("key: 'a\nb\0\u03c3'" + "x" * 10**6))
        assert message.isascii() and message.isprintable() and len(message) <= 1200
    assert len(quoted("y" * 10**7)) <= 80 and quoted("\u03c3\n") == r"'\u03c3\n'"
    assert "too long" in quoted(10**5000)


def test_loading_what_reads_an_expression_is_no_part_of_its_time() -> None:
    """In a fresh interpreter, with a limit below what loading SymPy takes."""
    code = "import sys; from mfpde.expressions import reading; from mfpde.problem import target; reading.SECONDS = 0.3\n"
    code += "assert 'sympy' not in sys.modules; target.parse_target('z1 + z1*z2')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_full_polynomial_of_degree_20_is_read_in_seconds() -> None:
    draw = random.Random(0)
    powers = [(a, b, c) for a in range(21) for b in range(21 - a) for c in range(21 - a - b)]
    text = "+".join(f"{draw.randint(1, 99)}/7*z1^{a}*z2^{b}*z3^{c}" for a, b, c in powers)
    started = time.process_time()
    target = parse_target(text)
    assert len(powers) == len(target.exact) == 1771 and target.degree == 20 and target.rational
    assert time.process_time() - started < 5


def test_hermite_notation_is_the_probabilists_and_the_normalised_one() -> None:
    target = parse_target("2*he1(z1) - he3(z2)/4 + He2(z1)*he1(z2)")
    assert dict(zip(map(tuple, target.alpha.tolist()), target.coefficients.tolist(), strict=True)) == pytest.approx(
        {(1, 0): 2.0, (0, 3): -0.25, (2, 1): np.sqrt(2)}, rel=1e-15
    )
    assert parse_target("He3(z1)").exact == parse_target("z1^3 - 3*z1").exact and parse_target("He3(z1)").rational
    assert parse_target("He3(z1 - z2)").exact == parse_target("(z1 - z2)^3 - 3*(z1 - z2)").exact


def test_roots_cancel_exactly() -> None:
    target = parse_target("(sqrt(2)*z1)^2 + z2/sqrt(3)*sqrt(12)")
    assert target.rational and target.exact == parse_target("2*z1^2 + 2*z2").exact


def test_balanced_sums_are_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfpde.expressions.reading.CHUNK", 2)
    text = "u-2+3-2*(u-u+1-(4-1-2-u))-max(u-2-3-4-u,u-1-2-1)-1e-5-where(u-1-2-3<2-1-u,u-1,-1-1-u-3)"
    again = balanced(text)
    assert again.count("(") > text.count("(") + 5
    names = {"max": max, "where": lambda condition, x, y: x if condition else y}
    for u in (-1.5, 0.25, 7.0):
        assert eval(again, {"u": u, **names}) == eval(text, {"u": u, **names})


def test_where_chooses_by_comparisons_and_chains_of_them() -> None:
    u = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    for text, expected in (
        ("where(u < 1, u, 3)", np.where(u < 1, u, 3)),
        ("where(0 <= u < 1, 2, 2*u)", np.where((u >= 0) & (u < 1), 2, 2 * u)),
        ("where(u > 1, 1, where(u >= 0, u**2, 0))", np.where(u > 1, 1, np.where(u >= 0, u**2, 0))),
        ("where(1 < 2, u, 3)", u),
    ):
        expression = parse(text, ["u"], "key")
        assert np.array_equal(expression(u), expected)
        assert [evaluate_scalar(expression.scalar_source, "u", x) for x in u] == list(expected)


@pytest.mark.parametrize(
    "text,words",
    [
        ("(z1+z2+z3)**100", ["degree 100", "20"]),
        ("z1^25", ["degree 25", "20"]),
        ("he25(z1)", ["degree 25", "20"]),
        ("exp(1000)*z1", ["beyond", "1e+100"]),
        ("exp(10**100)*z1", ["beyond", "1e+100"]),
        ("1e200*z1", ["beyond", "1e+100"]),
        ("1e90*z1", ["coefficient", "1e+30"]),
        ("((1.000000001**100)**100)**100*z1", ["allowed"]),
        ("9" * 5000 + "*z1", ["cannot read"]),
        ("0x" + "f" * 5000 + "*z1", ["beyond"]),
        ("(" * 500 + "z1" + ")" * 500, ["cannot read"]),
        ("-" * 500 + "z1", ["within each other", "100"]),
        ("z1+" * 40_000 + "z1", ["characters", "100000"]),
        ("z1+" * 30_000 + "z1", ["names and numbers", "20000"]),
        ("z1*" * 3000 + "z1", ["allowed"]),
        ("z1 + 1" * 2_000_000, ["characters"]),
        ("(pi*z1+e*z2+sqrt(2)*z3+sqrt(3)*z2+sqrt(5)+sqrt(7)+sqrt(11))**12", ["allowed"]),
        ("z1/0", ["polynomial"]),
        ("z1/z2", ["polynomial"]),
        ("where(z1 < 0, z1, z2)", ["polynomial"]),
        ("He3(z1, z2)", ["1 argument"]),
        ("max()*z1", ["arguments"]),
        ("where(1, 2, 3)*z1", ["where(a < b, x, y)"]),
        ("z" + "9" * 5000, ["unknown name"]),
        ("z1 < 2", ["cannot read"]),
        ("sqrt(-1)*z1", ["real"]),
        ("asin(2)*z1", ["real"]),
        ("asin(He2(2))*z1", ["real"]),
        ("asin(1 + 10**-17)*z1", ["real"]),
    ],
    ids=lambda x: x[:24] if isinstance(x, str) else "",
)
def test_costly_or_wrong_text_is_refused_in_one_line_within_seconds(text: str, words: list[str]) -> None:
    started = time.process_time()
    with pytest.raises(InputError) as error:
        parse_target(text)
    message = str(error.value)
    assert time.process_time() - started < 5.5
    assert message.startswith("target.polynomial: ") and len(message) < 600
    assert all(word in message for word in ("allowed", *words)), message


@pytest.mark.parametrize(
    "text", ["asin(where(1 < 2, 2, 0))*u", "exp(where(2 < 1, 0, 10**90))*u", "log(where(1 < 2 < 2, 1, 0))*u"]
)
def test_numbers_that_where_chooses_are_checked_like_others(text: str) -> None:
    with pytest.raises(InputError, match="allowed"):
        parse(text, ["u"], "key")
