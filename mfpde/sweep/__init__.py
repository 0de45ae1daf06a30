"""Sweeps: one configuration over an N-dimensional grid of values, and its phase diagram: `python -m mfpde.sweep`."""
