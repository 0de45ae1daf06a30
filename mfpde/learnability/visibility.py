"""Which Hermite degrees of h* an activation sees.

    kappa_n(u, s) = E sigma^(n)(u + s G),  G ~ N(0, 1),        kappa_n(0, s) = sqrt(n!) c_n(s) / s^n          (1)

(a heat average, so it is defined for activations with kinks and jumps as well).  Degree n is seen

* by Definition 3.3, which asks for all shifts u, iff kappa_n is not 0 for all (u, s), that is iff sigma^(n) is not 0:
  every n for a sigma that is not a polynomial, n <= deg sigma for a polynomial;
* by the flow of a network without bias, whose shift is w_{V perp}.x ~ N(0, r^2), iff kappa_n(0, s) is not 0 for all s, that
  is iff the part of sigma with the parity of n is no polynomial of degree < n.  An odd activation sees odd degrees, ReLU
  = u/2 + |u|/2 sees 1 and the even ones; what is not seen can be neither followed nor represented.
"""

from dataclasses import dataclass

import numpy as np

from mfpde.expressions.reading import limited
from mfpde.problem.activation import KEY, Activation, activation_expression

# c_n(s) is computed to about 1e-14 of the norm of sigma; an analytic sigma's coefficients decay, but not to this.
INVISIBLE = 1e-11
SCALES = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Visibility:
    """The degrees 0..n that sigma sees.

    Attributes:
        activation: As the user wrote it.
        polynomial_degree: deg sigma, or None if sigma is not a polynomial.
        definition: Degrees n >= 0 with sigma^(n) != 0, ascending: those of Definition 3.3.
        flow: Degrees with kappa_n(0, .) != 0, ascending: those that a network without bias sees.
        smallest_seen, largest_unseen: Largest |c_n(s)| / |sigma| over s, the least over seen degrees and the greatest over
            the others: the margin of this decision where it is numerical; (inf, 0) for a polynomial, where it is exact.
    """

    activation: str
    polynomial_degree: int | None
    definition: tuple[int, ...]
    flow: tuple[int, ...]
    smallest_seen: float
    largest_unseen: float

    @property
    def reason(self) -> str:
        """Why Definition 3.3 sees these degrees, in a sentence."""
        if self.polynomial_degree is None:
            return "sigma is not a polynomial: g ranges over all polynomials"
        if self.polynomial_degree == 0:
            return "sigma is constant: there is no g"
        return f"sigma is a polynomial of degree {self.polynomial_degree}: g ranges over degree < {self.polynomial_degree}"


def visibility(activation: Activation, largest: int) -> Visibility:
    """The degrees 0..`largest` that an activation sees: exact for polynomials, by its Hermite coefficients otherwise."""
    degrees = range(largest + 1)
    found = _powers(activation)
    if found is not None:
        powers, smallest, residual = found
        definition = tuple(n for n in degrees if any(k >= n for k in powers))
        flow = tuple(n for n in degrees if any(k >= n and (k - n) % 2 == 0 for k in powers))
        return Visibility(activation.text, max(powers, default=0), definition, flow, smallest, residual)
    scales = np.array(SCALES)
    g, weight = np.polynomial.hermite_e.hermegauss(80)
    norm = np.sqrt(activation(scales[:, None] * g) ** 2 @ weight / weight.sum())
    size = (np.abs(activation.hermite(scales, largest)) / norm[:, None]).max(axis=0)
    flow = tuple(n for n in degrees if size[n] > INVISIBLE)
    unseen = [size[n] for n in degrees if n not in flow]
    return Visibility(
        activation.text, None, tuple(degrees), flow, float(min(size[list(flow)], default=np.inf)), float(max(unseen, default=0.0))
    )


def _powers(activation: Activation) -> tuple[list[int], float, float] | None:
    """The powers of u in sigma if it is a polynomial, and the margin of that; None if it is not.

    Exact where the expression is one; max(u, 0) + min(u, 0) is found by a fit that also holds far outside its interval.
    """
    with limited(KEY, activation.text):
        polynomial = activation_expression(activation.text).expanded.polynomial
    if polynomial is not None:
        return [k for k, c in enumerate(polynomial) if c], np.inf, 0.0
    near, far = np.linspace(-2.0, 2.0, 201), np.linspace(-12.0, 12.0, 201)
    fit = np.polynomial.Chebyshev.fit(near, activation(near), HIGHEST, domain=[-2.0, 2.0])
    # A degree beyond the data's rounding error would spoil the extrapolation: cut it off first.
    fit = fit.trim(INVISIBLE * np.abs(fit.coef).max())
    value = activation(far)
    residual = float(np.abs(fit(far) - value).max() / (np.abs(value).max() or 1.0))
    if residual > FITTED:
        return None
    size = np.abs(fit.convert(kind=np.polynomial.Polynomial).coef)
    powers = np.flatnonzero(size > FITTED * size.max())
    return powers.tolist(), float(size[powers].min() / size.max()), residual


# Largest degree of a polynomial in disguise, and the relative error that still counts as one.
HIGHEST, FITTED = 10, 1e-8
