"""Subspaces of R^p by exact elimination, or with a threshold and its margin where numbers are rounded."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import gcd, inf, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = Sequence[Any]


class Span:
    """A growing subspace of R^p in reduced echelon form.

    Args:
        p: Dimension of the space around it.
        threshold: 0 for exact numbers.  Otherwise a vector counts as new if, after elimination, an entry exceeds
            threshold times the largest entry ever given.

    Attributes:
        smallest_kept, largest_dropped: The margin of the decisions so far, relative to the largest entry (inf and 0 when
            there was none).
    """

    def __init__(self, p: int, threshold: float = 0.0, vectors: Iterable[Vector] = ()) -> None:
        self.p = p
        self.threshold = threshold
        self.smallest_kept = inf
        self.largest_dropped = 0.0
        self._rows: dict[int, list[Any]] = {}  # by pivot, which is 1 there and 0 in the other rows
        self._scale = 0.0
        for vector in vectors:
            self.add(vector)

    @property
    def dimension(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> list[list[Any]]:
        """The echelon basis, ascending in its pivots."""
        return [self._rows[pivot] for pivot in sorted(self._rows)]

    def residual(self, vector: Vector) -> list[Any]:
        """What elimination leaves of a vector: 0 if it lies in the subspace."""
        out = list(vector)
        for pivot, row in self._rows.items():
            if out[pivot]:
                factor = out[pivot]
                out = [x - factor * y for x, y in zip(out, row, strict=True)]
        return out

    def add(self, vector: Vector) -> bool:
        """Joins a vector; whether the subspace has grown."""
        self._scale = max(self._scale, float(max(map(abs, vector), default=0)))
        left = self.residual(vector)
        free = [i for i in range(self.p) if i not in self._rows]
        if not free:
            return False
        if self.threshold:
            pivot = max(free, key=lambda i: abs(left[i]))
            size = float(abs(left[pivot])) / (self._scale or 1.0)
            if size <= self.threshold:
                self.largest_dropped = max(self.largest_dropped, size)
                return False
            self.smallest_kept = min(self.smallest_kept, size)
        else:
            pivot = next((i for i in free if left[i]), self.p)
            if pivot == self.p:
                return False
        head = left[pivot]
        left = [x / head for x in left]
        for other, row in self._rows.items():
            if row[pivot]:
                factor = row[pivot]
                self._rows[other] = [x - factor * y for x, y in zip(row, left, strict=True)]
        self._rows[pivot] = left
        return True

    def contains(self, vector: Vector) -> bool:
        """Whether a vector lies in the subspace."""
        left = max((float(abs(x)) for x in self.residual(vector)), default=0.0)
        return left <= self.threshold * max(self._scale, float(max(map(abs, vector), default=0)))

    def complement(self) -> "Span":
        """The orthogonal complement in R^p."""
        pivots = sorted(self._rows)
        vectors = []
        for free in range(self.p):
            if free not in self._rows:
                vector: list[Any] = [Fraction(0)] * self.p
                vector[free] = Fraction(1)
                for pivot in pivots:
                    vector[pivot] = -self._rows[pivot][free]
                vectors.append(vector)
        return Span(self.p, self.threshold, vectors)


def minus(space: Span, part: Span) -> Span:
    """The orthogonal complement of `part` in `space`."""
    return Span(space.p, space.threshold, [*space.complement().rows, *part.rows]).complement()


def orthogonal_basis(space: Span) -> list[list[Any]]:
    """An orthogonal basis, of whole numbers without common factor where the entries are short fractions."""
    basis: list[list[Any]] = []
    for row in space.rows:
        vector = row
        for b in basis:
            factor = dot(row, b) / dot(b, b)
            vector = [x - factor * y for x, y in zip(vector, b, strict=True)]
        basis.append(whole(vector) if not space.threshold else vector)
    return basis


def orthonormal_basis(space: Span) -> NDArray[np.float64]:
    """Rows of an orthonormal basis, shape (dimension, p)."""
    rows = np.array([[float(x) for x in b] for b in orthogonal_basis(space)]).reshape(space.dimension, space.p)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True) if len(rows) else rows)


def whole(vector: Vector) -> list[Any]:
    """The shortest multiple by a positive number that is whole."""
    scale = lcm(*(Fraction(x).denominator for x in vector))
    common = gcd(*(int(x * scale) for x in vector)) or 1
    return [Fraction(int(x * scale), common) for x in vector]


def projector(space: Span) -> list[list[Any]]:
    """The columns of the orthogonal projector onto the subspace; its numbers are rational if the subspace is."""
    basis = orthogonal_basis(space)
    return [[sum((b[i] * b[j] / dot(b, b) for b in basis), start=Fraction(0)) for i in range(space.p)] for j in range(space.p)]


def dot(x: Vector, y: Vector) -> Any:
    """The inner product."""
    return sum((a * b for a, b in zip(x, y, strict=True)), start=Fraction(0))
