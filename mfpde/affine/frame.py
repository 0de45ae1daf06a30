"""The moving frame v = M + L y of each slice.

It follows the slice's mean and the least-squares linear fit of its velocity (expectations under the slice's density):

    L' = Cov(v', y) Cov(y)^{-1},    M' = E[v'] - L' E[y],

so that the remainder y' = L^{-1} (v' - M' - L' y) keeps E[y] = 0 and Cov(y) = 1, and vanishes as d -> inf.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def frame_velocity(fit: Array, p: int) -> tuple[Array, Array]:
    """The frame's velocity from integrals over each slice's density.

    Args:
        fit: Integrals of 1, y, v', y y^T, v' y^T, flattened, shape (slices, 1 + 2 p + 2 p^2).
        p: Dimension of y.

    Returns:
        M' and L', shapes (slices, p) and (slices, p, p).
    """
    mean = fit[:, 1:] / fit[:, :1]
    y, v, second = mean[:, :p], mean[:, p : 2 * p], mean[:, 2 * p :].reshape(-1, 2, p, p)
    covariance = second[:, 0] - y[:, :, None] * y[:, None, :]
    mixed = second[:, 1] - v[:, :, None] * y[:, None, :]
    dL = np.linalg.solve(covariance, mixed.swapaxes(1, 2)).swapaxes(1, 2)  # covariance is symmetric
    return v - (dL @ y[:, :, None])[:, :, 0], dL


def taper(y: Array, half_width: float, begin: float) -> Array:
    """chi_q = 1 for |y_q| <= begin, falling smoothly (C^2) to 0 at the wall |y_q| = half_width; the shape of y."""
    x = np.clip((half_width - np.abs(y)) / (half_width - begin), 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
