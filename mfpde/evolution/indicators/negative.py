"""Label-weighted mass of -min(q, 0): the density that is written is limited, the evolving one is not."""

import numpy as np

from mfpde.evolution.indicators import View

LIMIT = 1e-2
ADVICE = 'the density is not resolved: raise discretization.cells or degree, or take discretization.frame = "flow"'


def compute(view: View) -> float | None:
    """Collective. The negative part of the density."""
    if view.mesh is None:
        return None
    below = np.minimum(view.mesh.q * view.mesh.weight, 0.0).sum(axis=(1, 2))
    return float(view.comm.allreduce(float(-np.dot(view.mesh.label_weight, below))))
