"""Quadrature of the initial law: Gauss rules on panels of one direction, their refinement, and products of them."""
