"""References by particles: reduced neurons, finite networks, SGD: `python -m mfpde.particles`."""

from mfpde.callable import make_callable

make_callable(__name__, calls="mfpde.particles.run")
