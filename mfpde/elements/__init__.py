"""Finite elements: label rules, cells and nodes of the reference mesh, frames, and the transport of a density."""
