"""Laws of one real label, such as the outer weight a_0 or the bias b_0.

A law is a frozen dataclass whose fields are its parameters, one class in one module of this package: the module
`uniform` holds the law that the configuration calls "uniform(-1, 1)".  Nothing else has to know about it; what follows
from a law (Gauss rules, samples, densities, pictures) is made from the members of `Law`.
"""

import importlib
import pkgutil
import re
from abc import ABC, abstractmethod
from dataclasses import fields
from functools import cache
from math import isfinite
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError

Array = NDArray[np.float64]


class Law(ABC):
    """A probability law on the line.

    Attributes:
        usage: How the configuration writes it, e.g. "uniform(b, c)".
    """

    usage: ClassVar[str]

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

    @classmethod
    def read(cls, arguments: str) -> "Law":
        """The law of what stands between the brackets of its text: by default its parameters, one number each.

        Raises:
            ValueError: If that is not what the law takes; with a message if it is of the right form.
        """
        numbers = [float(x) for x in arguments.split(",")] if arguments.strip() else []
        if len(numbers) != len(fields(cls)) or not all(map(isfinite, numbers)):  # type: ignore[arg-type]
            raise ValueError
        return cls(*numbers)

    @property
    def atoms(self) -> tuple[Array, Array] | None:
        """Points, ascending, and their probabilities, shapes (n,), if the law consists of these; None otherwise."""
        return None

    @property
    def symmetric(self) -> bool:
        """Whether the law is that of -x, too."""
        return True

    @property
    def bounded(self) -> bool:
        """Whether its support is bounded."""
        return all(isfinite(end) for end in self.support)

    def recurrence(self, n: int) -> tuple[Array, Array] | None:
        """alpha_0..alpha_{n-1} and sqrt(beta_1)..sqrt(beta_{n-1}) of its monic orthogonal polynomials, if known in closed form:
        p_{k+1} = (x - alpha_k) p_k - beta_k p_{k-1}. Without them they are computed from the density."""
        return None


@cache
def law_classes() -> dict[str, type[Law]]:
    """The laws by the names of their modules."""
    found = {}
    for name in (module.name for module in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        found[name] = next(x for x in vars(module).values() if isinstance(x, type) and x.__module__ == module.__name__)
    return found


def parse_law(text: str, key: str = "initial.a") -> Law:
    """The law that a text such as "uniform(-1, 1)" names.

    Raises:
        InputError: If there is no such law, or its parameters are out of range.
    """
    laws = law_classes()
    allowed = f"allowed: {', '.join(law.usage for law in laws.values())}"
    match = re.fullmatch(r"\s*([a-z_]+)\s*(?:\((.*)\))?\s*", text)
    law = laws.get(match.group(1)) if match else None
    try:
        if match is None or law is None:
            raise ValueError
        return law.read(match.group(2) or "")
    except ValueError as error:
        reason = str(error) if str(error).startswith("has ") else f"is no law of {key[-1]}"
        raise InputError(f"{key}: {text!r} {reason}; {allowed}") from None


def violated(law: Law) -> str:
    """What keeps a law of a from Assumption 3.1 of arXiv 2402.08948, a symmetric law of bounded support; "" if nothing does."""
    wrong = [*([] if law.symmetric else ["symmetric about 0"]), *([] if law.bounded else ["of bounded support"])]
    return f"not {' and not '.join(wrong)}" if wrong else ""
