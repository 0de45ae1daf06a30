"""What result files of all discretisations hold of the modes and of the mean field."""

from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.evolution.mean_field import POINTS, FieldShift, MeanField
from mfpde.features.bases import basis_of
from mfpde.features.protocol import Basis
from mfpde.problem.problem import Problem

Array = NDArray[np.float64]

# Nodes that a file is checked by, and by which share of the coordinates' size they may be elsewhere: the run's own time steps are
# far more accurate, but for points that many steps have driven apart.
CHECKED, ELSEWHERE = 32, 0.05


@dataclass(frozen=True)
class _FileTruncation:
    """A `Truncation`: that of the modes in a file."""

    hermite_degree: int
    radial_degree: int

    @classmethod
    def of(cls, file: h5py.File) -> "_FileTruncation":
        alpha, radial = file["modes/alpha"][:], file["modes/radial"][:]
        # Files of version 0.1.0 do not say them, and have Hermite modes.
        known = {"hermite_degree": (alpha.sum(axis=1) + 2 * radial).max(), "radial_degree": radial.max()} | dict(
            file["modes"].attrs
        )
        return cls(int(known["hermite_degree"]), int(known["radial_degree"]))


def recorded_modes(file: h5py.File, problem: Problem) -> Basis:
    """The basis of an open result file.

    Raises:
        InputError: If its modes are not those that this version has.
    """
    modes = basis_of(problem, _FileTruncation.of(file))
    if not (np.array_equal(modes.alpha, file["modes/alpha"][:]) and np.array_equal(modes.radial, file["modes/radial"][:])):
        raise InputError(f"{file.filename!r} was written for other modes than this version knows")
    return modes


def recorded_field(file: h5py.File, modes: Basis) -> MeanField:
    """The mean field of an open result file; without steps if it has kept none."""
    if "field" not in file:
        return MeanField(np.empty((0, POINTS)), np.empty((0, POINTS, len(modes))))
    return MeanField(file["field/time"][:], file["field/moments"][:])


def recorded_shift(file: h5py.File, problem: Problem) -> FieldShift | None:
    """What the mean field of an open result file lacks, as its studies found; None if there were none.

    Raises:
        InputError: If its modes are not those that this version has.
    """
    if "error/studied/shift" not in file:
        return None
    group = file["error/studied"]
    modes = basis_of(problem, _FileTruncation(int(group.attrs["hermite_degree"]), int(group.attrs["radial_degree"])))
    if group["shift"].shape != (len(group["time"]), len(modes)):
        raise InputError(f"{file.filename!r} was written for other modes than this version knows")
    settled = bool(file["error"].attrs["accuracy_reached"] <= file["error"].attrs["accuracy"])
    return FieldShift(group["time"][:], group["shift"][:], modes, settled)


def check_followed(start: Array, followed: Array, there: Array, time: float) -> None:
    """Compares neurons that a file says are `there` at a time with where its configuration takes them, rows (coordinates, n).

    Raises:
        InputError: If that is elsewhere: the density would be that of another problem.
    """
    apart = np.abs(followed - there).max(axis=1)
    if (apart > ELSEWHERE * (np.abs(there).max(axis=1) + np.abs(start).max(axis=1))).any():
        raise InputError(
            f"the file's neurons at t = {time:g} are not where its configuration takes them: is a law, a term or a basis of "
            "features another one now? allowed: the modules that the run had"
        )
