"""The densities of a file in the affine frame, v = M + L y: masses of every label's fields on a finer grid in every cell."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Points per cell and direction, by dimension.
FINE = {1: 64, 2: 12, 3: 6}


@dataclass(frozen=True)
class FrameSnapshots:
    """A `PointMasses`: labels are not interpolated, so what is drawn is a sum of one density a label.

    Attributes:
        path: The result file.
        p: Dimension of V.
        times: Times of the snapshots.
    """

    path: Path
    p: int
    times: tuple[float, ...]

    def points(self, number: int) -> Iterator[tuple[Array, Array]]:
        with h5py.File(self.path) as file:
            y, weight, labels = file["slices/y"][:], file["slices/y_weight"][:], file["slices/label_weight"][:]
            group = file[f"slices/snapshots/{sorted(file['slices/snapshots'])[number]}"]
            p, n = self.p, round(y.shape[1] ** (1 / self.p))
            once = np.ones((1, 1)) if n == 1 else _interpolation(n, FINE[p])
            transfer = once
            for _ in range(p - 1 if n > 1 else 0):
                transfer = np.asarray(np.kron(transfer, once), dtype=np.float64)
            fine, volume = np.einsum("fn,cnp->cfp", transfer, y), weight.sum(axis=1)
            for s, label in enumerate(labels):
                q = np.maximum(group["q"][s] @ transfer.T, 0.0)
                mass = label * q * volume[:, None] / q.shape[1]
                v = fine @ group["L"][s].T + group["M"][s]
                a, r = ((group[name][s] @ transfer.T).ravel() for name in ("A", "R"))
                yield np.concatenate((a[None], v.reshape(-1, p).T, r[None])), mass.ravel()


def _interpolation(n: int, fine: int) -> Array:
    """From n Gauss points of a cell to the centres of `fine` equal parts."""
    x = np.polynomial.legendre.leggauss(n)[0]
    centres = (2 * np.arange(fine) + 1.0) / fine - 1.0
    vandermonde = np.polynomial.legendre.legvander
    return np.asarray(vandermonde(centres, n - 1) @ np.linalg.inv(vandermonde(x, n - 1)))
