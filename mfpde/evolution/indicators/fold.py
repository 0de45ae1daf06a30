"""Mass where v_0 -> v has turned over inside a slice, J = det dX/dy < 0: there the density at a fixed label is many-valued.

What follows the flow needs no one-to-one map: the loss and the densities that are pushed forward hold.  The number says
that no density over v at a fixed label does.
"""

from mfpde.evolution.indicators import View

# A share: there is nothing to warn of.
LIMIT = 1.0
ADVICE = "v_0 -> v is folded: take densities by mfpde.density, not from the Jacobian of a label's map"


def compute(view: View) -> float | None:
    """Collective. The mass that the flow finds folded."""
    return None if view.folded is None else view.folded()
