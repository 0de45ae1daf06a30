"""Bases of functions of x by the names of their modules, `discretization.features = "hermite"`."""

from abc import abstractmethod
from typing import ClassVar

from mfpde.features.protocol import Basis, Truncation
from mfpde.problem.problem import Problem
from mfpde.registry import Named


class BasisKind(Named):
    """A kind of basis, which a configuration names.

    Attributes:
        has_kernel: Whether stages that are known by moments alone can be solved over it: their kernel matrix is one of Hermite
            modes.
    """

    has_kernel: ClassVar[bool] = False

    def refusal(self, problem: Problem) -> str | None:
        """Why it is not for a problem: the key and what is allowed; None if it is."""
        return None

    @abstractmethod
    def basis(self, problem: Problem, truncation: Truncation) -> Basis:
        """The basis for a problem."""


def basis_kind(problem: Problem) -> BasisKind:
    """The kind of basis that a problem asks for.

    Raises:
        InputError: If there is none of its name.
    """
    return BasisKind.parse(problem.features, "discretization.features", "basis of features")


def basis_of(problem: Problem, truncation: Truncation) -> Basis:
    """The basis of a problem at a truncation."""
    return basis_kind(problem).basis(problem, truncation)
