"""Power series of expressions at 0, by recurrences in extended precision.

With x = sum_k x_k u^k and y = f(x) the chain rule y' = s x', s = f'(x), gives one coefficient after the other:

    k y_k = sum_{j=1..k} j x_j s_{k-j}                                                     (1)

where s is known from x, or from y up to k - 1: s = y for exp, 1 - y^2 for tanh.  For y = x^c it is x y' = c y x':

    k x_0 y_k = sum_{j=1..k} (c j - k + j) x_j y_{k-j}                                     (2)
"""

from collections.abc import Callable, Sequence
from typing import Any

Series = list[Any]  # numbers of mpmath, from u^0 on


def power_series(expression: Any, symbol: Any, order: int) -> Series:
    """The coefficients of u^0, .., u^order of a SymPy expression in one symbol u, in the working precision of mpmath.

    Raises:
        ZeroDivisionError, ValueError: If it is not analytic at 0, as far as that is seen.
        NotImplementedError: If it has a function that is not known here.
    """
    import mpmath
    import sympy

    known: dict[Any, Series] = {symbol: [mpmath.mpf(k == 1) for k in range(order + 1)]}

    def of(part: Any) -> Series:
        if part not in known:
            if part.is_number:
                known[part] = _constant(_number(part), order)
            elif isinstance(part, sympy.Piecewise):
                known[part] = of(next(value for value, condition in part.args if _holds(condition, of)))
            else:
                known[part] = _apply(part, [of(x) for x in part.args])
        return known[part]

    return of(expression)


def _number(value: Any) -> Any:
    """A SymPy number as one of mpmath."""
    import mpmath

    if value.is_Rational:
        return mpmath.mpf(int(value.p)) / int(value.q)
    return mpmath.mpf(value.evalf(mpmath.mp.dps + 5))


def _constant(value: Any, order: int) -> Series:
    return [value, *[value * 0] * order]


def _holds(condition: Any, of: Callable[[Any], Series]) -> bool:
    """Whether a condition of where() holds near 0."""
    if not condition.args:
        return bool(condition)
    difference = of(condition.lhs)[0] - of(condition.rhs)[0]
    return bool(condition.func(_sign(difference), 0))


def _sign(value: Any) -> int:
    if value == 0:
        raise ValueError("a kink at 0")
    return 1 if value > 0 else -1


