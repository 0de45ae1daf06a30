"""Label-weighted mass of -min(q, 0): the density that is written is limited, the evolving one is not."""

import numpy as np

from mfpde.evolution.indicators import View

NEEDS = ("slices",)
LIMIT = 1e-2
ADVICE = 'the density is not resolved: raise discretization.cells or degree, or take discretization.frame = "flow"'


def compute(view: View) -> float:
    slices = view.flow.slices
    below = np.minimum(view.state.q * slices.weight, 0.0).sum(axis=(1, 2))
    return float(view.flow.comm.allreduce(float(-np.dot(slices.label_weight, below))))
