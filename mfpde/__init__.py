"""Finite elements for the mean-field (infinite-width) training dynamics of two-layer neural networks.

    import mfpde
    from mpi4py import MPI

    config = mfpde.load("staircase.toml", ["input.dimension=1000"])     # or load(None): the shipped example
    problem = mfpde.build_problem(config)
    summary = mfpde.solve(MPI.COMM_WORLD, config, problem)              # writes config.output.file
    history = mfpde.read_history(config.output.file)                    # history.times, history.loss, ...

What a run is made of
    load              the configuration of a TOML file, with overrides "section.key=value"
    build_problem     what it asks: target, dimension, initial law, stages of the training
    solve             solves it for the density of the neurons, and writes the result file
    read_history      the curves of a result file

Parts of it
    parse_target      h* from a polynomial in z1, z2, ..
    parse_activation  sigma from its name or an expression in u
    start_flow        the flow of the first stage: its unknowns and their rates
    integrate         goes along any flow and hands over the state at given times

References and predictions
    characteristics   the loss by Gauss particles, at the same truncation and labels
    learnability      what a network can learn of a polynomial, before any run

Errors of the user are `InputError`, those of a run that cannot go on `RunError`; both say what to do in one line.  The
commands are `python -m mfpde.solve`, `inspect`, `compare`, `particles`, `converge`, `kernel`, `learnability`, each with
--help.  examples/EXTEND.md adds a law, a term of the equation, a diagnostic, an output.
"""

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from mfpde.errors import InputError as InputError
from mfpde.errors import RunError as RunError

if TYPE_CHECKING:
    from mfpde.evolution.integrate import integrate as integrate
    from mfpde.evolution.start import start_flow as start_flow
    from mfpde.learnability.report import learnability as learnability
    from mfpde.output.history import read_history as read_history
    from mfpde.particles.characteristics import characteristics as characteristics
    from mfpde.problem.activation import parse_activation as parse_activation
    from mfpde.problem.config import load as load
    from mfpde.problem.problem import build_problem as build_problem
    from mfpde.problem.target import parse_target as parse_target
    from mfpde.solve import solve as solve

__version__ = "0.1.0"

# Before numpy loads: a linear-algebra library with threads of its own would oversubscribe the ranks' cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# The wheel's module orders the loading of MPI before the bindings; other installations of DOLFINx have no such module.
if importlib.util.find_spec("dolfinx_solver") is not None:
    import dolfinx_solver  # noqa: F401

# Loaded at first use: PETSc must have its options before what uses it is imported.
_PUBLIC = {
    "build_problem": "mfpde.problem.problem",
    "characteristics": "mfpde.particles.characteristics",
    "integrate": "mfpde.evolution.integrate",
    "learnability": "mfpde.learnability",
    "load": "mfpde.problem.config",
    "parse_activation": "mfpde.problem.activation",
    "parse_target": "mfpde.problem.target",
    "read_history": "mfpde.output.history",
    "solve": "mfpde.solve",
    "start_flow": "mfpde.evolution.start",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name])
    # A command's module is called like its function, and can be called like it.
    value = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
