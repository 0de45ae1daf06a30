"""Neurons on the sphere |w| = 1, w = (v, r): the projected gradient, and the way back to the sphere.

    w' = (I - w w^T / |w|^2) F(w / |w|)

leaves |w| as it is, and features are taken at w / |w|: what an integrator drifts off by is never seen.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def normalised(v: Array, r: Array) -> tuple[Array, Array]:
    """w / |w| for v (p, n) and r (n,)."""
    norm = np.sqrt((v**2).sum(axis=0) + r**2)
    return v / norm, r / norm


def project(v: Array, r: Array, dv: Array, dr: Array) -> None:
    """Takes the radial part off a velocity dv (p, n), dr (n,), in place, at v, r on the sphere."""
    along = (v * dv).sum(axis=0) + r * dr
    dv -= along * v
    dr -= along * r
