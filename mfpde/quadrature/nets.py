"""Scrambled Sobol' nets: points that fill the unit cube evenly, each of them uniform, and independent from scramble to scramble.

The mean over the points of one scramble is unbiased, so a few scrambles know the error of their mean (A. Owen, "Randomly
permuted (t, m, s)-nets", 1995; the scramble is SciPy's, of J. Matousek: linear, and a digital shift).
"""

import numpy as np
from numpy.typing import NDArray

# Half the distance of the corners of the grid on which the sampler puts its points: they are moved to the centres of its cells.
CENTRE = 2.0**-31
# No quantile at 0, which may be infinite.
LEAST = 2.0**-54


def scrambled_net(dimension: int, seed: np.random.Generator, first: int, last: int) -> NDArray[np.float64]:
    """The points [first, last) of a scrambled Sobol' sequence in (0, 1)^dimension, shape (last - first, dimension)."""
    from scipy.stats.qmc import Sobol

    points = Sobol(dimension, scramble=True, seed=seed)
    if first:
        points.fast_forward(first)
    # The sampler wants to be asked for 2^m points.
    cube = points.random(1 << max(last - first - 1, 0).bit_length())[: last - first]
    return np.asarray(np.maximum(cube + CENTRE, LEAST))
