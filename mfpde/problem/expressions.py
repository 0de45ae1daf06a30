"""Expressions that a user writes: checked by `reading` before anything is evaluated, then given to SymPy.

Every number in an expression is evaluated in floating point first (`_shadow`), so that exact arithmetic meets no number
that it could not hold; what still takes long is ended by the clock (`limited`).
"""

import ast
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, reduce
from operator import ge, gt, le, lt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError, quoted
from mfpde.problem.reading import FUNCTIONS, LARGEST, LARGEST_POWER, MOST_BITS, SMOOTH, TooCostly, allowed, limited, read

Array = NDArray[np.float64]


def parse(text: str | float, variables: Sequence[str], key: str) -> Any:
    """The SymPy expression of `text` in the named real variables; decimal numbers become exact rationals.

    Raises:
        InputError: For anything but arithmetic with the variables, `FUNCTIONS` and `CONSTANTS`, within the limits above.
    """
    import sympy

    tree = read(text, variables, key)
    with limited(key, text):
        expression = build(tree, text, variables, key)
    if expression.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
        raise InputError(f"{key}: {quoted(text)} is not a finite real expression; {allowed(variables)}")
    return expression


def build(tree: ast.expr, text: object, variables: Sequence[str], key: str) -> Any:
    """The SymPy expression of a checked tree.

    Raises:
        InputError: If a number in it is not real and finite, or beyond the limits.
    """
    import sympy

    names = {**{name: sympy.Symbol(name, real=True) for name in variables}, "pi": sympy.pi, "e": sympy.E}
    functions = _functions()
    # Breadth first and backwards: children before their parents, without recursion.
    built: dict[int, Any] = {}
    shadow: dict[int, float | None] = {}
    try:
        for node in reversed(list(ast.walk(tree))):
            if isinstance(node, ast.Compare) or not isinstance(
                node, ast.BinOp | ast.UnaryOp | ast.Call | ast.Name | ast.Constant
            ):
                continue
            if isinstance(node, ast.Name) and node.id not in names:
                continue  # of a function
            shadow[id(node)] = number = _shadow(node, shadow)
            if number is not None and not abs(number) <= LARGEST:
                raise TooCostly(f"has a number beyond {LARGEST:g}; allowed: numbers up to {LARGEST:g}")
            built[id(node)] = value = _build(node, built, names, functions)
            if number is not None and not value.is_Rational and not value.evalf(15).is_real:  # asin(1.00000000000000001)
                raise ValueError("not real")
    except TooCostly as error:
        raise InputError(f"{key}: {quoted(text)} {error}") from None
    except OverflowError:
        raise InputError(f"{key}: {quoted(text)} has a number beyond {LARGEST:g}; allowed: numbers up to {LARGEST:g}") from None
    except (TypeError, ArithmeticError, ValueError, AttributeError, NotImplementedError):
        raise InputError(f"{key}: {quoted(text)} is not a finite real expression; {allowed(variables)}") from None
    return built[id(tree)]


def _build(node: ast.expr, built: dict[int, Any], names: dict[str, Any], functions: dict[str, Any]) -> Any:
    import sympy

    if isinstance(node, ast.Constant):
        return sympy.Rational(str(node.value))
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        operand = built[id(node.operand)]
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        if node.func.id == "where":
            return _where(node, built)
        values = [built[id(x)] for x in node.args]
        if node.func.id in functions:
            return functions[node.func.id](*values)
        return hermite_polynomial(node.func.id, values[0])
    assert isinstance(node, ast.BinOp)
    left, right = built[id(node.left)], built[id(node.right)]
    if isinstance(node.op, ast.Pow):
        return _power(left, right)
    operations = {ast.Add: left.__add__, ast.Sub: left.__sub__, ast.Mult: left.__mul__, ast.Div: left.__truediv__}
    return operations[type(node.op)](right)


def _power(base: Any, exponent: Any) -> Any:
    if exponent.is_number and abs(exponent) > LARGEST_POWER:
        raise TooCostly(f"has an exponent beyond {LARGEST_POWER}; allowed: exponents up to {LARGEST_POWER}")
    if base.is_Rational and exponent.is_Rational:
        bits = max(int(base.p).bit_length(), int(base.q).bit_length())
        if bits * abs(exponent) > MOST_BITS:
            raise TooCostly(f"has a power of more than {MOST_BITS} bits; allowed: shorter numbers, or smaller exponents")
    power = base**exponent
    if power.is_Pow and power.exp.is_number and abs(power.exp) > LARGEST_POWER:
        raise TooCostly(f"has powers of powers beyond {LARGEST_POWER}; allowed: exponents up to {LARGEST_POWER} in all")
    return power


def _where(call: ast.Call, built: dict[int, Any]) -> Any:
    """where(a < b, x, y) as a Piecewise; a chain a < b < c as one within the other."""
    import sympy

    relations = {
        ast.Lt: sympy.StrictLessThan,
        ast.LtE: sympy.LessThan,
        ast.Gt: sympy.StrictGreaterThan,
        ast.GtE: sympy.GreaterThan,
    }
    condition, then, otherwise = call.args
    assert isinstance(condition, ast.Compare)
    sides = [built[id(x)] for x in (condition.left, *condition.comparators)]
    value = built[id(then)]
    for left, op, right in reversed(list(zip(sides, condition.ops, sides[1:], strict=False))):
        numbers = left.is_number and right.is_number
        relation = relations[type(op)](left, right, evaluate=numbers)
        value = sympy.Piecewise((value, relation), (built[id(otherwise)], True))
    return value


