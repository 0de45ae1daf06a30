"""The Hermite features of neurons: modes, tables, moments and velocities."""