def _apply(part: Any, x: list[Series]) -> Series:
    """The series of a function of series."""
    import mpmath
    import sympy

    if part.is_Add:
        return [mpmath.fsum(terms) for terms in zip(*x, strict=True)]
    if part.is_Mul:
        whole = x[0]
        for other in x[1:]:
            whole = _product(whole, other)
        return whole
    if isinstance(part, sympy.Pow):
        return _power(x[0], part.exp, x[1])
    if isinstance(part, sympy.Max | sympy.Min):
        sign, best = (1 if isinstance(part, sympy.Max) else -1), x[0]
        for other in x[1:]:
            best = other if _sign(other[0] - best[0]) == sign else best
        return best
    if isinstance(part, sympy.Abs):
        return _scaled(x[0], _sign(x[0][0]))
    if isinstance(part, sympy.sign):
        return _constant(mpmath.mpf(_sign(x[0][0])), len(x[0]) - 1)
    if isinstance(part, sympy.Heaviside):
        return _constant(mpmath.mpf((1 + _sign(x[0][0])) // 2), len(x[0]) - 1)
    name = part.func.__name__
    if name not in _FUNCTIONS:
        raise NotImplementedError(name)
    return _FUNCTIONS[name](x[0])


def _scaled(x: Series, factor: Any) -> Series:
    return [factor * c for c in x]


def _shifted(x: Series, value: Any) -> Series:
    """x + value."""
    return [x[0] + value, *x[1:]]


def _term(x: Sequence[Any], y: Sequence[Any], k: int) -> Any:
    """The coefficient of u^k of a product."""
    import mpmath

    return mpmath.fdot(x[: k + 1], y[k::-1])


def _product(x: Series, y: Series) -> Series:
    return [_term(x, y, k) for k in range(len(x))]


def _power(x: Series, c: Any, exponent: Series) -> Series:
    """x^c by (2), by products for c = 0, 1, .., and as e^(c log x) where c is no number."""
    if not c.is_number:
        return _exp(_product(exponent, _log(x)))
    if c.is_Integer and c >= 0:
        whole, square, n = _constant(x[0] * 0 + 1, len(x) - 1), x, int(c)
        while n:
            whole, square, n = _product(whole, square) if n % 2 else whole, _product(square, square) if n > 1 else square, n // 2
        return whole
    power = _number(c)
    y = [x[0] ** power]
    for k in range(1, len(x)):
        y.append(sum((power * j - k + j) * x[j] * y[k - j] for j in range(1, k + 1)) / (k * x[0]))
    return y


def _solved(y0: Any, x: Series, slope: Callable[[int, Series], Any]) -> Series:
    """y by (1), from y_0 and the coefficients s_k as functions of k and of y_0, .., y_k."""
    import mpmath

    y, s, weighted = [y0], list[Any](), [j * c for j, c in enumerate(x)]
    for k in range(1, len(x)):
        s.append(slope(k - 1, y))
        y.append(mpmath.fdot(weighted[1 : k + 1], s[::-1]) / k)
    return y


def _exp(x: Series) -> Series:
    import mpmath

    return _solved(mpmath.exp(x[0]), x, lambda k, y: y[k])


def _log(x: Series) -> Series:
    import mpmath

    slope = _reciprocal(x)
    return _solved(mpmath.log(x[0]), x, lambda k, y: slope[k])


def _reciprocal(x: Series, root: bool = False) -> Series:
    """1 / x, or 1 / sqrt(x)."""
    import sympy

    return _power(x, sympy.Rational(-1, 2) if root else sympy.Integer(-1), [])


def _rotation(x: Series) -> Series:
    """e^(i x)."""
    import mpmath

    return _exp(_scaled(x, mpmath.mpc(0, 1)))


def _tan(x: Series, sign: int) -> Series:
    """tan x with slope 1 + y^2, or tanh x with slope 1 - y^2."""
    import mpmath

    start = mpmath.tan(x[0]) if sign > 0 else mpmath.tanh(x[0])
    return _solved(start, x, lambda k, y: (k == 0) + sign * _term(y, y, k))


def _inverse(name: str, sign: int, root: bool) -> Callable[[Series], Series]:
    """The inverse function of that name in mpmath with slope 1 / (1 + sign x^2), or 1 / sqrt(1 + sign x^2)."""

    def function(x: Series) -> Series:
        import mpmath

        slope = _reciprocal(_shifted(_scaled(_product(x, x), sign), 1), root)
        return _solved(getattr(mpmath, name)(x[0]), x, lambda k, y: slope[k])

    return function


def _erf(x: Series) -> Series:
    import mpmath

    slope = _scaled(_exp(_scaled(_product(x, x), -1)), 2 / mpmath.sqrt(mpmath.pi))
    return _solved(mpmath.erf(x[0]), x, lambda k, y: slope[k])


def _softplus(x: Series) -> Series:
    import mpmath

    slope = _scaled(_shifted(_tan(_scaled(x, mpmath.mpf(0.5)), -1), 1), mpmath.mpf(0.5))
    return _solved(mpmath.log1p(mpmath.exp(x[0])), x, lambda k, y: slope[k])


def _hyperbolic(x: Series, sign: int) -> Series:
    """(e^x + sign e^-x) / 2."""
    return [(a + sign * b) / 2 for a, b in zip(_exp(x), _exp(_scaled(x, -1)), strict=True)]


_FUNCTIONS: dict[str, Callable[[Series], Series]] = {
    "exp": _exp,
    "log": _log,
    "sin": lambda x: [c.imag for c in _rotation(x)],
    "cos": lambda x: [c.real for c in _rotation(x)],
    "tan": lambda x: _tan(x, 1),
    "cot": lambda x: _reciprocal(_tan(x, 1)),
    "sinh": lambda x: _hyperbolic(x, -1),
    "cosh": lambda x: _hyperbolic(x, 1),
    "tanh": lambda x: _tan(x, -1),
    "asin": _inverse("asin", -1, True),
    "acos": lambda x: _scaled(_shifted(_inverse("asin", -1, True)(x), -_half_pi()), -1),
    "atan": _inverse("atan", 1, False),
    "asinh": _inverse("asinh", 1, True),
    "erf": _erf,
    "softplus": _softplus,
}


def _half_pi() -> Any:
    import mpmath

    return mpmath.pi / 2
