"""Runs in Python: `mfpde.run(...)` solves a configuration, a dict of its sections or keywords alone, and returns a `Result`.

Nothing is written unless asked for.  Under mpirun all ranks call alike.
"""

import threading
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from petsc4py import PETSc  # noqa: F401  (it begins on all ranks together: later, one of them alone would wait for the others)

from mfpde import formats
from mfpde.discretisations import build_problem
from mfpde.errors import USUAL, InputError, quoted
from mfpde.interrupts import interruptible
from mfpde.output.captions import provenance
from mfpde.output.checkpoint import Checkpoint, read_checkpoint
from mfpde.output.protocol import Output
from mfpde.output.restart import check_restart, stored
from mfpde.output.sink import MemoryFile
from mfpde.parallel import on_first
from mfpde.problem.config import config_of, read_data, section_with
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.progress import Told
from mfpde.results import Curves, Result, open, read_curves
from mfpde.solving import solve_into

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
            return read_curves(Path("memory.h5"), file)

    history, columns, attributes = on_first(ranks, curves)
    return Result(history, columns, attributes, ranks, summary, image=memory.image)


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
    if name in Config.__struct_fields__:
        if not isinstance(value, Mapping):
            raise InputError(f"{name}: {quoted(value)}; allowed: a dict of the keys of [{name}]")
        return name
    return section_with(name)


def _plain(value: Any) -> Any:
    """The value without numbers of numpy, tuples and paths: as TOML would give it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value
