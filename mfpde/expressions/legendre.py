"""Gauss points on a piece of the line, and the Legendre coefficients that tell whether a function is a polynomial there."""

import numpy as np

# Gauss points of a piece.
POINTS = 20
X, W = np.polynomial.legendre.leggauss(POINTS)
# From values at the points to the coefficients, and to the last two, which vanish where all is resolved.
TO_LEGENDRE = np.polynomial.legendre.legvander(X, POINTS - 1) * W[:, None] * (np.arange(POINTS) + 0.5)
LAST_TWO = TO_LEGENDRE[:, -2:].copy()
