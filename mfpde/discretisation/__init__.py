"""What a discretisation of the density is, and what all of them share.

A discretisation is a room of its own (`mfpde.moving`, `mfpde.affine`).  Who trains, estimates errors or draws
densities knows it by the protocol here alone, and `mfpde.discretisations` is the one place that chooses.
"""
