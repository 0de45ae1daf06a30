"""Laws of one real label, such as the outer weight a_0 or the bias b_0.

A law is a frozen dataclass whose fields are its parameters, one class in one module of this package: the module
`uniform` holds the law that the configuration calls "uniform(-1, 1)".  Nothing else has to know about it; what follows
from a law (Gauss rules, samples, densities, pictures) is made from the members of `Law`.
"""

from abc import abstractmethod
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError, quoted
from mfpde.registry import Named

Array = NDArray[np.float64]

# Probabilities at which two quantiles are compared, and the share of their size up to which they agree.
COMPARED, ROUNDING = np.linspace(0.01, 0.49, 25), 1e-9


class Law(Named):
    """A probability law on the line."""

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """The smallest closed interval that holds the law; its ends may be infinite."""

    @abstractmethod
    def density(self, x: Array) -> Array:
        """The density at x inside the support, up to a constant factor, the shape of x. Not called for atoms."""

    @abstractmethod
    def quantile(self, u: Array) -> Array:
        """The quantiles at probabilities u in (0, 1), the shape of u."""

    @property
    def atoms(self) -> tuple[Array, Array] | None:
        """Points, ascending, and their probabilities, shapes (n,), if the law consists of these; None otherwise."""
        return None

    @property
    def symmetric(self) -> bool:
        """Whether the law is that of -x, too: measured by its atoms or its quantiles, so that no law can forget to say."""
        if self.atoms is not None:
            x, mass = self.atoms
            return bool(np.array_equal(x, -x[::-1]) and np.array_equal(mass, mass[::-1]))
        low, high = self.quantile(COMPARED), self.quantile(1 - COMPARED)
        return bool(np.abs(low + high).max() <= ROUNDING * np.abs(low - high).max())

    @property
    def bounded(self) -> bool:
        """Whether its support is bounded."""
        return all(isfinite(end) for end in self.support)

    def recurrence(self, n: int) -> tuple[Array, Array] | None:
        """alpha_0..alpha_{n-1} and sqrt(beta_1)..sqrt(beta_{n-1}) of its monic orthogonal polynomials, if known in closed form:
        p_{k+1} = (x - alpha_k) p_k - beta_k p_{k-1}. Without them they are computed from the density."""
        return None


# Widths, and inverse values, whose squares are numbers.
NARROWEST = 1e-100


def parse_law(text: str, key: str = "initial.a") -> Law:
    """The law that a text such as "uniform(-1, 1)" names.

    Raises:
        InputError: If there is no such law, or its parameters are out of range.
    """
    law = Law.parse(text, key, f"law of {key[-1]}")
    if law.atoms is None:
        low, high = law.quantile(np.array([0.25, 0.75])).tolist()
        if not (high - low > NARROWEST and max(abs(low), abs(high)) < 1 / NARROWEST):
            raise InputError(
                f"{key}: {quoted(text)} has quartiles {low:g} and {high:g}; allowed: laws wider than {NARROWEST:g}, and values "
                f"below {1 / NARROWEST:g}"
            )
    return law


def violated(law: Law) -> str:
    """What keeps a law of a from Assumption 3.1 of arXiv 2402.08948, a symmetric law of bounded support; "" if nothing does."""
    wrong = [*([] if law.symmetric else ["symmetric about 0"]), *([] if law.bounded else ["of bounded support"])]
    return f"not {' and not '.join(wrong)}" if wrong else ""
