"""References by particles: reduced neurons, finite networks, SGD: `python -m mfpde.particles`."""
