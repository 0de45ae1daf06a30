"""Activations sigma and their Hermite coefficients.

    c_k(s) = E[ sigma(s G) he_k(G) ] = int sigma(u) he_k(u/s) gamma(u/s) du / s,   G ~ N(0, 1)

The integral runs over panels of the u axis on which sigma is resolved by Gauss-Legendre points: they are split at the
kinks, and halved until a Legendre expansion has converged; panels of the Gaussian's own width join them.  Arguments s
within one octave share their panels, so that sigma is evaluated once for all of them.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError, did_you_mean, quoted
from mfpde.expressions.code import evaluate
from mfpde.expressions.enclosures import TooManyBoxes
from mfpde.expressions.expression import Expression, parse
from mfpde.expressions.legendre import LAST_TWO, POINTS, W, X
from mfpde.expressions.reading import FUNCTIONS, TooCostly, limited

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
# Kinks and poles are looked for up to here; what is finite only up to the second number is accepted if more costs too much.
FAR, NEAR = 1000.0, 40.0
MOST_KINKS = 4096
LARGEST_DEGREE = 100
# Panels that may be needed for arguments s up to 4, and the reach of those.
MOST_PANELS, LARGEST_REACH = 5000, 48.0
# What varies within less than this is looked for by intervals: panels alone might leap over it.
PULSE = 1e-3
# The Gaussian's tail beyond this is 1e-32: nothing that grows like exp(u) shows.
REACH = 12.0
# Order of the series at 0, and the digits with which it is computed.
TAYLOR, DIGITS = 40, 60
# Activations that are kept: the same factors stand in many terms of a target.
MOST_KEPT = 256


@dataclass(frozen=True)
class Activation:
    """sigma; picklable, and without the parser's library once it is built.

    Attributes:
        text: As the user wrote it.
        source: The code in u, over the names of numpy and scipy.special, see `expressions.code.evaluate`.
        kinks: Points where sigma is not smooth, ascending.
        taylor: sigma^(n)(0) / sqrt(n!) for n = 0..TAYLOR, or None when a kink lies within 1/2 of 0.
        polynomial: Its coefficients, ascending and exact, if sigma is a polynomial; else None.
        pulses: Ends of further panels, where sigma varies within 1/1000, ascending.
    """

    text: str
    source: str
    kinks: tuple[float, ...]
    taylor: tuple[float, ...] | None
    polynomial: tuple[Fraction, ...] | None = None
    pulses: tuple[float, ...] = ()

    def __call__(self, u: Array) -> Array:
        """sigma(u), the shape of u."""
        return evaluate(self.source, {"u": u})

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

    def points(self, low: float, centre: float = 0.0, spread: float = 0.0) -> tuple[Array, Array]:
        """Quadrature points u, ascending, that resolve sigma(u) gamma((u - b) / s) for low <= s < 2 low and biases b within
        `spread` * low of `centre`, and their weights times sigma(u)."""
        edges = self.panels((2 * REACH + spread) * low, centre=centre)
        gaussian = centre + np.arange(-2 * REACH - spread, 2 * REACH + spread + 0.5, 0.75) * low
        edges = np.unique(np.concatenate((edges, gaussian)))
        half = np.diff(edges)[:, None] / 2
        u = (edges[:-1, None] + half * (1 + X)).ravel()
        return u, self(u) * (half * W).ravel()

    def _octave(self, s: Array, low: float, k_max: int) -> Array:
        """c_k(s) for low <= s < 2 low."""
        u, value = self.points(low)
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

    def panels(self, reach: float, most: float = np.inf, centre: float = 0.0) -> Array:
        """Ends of panels that resolve sigma within `reach` of `centre`.

        Raises:
            TooCostly: If they are more than `most`.
        """
        inside = [k for k in (*self.kinks, *self.pulses) if abs(k - centre) < reach]
        pending = np.unique(np.array([centre - reach, *inside, centre + reach]))
        done, width = [pending], np.inf
        low, high = pending[:-1], pending[1:]
        scale = max(1.0, float(np.abs(self(np.linspace(-1, 1, 65))).max()))
        while len(low) and width > 1e-7 * reach:
            middle, half = (low + high) / 2, (high - low) / 2
            value = self(middle[:, None] + half[:, None] * X)
            size = np.maximum(np.abs(value).max(axis=1), scale)
            # Deep down, what remains may be the rounding error of sigma's argument.
            slope = np.abs(np.diff(value, axis=1)).max(axis=1) / (half * np.diff(X).min())
            noise = np.where(half < reach / 2048, np.finfo(np.float64).eps * np.abs(middle) * slope, 0.0)
            rough = np.abs(value @ LAST_TWO).max(axis=1) > np.maximum(1e-14 * size, noise)
            low, high = np.concatenate((low[rough], middle[rough])), np.concatenate((middle[rough], high[rough]))
            done.append(middle[rough])
            if sum(map(len, done)) > most:
                raise TooCostly(
                    f"changes too quickly; allowed: what {most} polynomials of degree {POINTS - 1} resolve on |u| < {reach:g}"
                )
            width = float((high - low).max(initial=0.0))
        return np.unique(np.concatenate(done))


def parse_activation(text: str, key: str = KEY) -> Activation:
    """The activation given by a name or an expression in u.

    Args:
        text: What the user wrote.
        key: Where, for messages.

    Raises:
        InputError: If it is neither, or not real and finite, or grows so fast that E sigma(s G)^2 is infinite at s = 2.
    """
    with limited(key, text):
        return activation_of(activation_expression(text, key), text, key)


@lru_cache(MOST_KEPT)
def activation_of(expression: Expression, text: str, key: str) -> Activation:
    """The function of u that an expression is; `text` and `key` as for `parse_activation`.

    Raises:
        InputError: If it is not real and finite, or grows so fast that E sigma(s G)^2 is infinite at s = 2.
    """
    with limited(key, text):
        activation = Activation(str(text), expression.source, (), None)
        _check_finite(activation, key)
        try:
            # As rounded, roots that two switches have in common are one.
            kinks = sorted({round(kink, 15) for kink in expression.kinks(-FAR, FAR, MOST_KINKS)})
            if len(kinks) > MOST_KINKS:
                raise TooCostly(f"has {len(kinks)} kinks; allowed: at most {MOST_KINKS} in [{-FAR:g}, {FAR:g}]")
            activation = replace(activation, kinks=tuple(kinks))
            _check_defined(expression, activation, key)
            activation = replace(activation, pulses=_pulses(expression, activation.kinks))
            activation.panels(LARGEST_REACH, MOST_PANELS)
            taylor = None if any(abs(k) < 0.5 for k in activation.kinks) else _taylor(expression)
            return replace(activation, taylor=taylor, polynomial=_polynomial(expression))
        except TooCostly as error:
            raise InputError(f"{key}: {quoted(text)} {error}") from None


def activation_expression(text: str, key: str = KEY) -> Expression:
    """sigma as an expression in u.

    Raises:
        InputError: If it is neither a known name nor an expression in u.
    """
    name = str(text).strip()
    if len(name) <= 40 and name.isidentifier() and name not in NAMES and name not in ("u", "pi", "e"):
        hint = did_you_mean(name, NAMES)
        raise InputError(f"{key}: unknown activation {quoted(name)}{hint}; allowed: {', '.join(NAMES)}, or an expression in u")
    return parse(NAMES.get(name, text), ["u"], key)


def derivative(activation: Activation) -> Activation:
    """sigma', for sigma without jumps.

    Raises:
        InputError: If sigma jumps, so that its derivative is no function.
    """
    slope = activation_expression(activation.text).derivative
    if slope.infinite or _jumps(activation):
        raise InputError(f"{KEY}: {quoted(activation.text)} jumps, so it has no gradient in x; allowed with SGD: continuous ones")
    return Activation(f"derivative of {activation.text}", slope.source, activation.kinks, None)


def _jumps(activation: Activation) -> bool:
    """Whether sigma has other limits on the left than on the right of a kink."""
    kinks = np.array(activation.kinks)
    far, near = (
        np.abs(activation(kinks + beside) - activation(kinks - beside))
        for beside in (1e-9 * (1 + np.abs(kinks)), 1e-11 * (1 + np.abs(kinks)))
    )
    return bool(((near > 0.5 * far) & (near > 1e-9 * (1 + np.abs(activation(kinks))))).any())


def _check_finite(activation: Activation, key: str) -> None:
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
            f"{key}: {quoted(activation.text)} is not finite and real at u = {at:.6g}, or grows too fast; allowed: expressions "
            f"in u that are finite for all u and grow slower than exp(u^2/16), with the functions {' '.join(FUNCTIONS)}"
        )


def _polynomial(expression: Expression) -> tuple[Fraction, ...] | None:
    if expression.is_polynomial and expression.degree > LARGEST_DEGREE:
        raise TooCostly(f"has degree {expression.degree}; allowed: degrees up to {LARGEST_DEGREE}")
    return expression.polynomial


def _pulses(expression: Expression, kinks: tuple[float, ...]) -> tuple[float, ...]:
    if expression.constant:
        return ()
    edges = sorted({-LARGEST_REACH, LARGEST_REACH, *(k for k in kinks if abs(k) < LARGEST_REACH)})
    found = expression.pulse_edges(edges, PULSE)
    if len(found) > MOST_PANELS:
        raise TooCostly(f"changes too quickly; allowed: at most {MOST_PANELS} panels narrower than {PULSE:g}")
    return tuple(sorted(found))


def _check_defined(expression: Expression, activation: Activation, key: str) -> None:
    """Refuses poles, also between sampled points."""
    if expression.constant:
        return
    for far in (FAR, NEAR):
        try:
            edges = sorted({-far, 0.0, far, *(k for k in activation.kinks if abs(k) < far)})
            pole = expression.undefined_point(edges)
        except TooManyBoxes:
            continue
        except NotImplementedError:
            return
        if pole is None:
            return
        raise InputError(
            f"{key}: {quoted(activation.text)} is not finite and real at u = {pole:.9g}; "
            "allowed: expressions in u that are finite for all u"
        )
    raise TooCostly(f"cannot be shown to be finite on [-{NEAR:g}, {NEAR:g}] at a bearable cost; allowed: simpler expressions")


def _taylor(expression: Expression) -> tuple[float, ...] | None:
    """sigma^(n)(0) / sqrt(n!) for n = 0..TAYLOR."""
    import mpmath

    series = expression.taylor(TAYLOR, DIGITS)
    if series is None:
        return None
    with mpmath.workdps(DIGITS):
        return tuple(float(c * mpmath.sqrt(mpmath.factorial(n))) for n, c in enumerate(series))
