"""Label-weighted mass in the cells at the walls of the reference box."""

import numpy as np

from mfpde.evolution.indicators import View

LIMIT = 1e-3
ADVICE = "mass has reached the walls of the reference mesh: raise discretization.half_width, or take a larger mesh"


def compute(view: View) -> float | None:
    """Collective. The mass at the walls."""
    if view.mesh is None:
        return None
    outer = (view.mesh.q * view.mesh.weight)[:, view.mesh.outer].sum(axis=(1, 2))
    return float(view.comm.allreduce(float(np.dot(view.mesh.label_weight, outer))))
