"""Activations sigma and their Hermite coefficients.

    c_k(s) = E[ sigma(s G) he_k(G) ] = int sigma(u) he_k(u/s) gamma(u/s) du / s,   G ~ N(0, 1)

The integral runs over panels of the u axis on which sigma is resolved by Gauss-Legendre points: they are split at the
kinks, and halved until a Legendre expansion has converged; panels of the Gaussian's own width join them.  Arguments s
within one octave share their panels, so that sigma is evaluated once for all of them.
"""

import difflib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.problem.expressions import rational_number

Array = NDArray[np.float64]

NAMES = {
    "relu": "max(u, 0)",
    "leaky_relu": "max(u, u/100)",
    "abs": "abs(u)",
    "identity": "u",
    "quadratic": "u**2",
    "step": "heaviside(u)",
    **{name: f"{name}(u)" for name in ["tanh", "sigmoid", "erf", "gelu", "softplus", "sin", "cos", "exp"]},
}
KEY = "network.activation"
# The Gaussian's tail beyond this is 1e-32: nothing that grows like exp(u) shows.
REACH = 12.0
POINTS = 20
TAYLOR = 40


@dataclass(frozen=True)
class Activation:
    """sigma; picklable, and without the parser's library once it is built.

    Attributes:
        text: As the user wrote it.
        source: Python source in u, over the names of numpy and scipy.special.
        kinks: Points where sigma is not smooth, ascending.
        taylor: sigma^(n)(0) / sqrt(n!) for n = 0..TAYLOR, or None when a kink lies within 1/2 of 0.
        polynomial: Its coefficients, ascending and exact, if sigma is a polynomial; else None.
    """

    text: str
    source: str
    kinks: tuple[float, ...]
    taylor: tuple[float, ...] | None
    polynomial: tuple[Fraction, ...] | None = None

    def __call__(self, u: Array) -> Array:
        """sigma(u), the shape of u."""
        value = eval(_compiled(self.source), _namespace(), {"u": u})
        return np.broadcast_to(np.asarray(value, dtype=np.float64), np.shape(u))

    def hermite(self, s: Array, k_max: int) -> Array:
        """c_k(s) for k = 0..k_max, shape (len(s), k_max + 1), to 1e-14 of the norm of sigma(s G).

        Args:
            s: Non-negative, shape (n,).
            k_max: Largest degree.
        """
        c = np.zeros((len(s), k_max + 1))
        zero = s == 0
        c[zero, 0] = self(np.zeros(1))[0]
        octave = np.where(zero, 0, np.floor(np.log2(np.where(zero, 1.0, s))))
        for e in np.unique(octave[~zero]):
            here = np.flatnonzero(~zero & (octave == e))
            c[here] = self._octave(s[here], float(2.0**e), k_max)
        return c

    def _octave(self, s: Array, low: float, k_max: int) -> Array:
        """c_k(s) for low <= s < 2 low."""
        x, w = np.polynomial.legendre.leggauss(POINTS)
        edges = self._edges(2 * low * REACH)
        gaussian = np.arange(-2 * REACH, 2 * REACH + 0.5, 0.75) * low
        edges = np.unique(np.concatenate((edges, gaussian)))
        half = np.diff(edges)[:, None] / 2
        u = (edges[:-1, None] + half * (1 + x)).ravel()
        value = self(u) * (half * w).ravel()
        c = np.empty((len(s), k_max + 1))
        for i, scale in enumerate(s):
            g = u / scale
            kept = np.abs(g) <= REACH
            g = g[kept]
            weighted = value[kept] * np.exp(-0.5 * g * g) * (1 / (np.sqrt(2 * np.pi) * scale))
            before, now = np.zeros_like(g), weighted
            for k in range(k_max + 1):
                c[i, k] = now.sum()
                before, now = now, (g * now - np.sqrt(k) * before) / np.sqrt(k + 1)
        return c

    def _edges(self, reach: float) -> Array:
        """Ends of panels that resolve sigma on [-reach, reach]."""
        x, w = np.polynomial.legendre.leggauss(POINTS)
        top = np.polynomial.legendre.legvander(x, POINTS - 1)[:, -2:] * w[:, None] * (POINTS - np.array([1.5, 0.5]))
        inside = [k for k in self.kinks if abs(k) < reach]
        pending = np.unique(np.array([-reach, *inside, reach]))
        done, width = [pending], np.inf
        low, high = pending[:-1], pending[1:]
        scale = max(1.0, float(np.abs(self(np.linspace(-1, 1, 65))).max()))
        while len(low) and width > 1e-7 * reach:
            middle, half = (low + high) / 2, (high - low) / 2
            value = self(middle[:, None] + half[:, None] * x)
            size = np.maximum(np.abs(value).max(axis=1), scale)
            rough = np.abs(value @ top).max(axis=1) > 1e-14 * size
            low, high = np.concatenate((low[rough], middle[rough])), np.concatenate((middle[rough], high[rough]))
            done.append(middle[rough])
            width = float((high - low).max(initial=0.0))
        return np.unique(np.concatenate(done))


@cache
def _compiled(source: str) -> Any:
    return compile(source, "<activation>", "eval")


@cache
def _namespace() -> dict[str, Any]:
    from scipy import special

    return {**vars(special), **vars(np), "__builtins__": {}, "softplus": lambda x: np.logaddexp(0.0, x)}


