"""Finite elements for the mean-field (infinite-width) training dynamics of two-layer neural networks."""

import importlib.util
import os

__version__ = "0.1.0"

# Before numpy loads: a linear-algebra library with threads of its own would oversubscribe the ranks' cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# The wheel's module orders the loading of MPI before the bindings; other installations of DOLFINx have no such module.
if importlib.util.find_spec("dolfinx_solver") is not None:
    import dolfinx_solver  # noqa: F401
