"""Scrambled Sobol' points of the initial law that follow the flow: what costs least where the elements' product is large."""