def parse_activation(text: str, key: str = KEY) -> Activation:
    """The activation given by a name or an expression in u.

    Args:
        text: What the user wrote.
        key: Where, for messages.

    Raises:
        InputError: If it is neither, or not real and finite, or grows so fast that E sigma(s G)^2 is infinite at s = 2.
    """
    import sympy

    from mfpde.problem.expressions import FUNCTIONS, source

    u = sympy.Symbol("u", real=True)
    expression = activation_expression(text, key)
    kinks = _kinks(expression, u)
    taylor = None if any(abs(k) < 0.5 for k in kinks) else _taylor(expression, u)
    activation = Activation(str(text), source(expression, "numpy"), kinks, taylor, _polynomial(expression, u))
    _check_finite(activation, key, FUNCTIONS)
    return activation


def activation_expression(text: str, key: str = KEY) -> Any:
    """sigma as a SymPy expression in the real symbol u.

    Raises:
        InputError: If it is neither a known name nor an expression in u.
    """
    from mfpde.problem.expressions import parse

    name = str(text).strip()
    if name.isidentifier() and name not in NAMES and name not in ("u", "pi", "e"):
        near = difflib.get_close_matches(name, NAMES, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"{key}: unknown activation {name!r}{hint}; allowed: {', '.join(NAMES)}, or an expression in u")
    return parse(NAMES.get(name, text), ["u"], key)


def derivative(activation: Activation) -> Activation:
    """sigma', for sigma without jumps.

    Raises:
        InputError: If sigma jumps, so that its derivative is no function.
    """
    import sympy

    from mfpde.problem.expressions import source

    class Softplus(sympy.Function):  # type: ignore[misc]
        def fdiff(self, argindex: int = 1) -> Any:
            return (1 + sympy.tanh(self.args[0] / 2)) / 2

    plain, u = sympy.Function("softplus"), sympy.Symbol("u", real=True)
    slope = activation_expression(activation.text).replace(plain, Softplus).diff(u).replace(Softplus, plain)
    if slope.has(sympy.DiracDelta):
        raise InputError(f"{KEY}: {activation.text!r} jumps, so it has no gradient in x; allowed with SGD: continuous ones")
    return Activation(f"derivative of {activation.text}", source(slope, "numpy"), activation.kinks, None)


def _check_finite(activation: Activation, key: str, functions: list[str]) -> None:
    sample = np.concatenate((np.linspace(-40.0, 40.0, 16001), np.linspace(-1.0, 1.0, 4001)))
    with np.errstate(all="ignore"):
        try:
            value = activation(sample)
        except (TypeError, NameError, AttributeError):
            value = np.full_like(sample, np.nan)
        # E sigma(s G)^2 at s = 2 is finite if the integrand has died out at |u| = 40.
        bounded = np.log(np.abs(value) + 1.0) * 2 < 0.5 * (sample / 2) ** 2 + 60
    wrong = sample[~(np.isfinite(value) & bounded)]
    if len(wrong):
        at = wrong[np.argmin(np.abs(wrong))]
        raise InputError(
            f"{key}: {activation.text!r} is not finite and real at u = {at:.6g}, or grows too fast; allowed: expressions in u "
            f"that are finite for all u and grow slower than exp(u^2/16), with the functions {' '.join(functions)}"
        )


def _polynomial(expression: Any, u: Any) -> tuple[Fraction, ...] | None:
    import sympy

    if not expression.is_polynomial(u):
        return None
    ascending = reversed(sympy.Poly(expression, u).all_coeffs())
    return tuple(rational_number(value) for value in ascending)


def _kinks(expression: Any, u: Any) -> tuple[float, ...]:
    """Real roots of the arguments at which abs, max, min, sign and heaviside switch."""
    import sympy

    switches = []
    for part in sympy.preorder_traversal(expression):
        if isinstance(part, sympy.Abs | sympy.sign | sympy.Heaviside):
            switches.append(part.args[0])
        elif isinstance(part, sympy.Max | sympy.Min):
            switches += [a - b for i, a in enumerate(part.args) for b in part.args[:i]]
    points = {round(float(x), 15) for switch in switches for x in _real_roots(switch, u)}
    return tuple(sorted(points))


def _real_roots(expression: Any, u: Any) -> list[Any]:
    import sympy

    roots = sympy.solveset(expression, u, sympy.Interval(-1000, 1000))
    if isinstance(roots, sympy.FiniteSet):
        return list(roots)
    # No closed form: sign changes on a fine grid, refined.
    f = sympy.lambdify(u, expression, "numpy")
    grid = np.linspace(-40.0, 40.0, 80001)
    value = np.broadcast_to(f(grid), grid.shape)
    from scipy.optimize import brentq

    return [brentq(f, grid[i], grid[i + 1], xtol=1e-15) for i in np.flatnonzero(value[1:] * value[:-1] < 0)]


def elementary(expression: Any) -> Any:
    """The expression with softplus as log(1 + e^x): for other arithmetic than floating point, where that overflows."""
    import sympy

    return expression.replace(sympy.Function("softplus"), lambda x: sympy.log(1 + sympy.exp(x)))


def _taylor(expression: Any, u: Any) -> tuple[float, ...] | None:
    """sigma^(n)(0) / sqrt(n!) from a discrete Cauchy integral in extended precision."""
    import mpmath
    import sympy

    f = sympy.lambdify(u, elementary(expression), "mpmath")
    with mpmath.workdps(60):
        try:
            series = mpmath.taylor(f, 0, TAYLOR)
            return tuple(float(mpmath.re(c) * mpmath.sqrt(mpmath.factorial(n))) for n, c in enumerate(series))
        except (ZeroDivisionError, ValueError, TypeError, NotImplementedError):
            return None
