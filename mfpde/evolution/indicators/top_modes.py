"""Share of sum_i m_i^2 in the two highest degrees of the Hermite modes."""

from mfpde.evolution.indicators import View

LIMIT = 1e-2
ADVICE = "the Hermite truncation carries weight in its top modes: raise discretization.hermite_degree"

# Of moments, in units of sqrt(E a^2): there is no share of what is smaller.
ROUNDING = 1e-13


def compute(view: View) -> float:
    """Collective. The share; 0 where the moments are rounding errors, as at the start of a symmetric law of a."""
    m, modes = view.moments.all, view.modes
    energy = float(m @ m)
    size = float(view.comm.allreduce(float(view.nodes.weight @ view.nodes.a**2)))
    if not energy > ROUNDING**2 * size:
        return 0.0
    return float((m[modes.degree >= modes.hermite_degree - 1] ** 2).sum()) / energy
