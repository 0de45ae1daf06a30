"""Share of sum_i m_i^2 in the two highest degrees of the Hermite modes."""

from mfpde.evolution.indicators import View

LIMIT = 1e-2
ADVICE = "the Hermite truncation carries weight in its top modes: raise discretization.hermite_degree"


def compute(view: View) -> float:
    m, modes = view.moments.all, view.modes
    energy = float(m @ m)
    return float((m[modes.degree >= modes.hermite_degree - 1] ** 2).sum()) / energy if energy > 0 else 0.0