def hermite_polynomial(name: str, x: Any) -> Any:
    """He3(x), monic and orthogonal for the normal law, or he3(x) = He3(x) / sqrt(3!); x of any commutative ring.

    Raises:
        TooCostly: If the degree is beyond `LARGEST_POWER`.
    """
    import sympy

    kind, degree = name[:2], int(name[2:])
    if degree > LARGEST_POWER:
        raise TooCostly(f"has a Hermite polynomial of degree {degree}; allowed: degrees up to {LARGEST_POWER}")
    value = sum((c * x ** (degree - 2 * m) for m, c in enumerate(hermite_coefficients(degree))), start=0 * x)
    return value if kind == "He" else value / sympy.sqrt(sympy.factorial(degree))


def hermite_coefficients(n: int) -> list[int]:
    """Those of He_n at z^n, z^{n-2}, ...: (-1)^m n! / (2^m m! (n - 2m)!)."""
    return [(-1) ** m * math.factorial(n) // (2**m * math.factorial(m) * math.factorial(n - 2 * m)) for m in range(n // 2 + 1)]


@cache
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
        "softplus": lambda x: sympy.log(1 + sympy.exp(x)) if x.is_number else sympy.Function("softplus")(x),
    }


def softplus(x: float) -> float:
    """log(1 + e^x), without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


_FLOATING: dict[str, Callable[..., float]] = {
    **{name: getattr(math, name) for name in SMOOTH if hasattr(math, name)},
    "abs": abs,
    "max": max,
    "min": min,
    "sign": lambda x: (x > 0) - (x < 0),
    "heaviside": lambda x: 0.5 * (1 + (x > 0) - (x < 0)),
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 0.5 * (1 + math.tanh(x / 2)),
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "softplus": softplus,
}


_COMPARE: dict[type, Callable[[Any, Any], bool]] = {ast.Lt: lt, ast.LtE: le, ast.Gt: gt, ast.GtE: ge}


def _shadow(node: ast.expr, shadow: dict[int, float | None]) -> float | None:
    """The value of a subexpression in floating point; None if it depends on a variable.

    Raises:
        OverflowError, ArithmeticError, ValueError: If it is not finite or not real.
    """
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return {"pi": math.pi, "e": math.e}.get(node.id)
    if isinstance(node, ast.UnaryOp):
        value = shadow[id(node.operand)]
        return None if value is None else -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        if node.func.id == "where":
            condition, *branches = node.args
            assert isinstance(condition, ast.Compare)
            sides = [shadow[id(x)] for x in (condition.left, *condition.comparators)]
            values = [shadow[id(x)] for x in branches]
            if None in sides or None in values:
                return None
            holds = all(_COMPARE[type(op)](a, b) for a, op, b in zip(sides, condition.ops, sides[1:], strict=False))
            return values[0 if holds else 1]
        values = [shadow[id(x)] for x in node.args]
        if None in values:
            return None
        if node.func.id in _FLOATING:
            return float(_FLOATING[node.func.id](*values))
        return float(hermite_polynomial(node.func.id, values[0]))
    assert isinstance(node, ast.BinOp)
    left, right = shadow[id(node.left)], shadow[id(node.right)]
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Pow):
        return math.pow(left, right)
    if isinstance(node.op, ast.Div):
        return left / right
    return left * right if isinstance(node.op, ast.Mult) else left + right if isinstance(node.op, ast.Add) else left - right


def source(expression: Any, module: str) -> str:
    """Python source of an expression: over the names of `math` ("math"), or numpy and scipy.special ("numpy")."""
    import sympy
    from sympy.printing.numpy import SciPyPrinter
    from sympy.printing.pycode import PythonCodePrinter

    if module == "numpy":
        # The printer's max of a list does not broadcast numbers against arrays, nor does its select.
        pair = {sympy.Max: sympy.Function("maximum"), sympy.Min: sympy.Function("minimum")}
        for extreme, ufunc in pair.items():
            expression = expression.replace(extreme, lambda *args, f=ufunc: reduce(f, args))
        where = sympy.Function("where")
        expression = expression.replace(
            sympy.Piecewise, lambda *pairs: reduce(lambda rest, pair: where(pair[1], pair[0], rest), pairs[-2::-1], pairs[-1][0])
        )
    settings = {"fully_qualified_modules": False, "allow_unknown_functions": True}
    printer = SciPyPrinter(settings) if module == "numpy" else PythonCodePrinter(settings)
    return re.sub(r"\s+", " ", printer.doprint(expression))


def vectorised(expression: Any) -> Callable[[Array], Array]:
    """An expression of one variable as a function of arrays; nan where it is not real or not defined."""
    (variable,) = expression.free_symbols
    code, name = compiled(source(expression, "numpy")), str(variable)

    def function(x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(eval(code, namespace(), {name: x}), dtype=np.float64), np.shape(x))

    return function


@cache
def compiled(source: str) -> Any:
    """The code of a source in the sense of `source`."""
    return compile(source, "<expression>", "eval")


@cache
def namespace() -> dict[str, Any]:
    """The names of a "numpy" source."""
    from scipy import special

    return {**vars(special), **vars(np), "__builtins__": {}, "softplus": lambda x: np.logaddexp(0.0, x)}


def rational_number(value: Any) -> Fraction:
    """A SymPy number as a fraction: exact for rationals; an irrational one is rounded to 40 digits first.

    Raises:
        TypeError: If it is not a real number.
    """
    import sympy

    exact = value if value.is_Rational else sympy.Rational(sympy.N(value, 40))
    return Fraction(int(exact.p), int(exact.q))


def elementary(expression: Any) -> Any:
    """The expression with softplus as log(1 + e^x): for other arithmetic than floating point, where that overflows."""
    import sympy

    return expression.replace(sympy.Function("softplus"), lambda x: sympy.log(1 + sympy.exp(x)))
