"""Finite elements that follow the flow, `discretization.frame = "flow"`: their nodes move with the neurons."""
