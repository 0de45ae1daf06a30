"""Scrambled Sobol' nets: points that fill the unit cube evenly, each of them uniform, and independent from scramble to scramble.

Point k is the sum over the binary digits of k of direction numbers, digit by digit modulo 2.  Scrambling multiplies these by a
random lower triangular matrix of digits, and shifts all points by random digits (J. Matousek, "On the L2-discrepancy for anchored
boxes", 1998): the mean over the points of one scramble is unbiased, and a few scrambles know the error of their mean.
SciPy's `scipy.stats.qmc.Sobol` has the same points; its import takes as long as many a run.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Digits = NDArray[np.uint32]

BITS = 32
# Inner coefficients of a primitive polynomial modulo 2 of degree s, and the first s direction integers, from the second direction
# on: S. Joe and F. Y. Kuo, "Constructing Sobol sequences with better two-dimensional projections", 2008.
_JOE_KUO: tuple[tuple[int, tuple[int, ...]], ...] = (
    (0, (1,)),
    (1, (1, 3)),
    (1, (1, 3, 1)),
    (2, (1, 1, 1)),
    (1, (1, 1, 3, 3)),
    (4, (1, 3, 5, 13)),
    (2, (1, 1, 5, 5, 17)),
    (4, (1, 1, 5, 5, 5)),
    (7, (1, 1, 7, 11, 19)),
    (11, (1, 1, 5, 1, 1)),
    (13, (1, 1, 1, 3, 11)),
)
# Directions at the most.
LARGEST = 1 + len(_JOE_KUO)


@cache
def _directions() -> Digits:
    """Direction numbers, the first digit highest, shape (LARGEST, BITS)."""
    found = np.empty((LARGEST, BITS), dtype=np.uint64)
    found[0] = 1 << np.arange(BITS - 1, -1, -1, dtype=np.uint64)
    for row, (coefficients, integers) in zip(found[1:], _JOE_KUO, strict=True):
        s = len(integers)
        row[:s] = [m << (BITS - 1 - k) for k, m in enumerate(integers)]
        for k in range(s, BITS):
            row[k] = row[k - s] ^ (row[k - s] >> np.uint64(s))
            for j in range(1, s):
                if coefficients >> (s - 1 - j) & 1:
                    row[k] ^= row[k - j]
    return found.astype(np.uint32)


def sobol_digits(directions: Digits, first: int, last: int) -> Digits:
    """Sobol' points first, ..., last - 1 as whole numbers of 2^-BITS, not in Gray code's order, shape (directions, points)."""
    number = np.arange(first, last, dtype=np.uint32)
    found = np.zeros((len(directions), len(number)), dtype=np.uint32)
    for bit in range(max(last - 1, 0).bit_length()):
        found ^= directions[:, bit, None] * (number >> np.uint32(bit) & np.uint32(1))
    return found


def scrambled_net(dimension: int, seed: np.random.Generator, first: int, last: int) -> NDArray[np.float64]:
    """The points [first, last) of a scrambled Sobol' sequence in (0, 1)^dimension, shape (dimension, last - first).

    Args:
        dimension: Up to `LARGEST`.
        seed: Of the scramble.
        first, last: Which points; a net are the first 2^m.
    """
    digits = np.arange(BITS, dtype=np.uint32)
    plain = _directions()[:dimension]
    # Digit i of what a matrix makes of a number is the parity of its row i and the number.
    rows = seed.integers(0, 1 << BITS, (dimension, BITS), dtype=np.uint32) << (BITS - 1 - digits)
    rows |= np.uint32(1) << (BITS - 1 - digits)
    rows &= ~np.uint32(0) << (BITS - 1 - digits)
    parity = np.bitwise_count(rows[:, :, None] & plain[:, None, :]) & 1
    mixed = (parity.astype(np.uint32) << (BITS - 1 - digits)[:, None]).sum(axis=1, dtype=np.uint32)
    shift = seed.integers(0, 1 << BITS, (dimension, 1), dtype=np.uint32)
    return ((sobol_digits(mixed, first, last) ^ shift) + 0.5) * 2.0**-BITS
