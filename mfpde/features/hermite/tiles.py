"""G_k(S, b) = c_k(s, b) / s^k with biases, c_k(s, b) = E[sigma(s G + b) he_k(G)], in tiles of (S, b), made where neurons are.

g_k = sqrt(k!) G_k has dg_k/db = g_{k+1} and, as for the heat equation, dg_k/dS = 1/2 g_{k+2}.  So the functions themselves at
one point, the centre of a tile, are their own Taylor coefficients in both variables (tiles.h): a row of numbers is all that a
tile holds, and what is looked up costs one sum over TERMS of them.

An octave of S has 32 intervals, and panels of b at most s / 4 wide: within a tile b changes by s / 8 and S by S / 64 at the most,
so that the terms that are left out are the same small share of sigma's size at every scale, which is what kinked activations
need (there G_k varies in b on the scale s).  s^k G_k errs by 1e-12 of that size for k up to about 15, by 5e-12 at k = 21, and by
1e-11 for tanh(5 u).  Smooth activations have one interval [0, 2^-16) below all octaves.  For kinked ones S is raised to 2^-18,
|w| to s_0 = 0.002: sigma(w.x + b) with slopes up to L then errs by at most L s_0 in the root of its mean square, and for b
further than a few s_0 from a kink hardly at all.
"""

from math import factorial, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.features.hermite.coefficients import hermite_coefficients
from mfpde.problem.activation import Activation

Array = NDArray[np.float64]

PER_OCTAVE, PANEL, TERMS, MIDDLE = 32, 2, 16, 2**43
SMOOTH_FLOOR, KINKED_FLOOR = -16, -18
# Functions of a row, at least, and what their number is rounded up to: the next run is likely to want more.
WIDE, STEP = 56, 16
# Activations whose tiles are kept.
MOST_KNOWN = 8


class Tiles:
    """The tiles of one activation that were needed so far.

    Attributes:
        exponent: The interval of S below all octaves is [0, 2^exponent).
        least: S below it are raised to it.
        length: Length of a row: S_0, b_0 and g_k for k = 0..length - 3.
        rows, keys: Rows and keys of the tiles, shapes (at least count, length), (at least count,).
        slots, bits: Numbers of tiles by a hash of their keys, shape (2^bits,).
        count: Number of the tiles.
    """

    def __init__(self, activation: Activation, length: int) -> None:
        self.activation, self.length = activation, length
        smooth = activation.taylor is not None
        self.exponent = SMOOTH_FLOOR if smooth else KINKED_FLOOR
        self.least = 0.0 if smooth else 2.0**KINKED_FLOOR
        self.count = 0
        self.rows, self.keys = np.zeros((1, length)), np.empty(1, dtype=np.int64)
        self.bits, self.slots = 1, np.full(2, -1, dtype=np.int32)

    def centres(self, keys: NDArray[np.int64]) -> tuple[Array, Array]:
        """(S_0, b_0) of the tiles with these keys."""
        i, j = keys >> 44, (keys & (2**44 - 1)) - MIDDLE
        octave = self.exponent + np.maximum(i - 1, 0) // PER_OCTAVE
        S = 2.0**octave * np.where(i == 0, 0.5, 1 + ((i - 1) % PER_OCTAVE + 0.5) / PER_OCTAVE)
        return S, (j + 0.5) * 2.0 ** (octave // 2 - PANEL)

    def add(self, keys: NDArray[np.int64], lib: Any, ffi: Any) -> None:
        """Makes tiles that are not there yet; `lib` is the compiled code, see tiles.h."""
        S, b = self.centres(keys)
        s, k = np.sqrt(S), np.arange(self.length - 2)
        with np.errstate(all="ignore"):  # an activation that overflows there shows in the moments, which are checked
            c = hermite_coefficients(self.activation, s, self.length - 3, b)
            g = c * np.array([sqrt(factorial(n)) for n in k.tolist()]) / s[:, None] ** k
        before, self.count = self.count, self.count + len(keys)
        new = slice(before, self.count)
        if self.count > len(self.keys):
            room = max(1024, 2 * self.count)
            old, self.rows, self.keys = (self.rows, self.keys), np.empty((room, self.length)), np.empty(room, dtype=np.int64)
            self.rows[:before], self.keys[:before] = (values[:before] for values in old)
            self.bits = (2 * room).bit_length()
            self.slots, before = np.full(2**self.bits, -1, dtype=np.int32), 0
        self.keys[new] = keys
        self.rows[new] = np.column_stack((S, b, g))
        pointer = ffi.from_buffer
        lib.enter(pointer("int32_t[]", self.slots), self.bits, pointer("int64_t[]", self.keys), before, self.count)


def tiles_of(activation: Activation, n_k: int) -> Tiles:
    """Tiles of G_0..G_{n_k - 1} at least, those that were made before if they suffice; the same ones for all that ask."""
    length = 2 + max(WIDE, -(-(n_k + 4 + TERMS) // STEP) * STEP)
    known = _KNOWN.pop(activation, None)
    if known is None or known.length < length:
        known = Tiles(activation, length)
    _KNOWN[activation] = known  # the latest last
    while len(_KNOWN) > MOST_KNOWN:
        del _KNOWN[next(iter(_KNOWN))]
    return known


_KNOWN: dict[Activation, Tiles] = {}
