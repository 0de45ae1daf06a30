"""Runs and results in Python: `mfpde.run(...)` and `mfpde.open(file)` return a `Result`.

    import mfpde

    result = mfpde.run("staircase.toml", dimension=1000)          # or a dict of its sections, or keywords alone
    result.loss[-1], result.error[-1]
    result.plot("loss.png")
    result.to_xarray().loss.sel(time=4.0, method="nearest")
    result.save("staircase.h5")

Nothing is written unless asked for.  Under mpirun all ranks call alike, and all of them hold the curves.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc  # noqa: F401  (it begins on all ranks together: later, one of them alone would wait for the others)

from mfpde.digits import credible
from mfpde.errors import InputError
from mfpde.output.crossing import Crossing, crossing
from mfpde.output.history import History, open_result, read_columns, read_open
from mfpde.output.protocol import Summary
from mfpde.parallel import on_first

Array = NDArray[np.float64]
# The history of a file, its columns and its attributes.
Curves = tuple[History, dict[str, NDArray[Any]], dict[str, Any]]
# Letters of a target or an activation where a result is said in a line.
LONGEST = 60


@dataclass(frozen=True, repr=False)
class Result:
    """A run that is done: its curves on all ranks, and its file, in memory on rank 0 or on disk.

    Times are dimensionless: steps of gradient descent times the learning rate, with the gradient of each of N neurons times N.
    A pickled one, or a copy, belongs to the rank that made it if `comm` is a communicator of the user's own.

    Attributes:
        history: The curves with their modes and target, see `mfpde.read_history`.
        columns: Every scalar that was recorded, by name, shapes (n,): loss, mass, steps, wall_time (s), the indicators.
        attributes: Attributes of the file: config, version, date, command, ranks, ...
        comm: The ranks that hold the result.
        summary: How the run ended; None for a file that was opened.
        path: The file, if there is one.
    """

    history: History
    columns: Mapping[str, NDArray[Any]]
    attributes: Mapping[str, Any]
    comm: MPI.Intracomm
    summary: Summary | None = None
    path: Path | None = None
    image: bytes = field(default=b"", repr=False)

    def __repr__(self) -> str:
        return f"<mfpde.Result: {', '.join(f'{name} {text}' for name, text in self._said())}>"

    def _repr_html_(self) -> str:
        """The same as a table, in notebooks."""
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self._said())
        return f"<table>{''.join(rows)}</table>"

    def _said(self) -> list[tuple[str, str]]:
        """What the result is, on a line for each."""
        texts = {name: str(self.attributes[name]) for name in ("polynomial", "activation")}
        ends = (0, -1)
        first, last = (
            f"{self.loss[i]:.10g}" if self.error is None else credible(float(self.loss[i]), float(self.error[i])) for i in ends
        )
        return [
            *((name, text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...") for name, text in texts.items()),
            ("d", f"{self.attributes['dimension']:g}"),
            ("t", f"{self.time[0]:g} -> {self.time[-1]:g}"),
            ("E", f"{first} -> {last}" + (" (error not estimated)" if self.error is None else "")),
            ("records", str(len(self.time))),
            ("file", "in memory" if self.path is None else str(self.path)),
        ]

    def __getstate__(self) -> dict[str, Any]:
        own = self.comm not in (MPI.COMM_WORLD, MPI.COMM_SELF)
        return {**vars(self), "comm": MPI.COMM_SELF} if own else vars(self)

    @property
    def time(self) -> Array:
        """Times of the records, ascending, shape (n,); where a stage ends and another begins there are two records."""
        return self.history.times

    @property
    def loss(self) -> Array:
        """E = 1/2 E|f - h*|^2 at the records, shape (n,); of repeated particle runs their mean."""
        return self.history.loss

    @property
    def error(self) -> Array | None:
        """Estimated |E - exact| at the records, shape (n,): of a run to an accuracy the sum over all sources, of repeated
        particle runs half the width of the 95% interval; None if nothing was estimated."""
        return self.history.error

    @property
    def coefficients(self) -> Array:
        """Hermite coefficients m_i of the network at the records, shape (n, modes); see `modes` and `target`."""
        return self.history.coefficients

    @property
    def coefficients_error(self) -> Array | None:
        """Estimated error of each of them at the records, shape (n, modes); None if nothing was estimated."""
        return self.history.coefficients_error

    @property
    def modes(self) -> tuple[tuple[tuple[int, ...], int], ...]:
        """(alpha, j) of each coefficient: Hermite degrees in z_1..z_p, and the radial degree."""
        return self.history.modes

    @property
    def target(self) -> Array:
        """Hermite coefficients h_i of the target, shape (modes,)."""
        return self.history.target

    @property
    def config(self) -> str:
        """The whole configuration, defaults included, as TOML text."""
        return self.history.config

    def density(self, axes: Sequence[str] = ("a", "v1"), time: float | None = None, bins: Any = 200) -> Any:
        """Collective. The density of the neurons in one or two of their coordinates, see `mfpde.density.density`.

        Args:
            axes: Names of coordinates: a, v1, ..., r.
            time: Time of the training; the last one if not given.
            bins: Their number, or for each axis their number or their edges.

        Raises:
            InputError: On all ranks, if the result holds no density, or none of these coordinates.
        """
        try:
            from mfpde.density import density
        except ImportError:
            raise InputError("density: this version of mfpde computes none; allowed: one with mfpde.density") from None

        def compute() -> Any:
            with self._on_disk() as path:
                return density(path, axes, time, bins)

        return on_first(self.comm, compute)

    def time_to_level(self, level: float) -> Crossing:
        """Collective. When E falls for the first time to `level` times that at t = 0, from the run's dense output: (time, error).

        The time is inf if E does not fall so far; the error is what the estimated error of E may move it by, nan without one.
        """

        def find() -> Crossing:
            with self._opened() as file:
                return crossing(file, self.history, level * float(self.loss[0]))

        return on_first(self.comm, find)

    def plot(self, picture: str | Path | None = None) -> Any:
        """Collective. E(t) with the band of its error, as a matplotlib figure on rank 0 (None on the others).

        Args:
            picture: A .png, .pdf or .svg file to draw it to.

        Raises:
            InputError: On all ranks, if the picture cannot be written.
        """
        from mfpde.output.plot import draw_loss, figure
        from mfpde.paths import check_picture

        def draw() -> Any:
            if picture is not None:
                check_picture(Path(picture), "picture")
            canvas = figure(Path("unused.png") if picture is None else Path(picture), 1)
            with self._opened() as file:
                draw_loss(file, canvas.axes[0])
            if picture is not None:
                canvas.__exit__(None)
            return canvas.figure

        return on_first(self.comm, draw, share=False)

    def to_xarray(self) -> Any:
        """The curves as an xarray.Dataset with the dimensions time and mode, and the attributes of the file.

        Its `to_netcdf` writes them to a file.

        Variables: loss, error (nan if not estimated), coefficients (time, mode), target (mode), and all of `columns`.

        Raises:
            InputError: If xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise InputError("to_xarray: xarray is not installed; allowed: after pip install 'mfpde[xarray]'") from None
        from mfpde.output.captions import INDICATOR, LABELS, mode_names

        error = np.full(len(self.time), np.nan) if self.error is None else self.error
        values: dict[str, Any] = {
            "loss": ("time", self.loss),
            "error": ("time", error, {"long_name": "estimated error of the loss", "units": "1"}),
            "coefficients": (("time", "mode"), self.coefficients),
            "target": ("mode", self.target, {"long_name": "Hermite coefficients of the target", "units": "1"}),
            **{name: ("time", column) for name, column in self.columns.items() if name not in ("time", "loss")},
        }
        names = mode_names(*zip(*self.modes, strict=True))
        # NetCDF has no booleans.
        attributes = {name: int(value) if isinstance(value, bool) else value for name, value in self.attributes.items()}
        attributes.pop("checksum", None)  # of the file's own attributes
        data = xarray.Dataset(values, {"time": self.time, "mode": names}, attributes)
        for name in ("time", "loss", "coefficients", *self.columns):
            known = LABELS.get(f"/history/{name}", INDICATOR)
            texts = {"units": known.units, "long_name": known.long_name, "formula": known.formula}
            data[name].attrs.update({key: text for key, text in texts.items() if text})
        return data

    def save(self, path: str | Path) -> Path:
        """Collective. Writes the result file, as `python -m mfpde.solve` does, and returns its path.

        Raises:
            InputError: On all ranks, if it cannot be written there, or holds something else than a result.
        """
        from mfpde.paths import check_output

        place = Path(path)

        def write() -> None:
            check_output(place, "path")
            content = self.image if self.path is None else self.path.read_bytes()
            with tempfile.NamedTemporaryFile(dir=place.resolve().parent, prefix=f".{place.name}.", delete=False) as file:
                file.write(content)
            Path(file.name).chmod(0o666 & ~_umask())
            Path(file.name).replace(place.resolve())

        try:
            on_first(self.comm, write)
        except OSError as error:
            raise InputError(f"path: cannot write {str(place)!r}: {error.strerror}; allowed: a place with enough room") from None
        return place

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        """On rank 0: the file, open for reading."""
        if self.path is not None:
            with open_result(self.path) as file:
                yield file
        else:
            with h5py.File(BytesIO(self.image)) as file:
                yield file

    @contextmanager
    def _on_disk(self) -> Iterator[Path]:
        """On rank 0: the file's path; a temporary one for a result in memory."""
        if self.path is not None:
            yield self.path
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "result.h5"
                path.write_bytes(self.image)
                yield path


def open(file: str | Path, comm: MPI.Intracomm | None = None, summary: Summary | None = None) -> Result:
    """Collective over `comm`. The result that a file holds: of `mfpde.run`, `mfpde.solve` or `mfpde.particles`.

    Args:
        file: Its path.
        comm: The ranks that share it; this one alone if not given.
        summary: How the run ended, if that is known.

    Raises:
        InputError: On all ranks, if there is no such file, or it holds no records.
    """
    path, ranks = Path(file), MPI.COMM_SELF if comm is None else comm

    def read() -> Curves:
        with open_result(path) as content:
            return read_curves(path, content)

    history, columns, attributes = on_first(ranks, read)
    return Result(history, columns, attributes, ranks, summary, path)


def read_curves(path: Path, file: h5py.File) -> Curves:
    return (
        read_open(path, file),
        read_columns(file),
        {name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()},
    )


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask
