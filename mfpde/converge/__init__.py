"""Convergence studies: a series of runs, their errors and orders: `python -m mfpde.converge`."""
