"""What `python -m mfpde.density` writes and says."""

import os
from contextlib import suppress
from math import isnan
from pathlib import Path

import h5py

from mfpde.density.bins import Density
from mfpde.errors import InputError
from mfpde.progress import table


def write(density: Density, path: Path) -> None:
    """Writes a density as HDF5.

    Raises:
        InputError: If the file cannot be written.
    """
    try:
        size = ROOM + sum(array.nbytes for array in (density.values, *density.edges))
        with path.open("wb") as place:  # a full disk must be found before: HDF5 would end in a long text, or crash
            os.posix_fallocate(place.fileno(), 0, size)
        with h5py.File(path, "w") as file:
            group = file.create_group("density")
            group["values"] = density.values
            for k, edges in enumerate(density.edges):
                group[f"edges_{k}"] = edges
            about = {"axes": ",".join(density.axes), "time": density.time, "lost_mass": density.lost_mass}
            about |= {"error": density.error, "field_error": density.field_error}
            file.attrs.update(program="mfpde", **about)
            group.attrs.update(about)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise InputError(f"--output: cannot write {str(path)!r}: {_reason(error)}; allowed: a place with enough room") from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).partition(" (file ")[0].partition(", errno")[0]


# Bytes that HDF5 may need beside the numbers.
ROOM = 1 << 16


def advice(density: Density, accuracy: float) -> str | None:
    """What to do about an error that is larger than the one asked for; None if it is not, or not known."""
    if not density.error > accuracy:
        return None
    remedy = "larger bins"
    if density.field_error > density.error / 2:
        remedy += ", or a run with a smaller discretization.accuracy"
    return f"the L1 error is {density.error:.1e}, and {accuracy:.1e} was asked for; what helps: {remedy}"


def report(density: Density, files: dict[str, Path]) -> str:
    """The table that the command prints."""
    known = "not known: no interpolation between the labels of the affine frame"
    if isnan(density.field_error):
        of = "of the bins alone: the run has not estimated its own error"
    else:
        of = f"estimated: bins {density.error - density.field_error:.1e}, the run's mean field {density.field_error:.1e}"
    rows = [
        ("density of", f"({', '.join(density.axes)}) at t = {density.time:g}"),
        ("bins", " x ".join(str(n) for n in density.values.shape)),
        ("L1 error", known if isnan(density.error) else f"{density.error:.1e} ({of})"),
        ("lost mass", f"{density.lost_mass:.1e}"),
        ("points", f"{density.points}, {density.method}"),
        *((name, str(path)) for name, path in files.items()),
    ]
    return table(rows)
