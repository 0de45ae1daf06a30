"""The mean-field flow: state, right-hand side, process grid, time integration, indicators."""
