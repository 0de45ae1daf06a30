"""Code of expressions: Python over numpy for arrays, over `math` for numbers; without SymPy once it is written.

An overflow inside an expression is infinity there, as in IEEE arithmetic, and not of the whole: 1/(1 + e^1000) is 0.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import cache, reduce
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def array_source(expression: Any) -> str:
    """Python source of a SymPy expression over the names of numpy and scipy.special, for `evaluate`."""
    import sympy
    from sympy.printing.numpy import SciPyPrinter

    # The printer's max of a list does not broadcast numbers against arrays, nor does its select.
    pair = {sympy.Max: sympy.Function("maximum"), sympy.Min: sympy.Function("minimum")}
    for extreme, ufunc in pair.items():
        expression = expression.replace(extreme, lambda *args, f=ufunc: reduce(f, args))
    where = sympy.Function("where")
    expression = expression.replace(
        sympy.Piecewise, lambda *pairs: reduce(lambda rest, pair: where(pair[1], pair[0], rest), pairs[-2::-1], pairs[-1][0])
    )
    return _printed(SciPyPrinter, expression)


def scalar_source(expression: Any) -> str:
    """Python source of a SymPy expression over the names of `math`, for `evaluate_scalar`."""
    from sympy.printing.pycode import PythonCodePrinter

    return _printed(PythonCodePrinter, expression)


def _printed(printer: Callable[[dict[str, bool]], Any], expression: Any) -> str:
    settings = {"fully_qualified_modules": False, "allow_unknown_functions": True}
    return re.sub(r"\s+", " ", printer(settings).doprint(expression))


def evaluate(source: str, values: Mapping[str, Array]) -> Array:
    """The value of an `array_source` at arrays of its variables that broadcast; nan where it is not real or not defined.

    Args:
        source: The code.
        values: The variables by their names, at least one.
    """
    shape = np.broadcast_shapes(*(np.shape(x) for x in values.values()))
    with np.errstate(all="ignore"):  # in branches of where() that are not taken
        value = eval(_compiled(source), _array_names(), dict(values))
    return np.broadcast_to(np.asarray(value, dtype=np.float64), shape)


def evaluate_scalar(source: str, name: str, x: float) -> float:
    """The value of a `scalar_source` at a number x of its variable.

    Raises:
        ArithmeticError, ValueError, TypeError: Where it is not real or not defined.
    """
    code = _compiled(source)
    try:
        return float(eval(code, _SCALAR_NAMES, {name: x}))
    except OverflowError:
        with np.errstate(all="ignore"):
            return float(eval(code, _ieee_names(), {name: np.float64(x)}))


@cache
def _compiled(source: str) -> CodeType:
    return compile(source, "<expression>", "eval")


@cache
def _array_names() -> dict[str, Any]:
    from scipy import special

    return {**vars(special), **vars(np), "__builtins__": {}, "softplus": lambda x: np.logaddexp(0.0, x)}


def softplus(x: float) -> float:
    """log(1 + e^x), without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


_SCALAR_NAMES: dict[str, Any] = {
    "__builtins__": {},
    "abs": abs,
    "max": max,
    "min": min,
    "softplus": softplus,
    "bisect_right": bisect_right,
    **vars(math),
}


@cache
def _ieee_names() -> dict[str, Any]:
    """`_SCALAR_NAMES` with numpy's functions, whose overflow is infinity."""
    from scipy import special

    own = {name: getattr(np, name) for name in vars(math) if hasattr(np, name) and not name.startswith("_")}
    return {**_SCALAR_NAMES, **own, "erf": special.erf}
