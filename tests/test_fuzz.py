"""Whatever a user writes: the configuration and its problem, or one line that says what is wrong and what is allowed."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfpde.discretisations import build_problem
from mfpde.errors import LONGEST_LINE, InputError
from mfpde.expressions.reading import FUNCTIONS
from mfpde.problem.config import load
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config

# Seconds for each of the tests here, and processor seconds for one example: a text may cost a few.
SECONDS, ONE = 2.5, 15.0

NUMBERS = st.sampled_from(["0", "1", "2", "-1", "0.5", "1/3", "1e5", "1e-300", "1e400", "10**100", "pi", "e", "7", "100"])


def expressions(*variables: str) -> st.SearchStrategy[str]:
    """Texts that mostly follow the grammar of expressions."""

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("({}{}{})".format, inner, st.sampled_from(["+", "-", "*", "/", "**", "^"]), inner),
            st.builds("{}({})".format, st.sampled_from([*FUNCTIONS, "He2", "he3", "He300"]), inner),
            st.builds("{}({}, {})".format, st.sampled_from(["max", "min", "sin"]), inner, inner),
            st.builds("where({} < {} <= {}, {}, {})".format, inner, inner, inner, inner, inner),
            st.builds("-{}".format, inner),
        )

    return st.recursive(st.one_of(st.sampled_from(variables), NUMBERS), grown, max_leaves=6)


JUNK = st.one_of(
    st.text(max_size=30),
    st.text("uzt123()+-*/^,.<>= \n\0\"'[]{}eE_", max_size=60),
    st.sampled_from(["(" * 500, "9" * 5000, "u+" * 2000 + "u", "[" * 2000, "z1" + "0" * 50, "\u03c3", "x" * 200_000]),
)
LEAVES = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-3, 70),
    st.sampled_from([2**63, 10**400, 1e300, 1e-300, 1e20, float("nan"), float("inf"), -0.0, "inf", "", "zero", "gaussian"]),
    st.floats(),
    JUNK,
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
LAWS = st.builds(
    "{}({})".format,
    st.sampled_from(["uniform", "normal", "point", "rademacher"]),
    st.sampled_from(["", "0", "-1, 1", "0, 1e300", "0,,"]),
)
RATES = st.one_of(expressions("t"), st.lists(st.tuples(st.floats(0, 9), st.floats(-1, 9)).map(list), max_size=4))
# Values that are often right, of the keys whose values are texts.
TEXTS = {
    ("target", "polynomial"): expressions("z1", "z2", "z3"),
    ("network", "activation"): expressions("u"),
    ("training", "xi_a"): RATES,
    ("training", "xi_w"): RATES,
    ("initial", "a"): LAWS,
}
KEYS = [
    (section.name, key.name)
    for section in msgspec.structs.fields(Config)
    if section.name != "parameters"
    for key in msgspec.structs.fields(type(section.default))
]


def outcome(read: Callable[[], Config]) -> str:
    """What becomes of an input: "" for a problem, or the message; fails for anything else."""
    started = process_time()
    try:
        assert isinstance(build_problem(read()), Problem)
        return ""
    except InputError as error:
        message = str(error)
        assert message.isascii() and message.isprintable() and len(message) <= LONGEST_LINE
        assert len(message) < 700 or "allowed" not in message, message
        return message
    finally:
        assert process_time() - started < ONE


def bounded(test: Callable[..., None]) -> Callable[..., None]:
    """A property that is no longer tested when its time is over."""
    ends: list[float] = []

    def within(**arguments: Any) -> None:
        ends.append(monotonic() + SECONDS)
        if monotonic() < ends[0]:
            test(**arguments)

    within.__name__ = test.__name__
    return settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)(within)


def data_of(values: dict[tuple[str, str], Any]) -> dict[str, Any]:
    """The sections of single values."""
    data: dict[str, Any] = {}
    for (section, key), value in values.items():
        data.setdefault(section, {})[key] = value
    return data


def test_any_values_of_any_keys_make_a_problem_or_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    @bounded
    def holds(values: dict[tuple[str, str], Any]) -> None:
        monkeypatch.setattr("mfpde.problem.config._read", lambda path: data_of(values))
        outcome(lambda: load(Path("fuzz.toml")))

    given(values=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3))(holds)()


@pytest.mark.parametrize("where", TEXTS, ids=".".join)
def test_any_text_of_an_expression_makes_a_problem_or_one_line(where: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    @bounded
    def holds(value: Any) -> None:
        monkeypatch.setattr("mfpde.problem.config._read", lambda path: data_of({where: value}))
        message = outcome(lambda: load(Path("fuzz.toml")))
        assert not message or message.startswith((".".join(where), "input.dimension", "discretization.", "initial.")), message

    given(value=TEXTS[where])(holds)()


def test_any_stages_and_any_overrides_make_a_problem_or_one_line(tmp_path: Path) -> None:
    stage = st.fixed_dictionaries(
        {"duration": st.one_of(st.floats(0.1, 10), LEAVES)},
        optional={
            "xi_a": RATES,
            "xi_w": RATES,
            "average": st.integers(0, 7),
            "reset_a": st.booleans(),
            "activation": expressions("u"),
        },
    )
    path = tmp_path / "fuzz.toml"

    @bounded
    def holds(stages: Any, override: str, text: str) -> None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        outcome(lambda: load(path))
        outcome(lambda: load(None, [override]))
        try:
            data = tomllib.loads(f"value = {stages}".replace("True", "true").replace("False", "false"))
        except (ValueError, RecursionError):
            data = {"value": stages}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mfpde.problem.config._read", lambda path: {"training": {"stages": data["value"]}})
            outcome(lambda: load(path))

    names = st.sampled_from([f"{section}.{key}" for section, key in KEYS])
    overrides = st.one_of(JUNK, st.builds("{}={}".format, st.one_of(names, JUNK), st.one_of(JUNK, VALUES.map(str))))
    given(stages=st.lists(stage, min_size=1, max_size=3), override=overrides, text=JUNK)(holds)()
