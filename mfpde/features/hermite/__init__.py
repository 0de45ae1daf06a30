"""Hermite features, for Gaussian x: modes, tables and tiles of the activation's coefficients, compiled moments and velocities."""
