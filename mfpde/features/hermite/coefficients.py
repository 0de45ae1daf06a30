"""The Hermite coefficients c_k(s, b) = E[sigma(s G + b) he_k(G)] of an activation, compiled: what tables are made of."""

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.compile import ALIGNMENT, aligned, load_compiled
from mfpde.problem.activation import REACH, Activation

Array = NDArray[np.float64]

DECLARATIONS = """
void hermite_sums(int64_t scales, const double *s, const double *b, int64_t points, const double *u, const double *value,
    int32_t K, double reach, double *c, double *work);
"""
# Biases within this many s of one another share their quadrature points.
SHARED = 8


def hermite_coefficients(activation: Activation, s: Array, k_max: int, b: Array | None = None) -> Array:
    """c_k(s, b) for k = 0..k_max, shape (len(s), k_max + 1): `Activation.hermite`, many times as fast.

    Args:
        activation: sigma.
        s: Positive, shape (n,).
        k_max: Largest degree.
        b: Likewise; 0 if not given.
    """
    compiled = _compiled()
    pointer, out = compiled.ffi.from_buffer, np.empty((len(s), k_max + 1))
    work = aligned(3 * (k_max + 1) * ALIGNMENT // 8)
    low = 2.0 ** np.floor(np.log2(s))
    shared, b = b is not None and b.any(), np.zeros_like(s) if b is None else b
    centre = np.round(b / (SHARED * low)) * (SHARED * low)
    for scale, middle in np.unique(np.stack((low, centre)), axis=1).T.tolist():
        here = np.flatnonzero((low == scale) & (centre == middle))
        u, value = _points(activation, scale, middle) if shared else activation.points(scale)
        scales, biases, sums = np.ascontiguousarray(s[here]), np.ascontiguousarray(b[here]), np.empty((len(here), k_max + 1))
        arrays = [pointer("double[]", x) for x in (scales, biases, u, value, sums, work)]
        compiled.lib.hermite_sums(len(scales), *arrays[:2], len(u), *arrays[2:4], k_max, REACH, *arrays[4:])
        out[here] = sums
    return out


@cache
def _compiled() -> Any:
    return load_compiled(MPI.COMM_SELF, Path(__file__).with_name("coefficients.c"), DECLARATIONS, {})


@lru_cache(256)
def _points(activation: Activation, low: float, centre: float) -> tuple[Array, Array]:
    """Those for biases within SHARED / 2 low of `centre`; they are wanted again and again, for a few of them at a time."""
    return activation.points(low, centre, SHARED / 2)
