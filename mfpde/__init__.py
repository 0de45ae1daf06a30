"""Finite elements for the mean-field (infinite-width) training dynamics of two-layer neural networks.

    import mfpde

    result = mfpde.run("staircase.toml", dimension=1000)        # a file, a dict of its sections, or keywords alone
    result.time, result.loss, result.error                      # arrays; also coefficients, density(axes), to_xarray()
    result.plot("loss.png")
    result.save("staircase.h5")

Runs
    run               solves a problem, on all ranks, and writes no file unless asked
    open              the same result of a file that was written before
    Result            what both return

What a run is made of
    load              the configuration of a TOML file, with overrides "section.key=value"
    build_problem     what it asks: target, dimension, initial law, stages of the training
    solve             solves it for the density of the neurons, and writes the result file
    read_history      the curves of a result file
    Output            what else is written while it runs: the base of a user's own

Parts of it
    parse_target      h* from a polynomial in z1, z2, ..
    parse_activation  sigma from its name or an expression in u
    start_flow        the flow of the first stage: its unknowns and their rates
    integrate         goes along any flow and hands over the state at given times

References and predictions
    characteristics   the loss by Gauss particles, at the same truncation and labels
    particles         a particle method, with its repeats, and its result file
    kernel            the kernel matrix of training a alone, and the rate that it proves
    compare           how far two results differ, or a result and a curve of your own
    density           the density of a result file, on bins
    learnability      what a network can learn of a polynomial, before any run
    width             what a network of N neurons does: E + c/N, and its deviation s/sqrt(N)

Errors of the user are `InputError`, those of a run that cannot go on `RunError`; both say what to do in one line.  The
commands are `python -m mfpde.solve`, `inspect`, `compare`, `particles`, `converge`, `kernel`, `learnability`, `width`,
each with --help.  examples/EXTEND.md adds a law, a term of the equation, a diagnostic, an output.
"""

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from mfpde import early

if early.is_command():
    early.listen()
    os.environ.setdefault("UCX_DEBUG_SIGNO", "0")  # UCX, which MPI may use, takes SIGHUP for itself

from mfpde.errors import InputError as InputError
from mfpde.errors import RunError as RunError
from mfpde.version import __version__ as __version__

if TYPE_CHECKING:
    from mfpde.compare import compare as compare
    from mfpde.density.marginal import density as density
    from mfpde.discretisations import build_problem as build_problem
    from mfpde.discretisations import start_flow as start_flow
    from mfpde.evolution.integrate import integrate as integrate
    from mfpde.kernel.study import solve_kernel
    from mfpde.learnability.report import learnability as learnability
    from mfpde.output.history import read_history as read_history
    from mfpde.output.protocol import Output as Output
    from mfpde.particles.characteristics import characteristics as characteristics
    from mfpde.particles.run import particles as particles
    from mfpde.problem.activation import parse_activation as parse_activation
    from mfpde.problem.config import load as load
    from mfpde.problem.target import parse_target as parse_target
    from mfpde.results import Result as Result
    from mfpde.results import open as open
    from mfpde.running import run as run
    from mfpde.solving import solve as solve
    from mfpde.width.calculate import width as width

    kernel = solve_kernel

# Before numpy loads: a linear-algebra library with threads of its own would oversubscribe the ranks' cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Before PETSc starts: its handlers of signals would make a line that ends a program, such as a pool's worker, a banner of ten.
if "-no_signal_handler" not in (_given := os.environ.get("PETSC_OPTIONS", "")):
    os.environ["PETSC_OPTIONS"] = f"{_given} -no_signal_handler".strip()

# Before MPI starts, under MPICH and Intel MPI: where there are more ranks than cores, those that wait leave them to the others.
if int(os.environ.get("MPI_LOCALNRANKS") or 1) > (os.cpu_count() or 1):
    os.environ.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")

# The wheel's module orders the loading of MPI before the bindings; other installations of DOLFINx have no such module.
if importlib.util.find_spec("dolfinx_solver") is not None:
    import dolfinx_solver  # noqa: F401

# Loaded at first use: PETSc must have its options before what uses it is imported.
_PUBLIC = {
    "Output": "mfpde.output.protocol",
    "Result": "mfpde.results",
    "build_problem": "mfpde.discretisations",
    "characteristics": "mfpde.particles.characteristics",
    "compare": "mfpde.compare",
    "density": "mfpde.density",
    "integrate": "mfpde.evolution.integrate",
    "kernel": "mfpde.kernel",
    "learnability": "mfpde.learnability",
    "load": "mfpde.problem.config",
    "open": "mfpde.results",
    "particles": "mfpde.particles",
    "parse_activation": "mfpde.problem.activation",
    "parse_target": "mfpde.problem.target",
    "read_history": "mfpde.output.history",
    "run": "mfpde.running",
    "solve": "mfpde.solve",
    "start_flow": "mfpde.discretisations",
    "width": "mfpde.width",
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
    return sorted({"InputError", "RunError", "__doc__", "__file__", "__name__", "__path__", "__version__", *_PUBLIC})
