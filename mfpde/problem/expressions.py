"""Expressions that a user writes: checked against a list of names before anything is evaluated, then given to SymPy."""

import ast
import difflib
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

from mfpde.errors import InputError

FUNCTIONS = [
    *("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "erf"),
    *("abs", "max", "min", "sign", "heaviside", "relu", "sigmoid", "gelu", "softplus"),
]
CONSTANTS = ("pi", "e")
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Load, ast.Constant,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub,
)  # fmt: skip


def parse(text: str | float, variables: Sequence[str], key: str) -> Any:
    """The SymPy expression of `text` in the named real variables; decimal numbers become exact rationals.

    Raises:
        InputError: For anything but arithmetic with the variables, `FUNCTIONS` and `CONSTANTS`.
    """
    import sympy

    names = [*variables, *CONSTANTS]
    allowed = f"allowed: arithmetic with {', '.join(names)} and the functions {' '.join(FUNCTIONS)}"
    try:
        tree = ast.parse(str(text).strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError):
        raise InputError(f"{key}: cannot read {text!r} as an expression; {allowed}") from None
    _check(tree, text, names, key, allowed)
    symbols = {name: sympy.Symbol(name, real=True) for name in variables}
    try:
        expression = _build(tree.body, {**symbols, "pi": sympy.pi, "e": sympy.E}, _functions())
    except (TypeError, ZeroDivisionError, ValueError, RecursionError):
        raise InputError(f"{key}: cannot read {text!r} as an expression; {allowed}") from None
    if expression.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
        raise InputError(f"{key}: {text!r} is not a finite real expression; {allowed}")
    return expression


def _check(tree: ast.Expression, text: object, names: list[str], key: str, allowed: str) -> None:
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            known = FUNCTIONS if id(node) in called else names
            if node.id not in known:
                near = difflib.get_close_matches(node.id, known, 1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise InputError(f"{key}: unknown name {node.id!r} in {str(text)!r}{hint}; {allowed}")
        plain = not isinstance(node, ast.Constant) or type(node.value) in (int, float)
        call = not isinstance(node, ast.Call) or (isinstance(node.func, ast.Name) and not node.keywords)
        if not (isinstance(node, _NODES) and plain and call):
            raise InputError(f"{key}: cannot read {str(text)!r} as an expression; {allowed}")


def _functions() -> dict[str, Any]:
    import sympy

    return {
        **{name: getattr(sympy, name) for name in FUNCTIONS if hasattr(sympy, name)},
        "abs": sympy.Abs,
        "max": sympy.Max,
        "min": sympy.Min,
        "heaviside": lambda x: sympy.Heaviside(x, sympy.Rational(1, 2)),
        "relu": lambda x: sympy.Max(0, x),
        "sigmoid": lambda x: (1 + sympy.tanh(x / 2)) / 2,
        "gelu": lambda x: x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2,
        # No overflow for large x: log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), and smooth for all that.
        "softplus": lambda x: sympy.Function("softplus")(x),
    }


def _build(node: ast.expr, names: dict[str, Any], functions: dict[str, Any]) -> Any:
    import sympy

    if isinstance(node, ast.Constant):
        return sympy.Rational(str(node.value))
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        operand = _build(node.operand, names, functions)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return functions[node.func.id](*(_build(x, names, functions) for x in node.args))
    assert isinstance(node, ast.BinOp)
    left, right = _build(node.left, names, functions), _build(node.right, names, functions)
    if isinstance(node.op, ast.Pow):
        if right.is_number and abs(right) > 100:
            raise ValueError("exponent")
        return left**right
    operations = {ast.Add: left.__add__, ast.Sub: left.__sub__, ast.Mult: left.__mul__, ast.Div: left.__truediv__}
    return operations[type(node.op)](right)


def source(expression: Any, module: str) -> str:
    """Python source of an expression: over the names of `math` ("math"), or numpy and scipy.special ("numpy")."""
    import sympy
    from sympy.printing.numpy import SciPyPrinter
    from sympy.printing.pycode import PythonCodePrinter

    if module == "numpy":
        # The printer's max of a list does not broadcast numbers against arrays.
        pair = {sympy.Max: sympy.Function("maximum"), sympy.Min: sympy.Function("minimum")}
        for extreme, ufunc in pair.items():
            expression = expression.replace(extreme, lambda *args, f=ufunc: reduce(f, args))
    settings = {"fully_qualified_modules": False, "allow_unknown_functions": True}
    printer = SciPyPrinter(settings) if module == "numpy" else PythonCodePrinter(settings)
    return re.sub(r"\s+", " ", printer.doprint(expression))


def rational_number(value: Any) -> Fraction:
    """A SymPy number as a fraction: exact for rationals; an irrational one is rounded to 40 digits first.

    Raises:
        TypeError: If it is not a real number.
    """
    import sympy

    exact = value if value.is_Rational else sympy.Rational(sympy.N(value, 40))
    return Fraction(int(exact.p), int(exact.q))
