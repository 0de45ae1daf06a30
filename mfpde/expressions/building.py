"""From the checked syntax tree of an expression to SymPy.

Every number in an expression is evaluated in floating point first (`_shadow`), so that exact arithmetic meets no number
that it could not hold.  What still takes long is ended by the clock (`limited`).
"""

import ast
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from operator import ge, gt, le, lt
from typing import Any

from mfpde.errors import InputError, quoted
from mfpde.expressions.code import softplus
from mfpde.expressions.reading import FUNCTIONS, LARGEST, LARGEST_POWER, MOST_BITS, SMOOTH, TooCostly, allowed


def symbol(name: str) -> Any:
    """The real symbol that a variable is."""
    import sympy

    return sympy.Symbol(name, real=True)


def build(tree: ast.expr, text: object, variables: Sequence[str], key: str) -> Any:
    """The SymPy expression of a checked tree.

    Raises:
        InputError: If a number in it is not real and finite, or beyond the limits.
    """
    import sympy

    names = {**{name: symbol(name) for name in variables}, "pi": sympy.pi, "e": sympy.E}
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
    if isinstance(node.op, ast.Div):
        return _quotient(left, right)
    operations = {ast.Add: left.__add__, ast.Sub: left.__sub__, ast.Mult: left.__mul__}
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
    """The coefficients of He_n at z^n, z^{n-2}, ...: (-1)^m n! / (2^m m! (n - 2m)!)."""
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
        "log": _logarithm,
        "softplus": lambda x: sympy.log(1 + sympy.exp(x)) if x.is_number else symbolic_softplus()(x),
    }


@cache
def symbolic_softplus() -> Any:
    """softplus(x) = log(1 + e^x) as a function of its own, whose code does not overflow; its derivative is sigmoid(x)."""
    import sympy

    def sigmoid(function: Any, argindex: int = 1) -> Any:
        return (1 + sympy.tanh(function.args[0] / 2)) / 2

    return type("softplus", (sympy.Function,), {"nargs": 1, "fdiff": sigmoid})


def elementary(expression: Any) -> Any:
    """The expression with softplus as log(1 + e^x): for other arithmetic than floating point, where that overflows."""
    import sympy

    return expression.replace(symbolic_softplus(), lambda x: sympy.log(1 + sympy.exp(x)))


def _logarithm(x: Any) -> Any:
    """log x; log(a e^f + b e^g) = log a + f + softplus(g - f + log(b/a)), which does not overflow where e^f or e^g does."""
    import sympy

    terms = _exponentials(x.rewrite(sympy.exp) if isinstance(x, sympy.cosh) else x)
    if terms is None or len(terms) != 2:
        return sympy.log(x)
    (a, f), (b, g) = terms
    return sympy.log(a) + f + symbolic_softplus()(g - f + sympy.log(b / a))


def _quotient(left: Any, right: Any) -> Any:
    """left / right; e^f / (a e^f + b e^g + ..) = 1 / (a + b e^(g-f) + ..), which is not infinity by infinity."""
    import sympy

    above, below = _exponentials(left), _exponentials(right)
    if above is None or below is None or len(above) > 1 or len(below) == 1 or above[0][1] not in [g for _, g in below]:
        return left / right
    (c, f), *_ = above
    return c / sum(a * sympy.exp(g - f) for a, g in below)


def _exponentials(x: Any) -> list[tuple[Any, Any]] | None:
    """The a > 0 and f of a sum of terms a e^f that is no constant; None for anything else."""
    import sympy

    found = []
    for term in sympy.Add.make_args(x):
        a, rest = term.as_independent(*x.free_symbols, as_Add=False)
        if not (rest == 1 or isinstance(rest, sympy.exp)) or not a.is_positive:
            return None
        found.append((a, rest.args[0] if rest != 1 else sympy.Integer(0)))
    return found if x.free_symbols else None


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


def rational_number(value: Any) -> Fraction:
    """A SymPy number as a fraction: exact for rationals; an irrational one is rounded to 40 digits first.

    Raises:
        TypeError: If it is not a real number.
    """
    import sympy

    exact = value if value.is_Rational else sympy.Rational(sympy.N(value, 40))
    return Fraction(int(exact.p), int(exact.q))
