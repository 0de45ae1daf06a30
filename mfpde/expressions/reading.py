"""The text of an expression: its syntax, the names in it, and the limits of what it may cost."""

import ast
import io
import re
import signal
import threading
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mfpde.errors import InputError, did_you_mean, quoted

SMOOTH = [
    *("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "erf"),
    *("sigmoid", "gelu", "softplus"),
]
FUNCTIONS = [*SMOOTH, "abs", "max", "min", "sign", "heaviside", "relu", "where"]
CONSTANTS = ("pi", "e")
HERMITE = re.compile(r"(He|he)(\d{1,3})")
# Limits of a text: characters, brackets within brackets, names and numbers, bits of an exact number, size of a number.
LONGEST, DEEPEST, MOST_TERMS, MOST_BITS, LARGEST = 100_000, 100, 1_000, 4_096, 1e100
LARGEST_POWER = 100
# Summands between brackets of `balanced`.
CHUNK = 200
# Processor seconds that an expression may take.
SECONDS = 4.0
_NODES = (
    ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Load, ast.Constant, ast.Compare,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip


class TooCostly(ValueError):
    """An expression that would take too much time or memory; the message says which limit it meets."""


class _TimeIsUp(BaseException):
    """Not an Exception: libraries swallow those."""


@contextmanager
def limited(key: str, text: object) -> Iterator[None]:
    """Ends its body after `SECONDS` of processor time; a no-op inside another one, and outside the main thread.

    Raises:
        InputError: When the time is up.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getitimer(signal.ITIMER_VIRTUAL)[0]:
        yield
        return
    import sympy  # noqa: F401  (before the clock starts: from a slow disk this alone takes seconds)

    def stop(*_: object) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    except (_TimeIsUp, MemoryError, RecursionError):
        raise InputError(f"{key}: {quoted(text)} takes too long to read; allowed: expressions that take {SECONDS:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def allowed(variables: Sequence[str]) -> str:
    """What may stand in an expression, for messages."""
    names = ", ".join([*variables, *CONSTANTS])
    return f"allowed: arithmetic with {names} and the functions {' '.join(FUNCTIONS)} He<n> he<n>"


def read(text: str | float, variables: Sequence[str], key: str, most_terms: int = MOST_TERMS) -> ast.expr:
    """The checked syntax tree of `text`, with no more than `most_terms` names and numbers.

    Raises:
        InputError: For an unknown name, another syntax, or a text beyond the limits.
    """
    written = str(text).strip().replace("^", "**")
    if len(written) > LONGEST:
        raise InputError(f"{key}: {quoted(text)} has {len(written)} characters; allowed: at most {LONGEST}")
    terms = len(re.findall(r"\w[\w.]*", written))
    if terms > most_terms:
        raise InputError(f"{key}: {quoted(text)} has {terms} names and numbers; allowed: at most {most_terms}")
    names = [*variables, *CONSTANTS]
    try:
        tree = ast.parse(balanced(written) if len(written) > CHUNK else written, mode="eval").body
        _check(tree, text, names, key, allowed(variables))
    except TooCostly as error:
        raise InputError(f"{key}: {quoted(text)} {error}") from None
    except (SyntaxError, ValueError, MemoryError, RecursionError, tokenize.TokenError):
        raise InputError(f"{key}: cannot read {quoted(text)} as an expression; {allowed(variables)}") from None
    return tree


def balanced(text: str) -> str:
    """The same text, with brackets around every `CHUNK` summands of a sum: Python's parser nests long ones too deeply."""
    out: list[str] = []
    levels = [[0, 0, 0]]  # of each open bracket: where its sum begins in `out`, its summands, its brackets opened here
    operand = False  # whether the last token ended one, so that + and - are binary

    def close() -> None:
        if levels[-1][2]:
            out.append(")")

    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        word = token.string
        if word in ("+", "-") and operand:
            levels[-1][1] += 1
            if levels[-1][1] % CHUNK == 0:
                if not levels[-1][2]:
                    out.insert(levels[-1][0], "(")
                    levels[-1][2] = 1
                out += [")", "+", "("]
                word = "" if word == "+" else "-"
        elif word in (")", ",", "<", "<=", ">", ">=") or token.type == tokenize.ENDMARKER:
            close()
            if word == ")" and len(levels) > 1:
                levels.pop()
            else:
                levels[-1] = [len(out) + 1, 0, 0]
        out += [word, " "] if token.type in (tokenize.NAME, tokenize.NUMBER) else [word]
        if word == "(":
            levels.append([len(out), 0, 0])
        operand = word == ")" or token.type in (tokenize.NAME, tokenize.NUMBER)
    return "".join(out)


def _check(tree: ast.expr, text: object, names: list[str], key: str, allowed: str) -> None:
    depth = {id(tree): 0}
    conditions, called = set(), set()
    for node in ast.walk(tree):
        here = depth[id(node)]
        if here > DEEPEST:
            raise TooCostly(f"has more than {DEEPEST} brackets or signs within each other; allowed: at most {DEEPEST}")
        for child in ast.iter_child_nodes(node):
            depth[id(child)] = here + (not (isinstance(node, ast.BinOp) and child is node.left))  # chains are not nested
        right = isinstance(node, _NODES)
        if isinstance(node, ast.Call):
            right = isinstance(node.func, ast.Name) and not node.keywords
            called.add(id(node.func))
            if isinstance(node.func, ast.Name) and (node.func.id in FUNCTIONS or HERMITE.fullmatch(node.func.id)):
                _check_arguments(node, key, text)
                conditions |= {id(x) for x in node.args[:1] if isinstance(x, ast.Compare)}
        elif isinstance(node, ast.Compare):
            right = id(node) in conditions
        elif isinstance(node, ast.Constant):
            right = type(node.value) in (int, float)
            if right and not abs(node.value) <= LARGEST:  # type: ignore[arg-type]
                raise TooCostly(f"has a number beyond {LARGEST:g}; allowed: numbers up to {LARGEST:g}")
        elif isinstance(node, ast.Name) and not (id(node) in called and HERMITE.fullmatch(node.id)):
            known = FUNCTIONS if id(node) in called else names
            if node.id not in known:
                hint = did_you_mean(node.id, known)
                raise InputError(f"{key}: unknown name {quoted(node.id)} in {quoted(str(text))}{hint}; {allowed}")
        if not right:
            raise InputError(f"{key}: cannot read {quoted(str(text))} as an expression; {allowed}")


def _check_arguments(call: ast.Call, key: str, text: object) -> None:
    assert isinstance(call.func, ast.Name)
    name, n = call.func.id, len(call.args)
    if name == "where":
        if n != 3 or not isinstance(call.args[0], ast.Compare):
            raise InputError(
                f"{key}: where() in {quoted(str(text))} needs a condition and two values; "
                "allowed: where(a < b, x, y), with <, <=, >, >= or a chain of them"
            )
    elif not (1 <= n <= 20 if name in ("max", "min") else n == 1):
        takes = "1 to 20 arguments" if name in ("max", "min") else "1 argument"
        raise InputError(f"{key}: {name}() in {quoted(str(text))} has {n} arguments; allowed: {takes}")
