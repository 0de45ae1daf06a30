"""The Hermite coefficients c_k(s) of an activation, compiled: what tables are made of."""

from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.compile import load_compiled
from mfpde.problem.activation import REACH, Activation

Array = NDArray[np.float64]

DECLARATIONS = """
void hermite_sums(int64_t scales, const double *s, int64_t points, const double *u, const double *value, int32_t K,
    double reach, double *c);
"""


def hermite_coefficients(activation: Activation, s: Array, k_max: int) -> Array:
    """c_k(s) for k = 0..k_max, shape (len(s), k_max + 1): `Activation.hermite`, many times as fast.

    Args:
        activation: sigma.
        s: Positive, shape (n,).
        k_max: Largest degree.
    """
    compiled = load_compiled(MPI.COMM_SELF, Path(__file__).with_name("hermite.c"), DECLARATIONS, {})
    pointer, out = compiled.ffi.from_buffer, np.empty((len(s), k_max + 1))
    octave = np.floor(np.log2(s))
    for e in np.unique(octave):
        here = np.flatnonzero(octave == e)
        u, value = activation.points(float(2.0**e))
        scales, sums = np.ascontiguousarray(s[here]), np.empty((len(here), k_max + 1))
        arrays = [pointer("double[]", x) for x in (scales, u, value, sums)]
        compiled.lib.hermite_sums(len(scales), arrays[0], len(u), arrays[1], arrays[2], k_max, REACH, arrays[3])
        out[here] = sums
    return out
