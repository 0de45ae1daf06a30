"""Label-weighted mass in the cells at the walls of the reference box."""

import numpy as np

from mfpde.evolution.indicators import View

NEEDS = ("slices",)
LIMIT = 1e-3
ADVICE = "mass has reached the walls of the reference mesh: raise discretization.half_width, or take a larger mesh"


def compute(view: View) -> float:
    slices = view.flow.slices
    outer = (view.state.q * slices.weight)[:, slices.mesh.outer].sum(axis=(1, 2))
    return float(view.flow.comm.allreduce(float(np.dot(slices.label_weight, outer))))
