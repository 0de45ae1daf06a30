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
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc  # noqa: F401  (it begins on all ranks together: later, one of them alone would wait for the others)

from mfpde import formats
from mfpde.discretisations import build_problem
from mfpde.errors import USUAL, InputError, did_you_mean, quoted
from mfpde.interrupts import interruptible
from mfpde.output.captions import provenance
from mfpde.output.checkpoint import Checkpoint, read_checkpoint
from mfpde.output.crossing import Crossing, crossing
from mfpde.output.history import History, open_result, read_columns, read_open
from mfpde.output.protocol import Output, Summary
from mfpde.output.restart import check_restart, stored
from mfpde.output.sink import MemoryFile
from mfpde.parallel import on_first
from mfpde.problem.config import config_of, read_data
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.progress import Told
from mfpde.solving import solve_into

Array = NDArray[np.float64]
# The history of a file, its columns and its attributes.
Curves = tuple[History, dict[str, NDArray[Any]], dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """A run that is done: its curves on all ranks, and its file, in memory on rank 0 or on disk.

    Times are dimensionless: steps of gradient descent times the learning rate, with the gradient of each of N neurons times N.

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
            picture: A .png file to draw it to.

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
        data = xarray.Dataset(values, {"time": self.time, "mode": names}, dict(self.attributes))
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


# Runs of threads follow one another: MPI, PETSc and HDF5 are those of the process.
_TURN = threading.RLock()


@np.errstate(**USUAL)
def run(
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    comm: MPI.Intracomm | None = None,
    progress: bool | Told | None = None,
    budget: float | None = None,
    save: str | Path | None = None,
    restart: str | Path | None = None,
    outputs: Sequence[Output] = (),
    **keywords: Any,
) -> Result:
    """Collective. Solves one problem for the density of its neurons.

    Args:
        source: A TOML file, or a dict with its sections: {"target": {"polynomial": "z1 + c*z1*z2"}, "parameters": {"c": 0.5}};
            None for the shipped example.
        comm: All ranks; MPI.COMM_WORLD if not given.
        progress: True for a bar, False for silence, or a function of (time, loss or None, steps), called on rank 0; None for a
            bar on a terminal, and a line every 30 s to the logger "mfpde" elsewhere.
        budget: Seconds after which no further pass for the accuracy begins; an hour if not given.
        save: A result file to write while the run goes on, durable like that of `python -m mfpde.solve`; by default the
            result is in memory alone, and what the configuration says of output.file, plot, paraview and also is ignored.
            With it the loss is plotted only if the configuration says so.
        restart: A result file that the run goes on from, at its last checkpoint; without a source, with its configuration.
        outputs: What else is told of the run, see `mfpde.Output`.
        keywords: Further sections, target={"polynomial": "z1"}, or keys of any section by their own name,
            polynomial="z1", dimension=100, accuracy=1e-3; they win over the source.

    Returns:
        The result, on all ranks.

    Raises:
        InputError: On all ranks, for the first thing that is wrong with the configuration, naming its key and what is allowed.
        RunError: On all ranks, if the run cannot go on (blow-up, step size underflow).

    The equations are those of Mei, Montanari and Nguyen (arXiv:1804.06561); the reduction to V and the two-stage training
    ("chen-ge") those of Chen and Ge (arXiv:2402.08948).
    """
    ranks = MPI.COMM_WORLD if comm is None else comm
    with _TURN, interruptible():
        return _run(source, ranks, progress, budget, save, restart, outputs, keywords)


def _run(
    source: str | Path | Mapping[str, Any] | None,
    ranks: MPI.Intracomm,
    progress: bool | Told | None,
    budget: float | None,
    save: str | Path | None,
    restart: str | Path | None,
    outputs: Sequence[Output],
    keywords: Mapping[str, Any],
) -> Result:
    """Collective. The same without its turn, and its answer to Ctrl-C."""

    def read() -> tuple[Config, Problem, Checkpoint | None]:
        checkpoint = None if restart is None else read_checkpoint(Path(restart))
        base = stored(checkpoint.config, checkpoint.path) if checkpoint is not None and source is None else source
        config = _config(base, keywords, save)
        formats.names(config)
        if checkpoint is not None:
            check_restart(checkpoint, config)
        return config, build_problem(config), checkpoint

    config, problem, checkpoint = on_first(ranks, read)
    if save is not None:
        from mfpde.output.hdf5 import ResultFile

        place = Path(save)
        summary = solve_into(ResultFile(ranks, place), place, config, problem, outputs, budget, progress, checkpoint)
        return open(save, ranks, summary)
    memory = MemoryFile(ranks, provenance(ranks.size))
    summary = solve_into(memory, None, config, problem, outputs, budget, progress, checkpoint)

    def curves() -> Curves:
        with h5py.File(BytesIO(memory.image)) as file:
            return _read(Path("memory.h5"), file)

    history, columns, attributes = on_first(ranks, curves)
    return Result(history, columns, attributes, ranks, summary, image=memory.image)


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
            return _read(path, content)

    history, columns, attributes = on_first(ranks, read)
    return Result(history, columns, attributes, ranks, summary, path)


def _read(path: Path, file: h5py.File) -> Curves:
    return (
        read_open(path, file),
        read_columns(file),
        {name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()},
    )


def _config(source: str | Path | Mapping[str, Any] | None, keywords: Mapping[str, Any], save: str | Path | None) -> Config:
    """The configuration of what `run` was given."""
    if isinstance(source, Mapping):
        data = _plain(source)
        stem = None
    else:
        path = None if source is None else Path(source)
        data, stem = read_data(path), None if path is None else path.stem
    for name, value in keywords.items():
        section = _section(name, value)
        if not isinstance(data.setdefault(section, {}), dict):
            raise InputError(f"{section}: expected a section, got {quoted(data[section])}; allowed: a dict of keys and values")
        data[section].update(_plain(dict(value)) if isinstance(value, Mapping) else {name: _plain(value)})
    asked = keywords.get("output")
    if save is None and (keywords.get("also") or (isinstance(asked, Mapping) and asked.get("also"))):
        raise InputError("output.also: lies beside a result file, and the result is in memory alone; allowed: with save")
    output = data.setdefault("output", {})
    if isinstance(output, dict):
        if save is None:
            output |= {"plot": False, "paraview": False, "also": []}
        else:
            output["file"] = str(save)
            output.setdefault("plot", False)
    return config_of(data, (), stem)


def _section(name: str, value: Any) -> str:
    """The section that a keyword names, or whose key it is.

    Raises:
        InputError: If there is none.
    """
    kinds = {field.name: field.type for field in msgspec.structs.fields(Config)}
    if name in kinds:
        if not isinstance(value, Mapping):
            raise InputError(f"{name}: {quoted(value)}; allowed: a dict of the keys of [{name}]")
        return name
    structs = {section: kind for section, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    keys = {section: {field.name for field in msgspec.structs.fields(kind)} for section, kind in structs.items()}
    found = [section for section, names in keys.items() if name in names]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{name}: a key of {' and '.join(found)}; allowed: {found[0]}={{{name!r}: ...}}")
    names = [*kinds, *(key for section in keys.values() for key in section)]
    raise InputError(f"{quoted(name)}: no section and no key{did_you_mean(name, names)}; allowed: those of a configuration file")


def _plain(value: Any) -> Any:
    """The value without numbers of numpy, tuples and paths: as TOML would give it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask
