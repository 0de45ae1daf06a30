"""Tables of G_k(S) = c_k(s) / s^k, S = s^2, for the compiled features.

For smooth sigma, G_k is smooth in S down to 0: G_k(0) = sigma^(k)(0) / sqrt(k!) and dG_k/dS = 1/2 sqrt((k+1)(k+2))
G_{k+2}.  Each octave of S has 16 intervals with a polynomial of degree 7, so that the relative resolution is the same
at every scale, which is what kinked activations (G_k ~ S^{(1-k)/2}) need; the exponent and the top mantissa bits of S
are the number of its interval.
"""

from dataclasses import dataclass, replace
from math import factorial, sqrt

import numpy as np
from numpy.typing import NDArray

from mfpde.features.hermite.coefficients import hermite_coefficients
from mfpde.problem.activation import Activation

Array = NDArray[np.float64]

PER_OCTAVE = 16
TERMS = 8
SMOOTH_FLOOR, KINKED_FLOOR = -8, -30


@dataclass(frozen=True)
class Table:
    """Polynomials of degree 7 in x = 2 (S - left) / width - 1 on each interval.

    Interval 0 is [0, 2^exponent); interval 1 + i is [2^e (1 + (i mod 16) / 16), + 2^e / 16) with e = exponent + i div 16.

    Attributes:
        n_k: Number of functions, k = 0..n_k - 1.
        exponent: Binary exponent of the end of interval 0.
        coefficients: Monomial coefficients, shape (intervals, 8, stride), zero for k >= n_k; stride is a multiple of 4.
    """

    n_k: int
    exponent: int
    coefficients: Array

    @property
    def stride(self) -> int:
        return int(self.coefficients.shape[2])

    def narrow(self, n_k: int) -> "Table":
        """The first n_k functions."""
        return Table(n_k, self.exponent, np.ascontiguousarray(self.coefficients[:, :, : -(-n_k // 4) * 4]))

    @property
    def S_max(self) -> float:
        """Upper end of the last interval."""
        return float(2.0 ** (self.exponent + (len(self.coefficients) - 1) // PER_OCTAVE))


def table_of(activation: Activation, k_max: int, S_max: float) -> Table:
    """A table of G_0..G_{k_max} that reaches S_max or further, from those that were made before if they suffice."""
    known = _KNOWN.get(activation)
    if known is None or known.n_k <= k_max:
        known = build_table(activation, max(k_max, WIDE), max(S_max, 0.0 if known is None else known.S_max))
    known = extend_table(known, activation, S_max)
    _KNOWN.pop(activation, None)
    _KNOWN[activation] = known  # the latest last
    while len(_KNOWN) > MOST_KNOWN:
        del _KNOWN[next(iter(_KNOWN))]
    return known.narrow(k_max + 1)


# Tables made before, widest and longest, by activation: a study runs the same one many times.
_KNOWN: dict[Activation, Table] = {}
# How many are kept; and functions of a table that is made, at least: the next run is likely to want more.
MOST_KNOWN, WIDE = 8, 34


def build_table(activation: Activation, k_max: int, S_max: float) -> Table:
    """The table of G_0..G_{k_max} on [0, S_max], rounded up to whole octaves.

    An activation with a kink at (or near) 0 has no limit of G_k there: interval 0, |w| < 3e-5, is then held constant.
    """
    smooth = activation.taylor is not None
    exponent = SMOOTH_FLOOR if smooth else KINKED_FLOOR
    first = np.zeros((1, TERMS, -(-(k_max + 1) // 4) * 4))
    if smooth:
        first[0, :, : k_max + 1] = _taylor_interval(activation, k_max, exponent)
    else:
        s = np.array([2.0 ** (exponent / 2)])
        first[0, 0, : k_max + 1] = activation.hermite(s, k_max)[0] / s ** np.arange(k_max + 1.0)
    return extend_table(Table(k_max + 1, exponent, first), activation, S_max)


def extend_table(table: Table, activation: Activation, S_max: float) -> Table:
    """The same table with octaves appended until it reaches S_max."""
    present = table.exponent + (len(table.coefficients) - 1) // PER_OCTAVE
    octaves = np.arange(present, max(int(np.ceil(np.log2(S_max))), present))
    if not len(octaves):
        return table
    left = (2.0 ** octaves[:, None] * (1 + np.arange(PER_OCTAVE) / PER_OCTAVE)).ravel()
    width = np.repeat(2.0**octaves / PER_OCTAVE, PER_OCTAVE)
    x = np.cos(np.pi * (np.arange(TERMS) + 0.5) / TERMS)
    s = np.sqrt(left[:, None] + width[:, None] * (x + 1) / 2).ravel()
    values = hermite_coefficients(activation, s, table.n_k - 1) / s[:, None] ** np.arange(float(table.n_k))
    new = np.zeros((len(left), TERMS, table.stride))
    new[:, :, : table.n_k] = np.linalg.inv(np.vander(x, increasing=True)) @ values.reshape(len(left), TERMS, -1)
    return replace(table, coefficients=np.concatenate((table.coefficients, new)))


def evaluate(table: Table, S: Array) -> Array:
    """G_k(S) from the table, shape (n, n_k): the reference for the compiled look-up."""
    fraction, exponent = np.frexp(S)
    octave = exponent - 1 - table.exponent
    number = np.where(2.0**table.exponent > S, 0, 1 + PER_OCTAVE * octave + np.floor((2 * fraction - 1) * PER_OCTAVE))
    number = number.astype(int)
    left = np.where(number == 0, 0.0, 2.0 ** (exponent - 1) * (1 + ((number - 1) % PER_OCTAVE) / PER_OCTAVE))
    width = np.where(number == 0, 2.0**table.exponent, 2.0 ** (exponent - 1) / PER_OCTAVE)
    powers = (2 * (S - left) / width - 1)[:, None] ** np.arange(TERMS)
    return np.asarray(np.einsum("nm,nmk->nk", powers, table.coefficients[number])[:, : table.n_k])


def _taylor_interval(activation: Activation, k_max: int, exponent: int) -> Array:
    """Coefficients in x on [0, 2^exponent) of G_k(S) = sum_m sqrt((k+2m)!/k!) / (2^m m!) G_{k+2m}(0) S^m."""
    assert activation.taylor is not None
    # Beyond the known derivatives 0 will do: they come with powers of 2^exponent that are below rounding.
    limit = np.zeros(k_max + 2 * TERMS)
    known = activation.taylor[: len(limit)]
    limit[: len(known)] = known
    series = np.array(
        [
            [sqrt(factorial(k + 2 * m) // factorial(k)) / (2**m * factorial(m)) * limit[k + 2 * m] for k in range(k_max + 1)]
            for m in range(TERMS)
        ]
    )
    half = 2.0 ** (exponent - 1)  # S = half (x + 1)
    shift = np.array([[_binomial(m, j) * half**m for m in range(TERMS)] for j in range(TERMS)])
    return np.asarray(shift @ series)


def _binomial(m: int, j: int) -> int:
    return factorial(m) // (factorial(j) * factorial(m - j)) if j <= m else 0
