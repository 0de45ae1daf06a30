"""Largest share of a carried field's mass-weighted norm in its cells' highest polynomial degree.

Near 1 the field is torn: v_0 -> v is no longer one-to-one inside a slice, or the cells are too coarse.
"""

import numpy as np
from mpi4py import MPI

from mfpde.evolution.indicators import View

LIMIT = 1e-1
ADVICE = (
    "a carried field is torn (v_0 -> v is no longer one-to-one in a slice): do not trust what follows; "
    'discretization.frame = "flow" needs no such map'
)


def compute(view: View) -> float | None:
    """Collective. The largest share over slices and fields."""
    if (mesh := view.mesh) is None:
        return None
    if not mesh.moves:
        return 0.0
    p, n = mesh.L.shape[1], len(mesh.points)
    top = np.polynomial.legendre.legval(2 * mesh.points - 1, [0.0] * (n - 1) + [1.0]) * mesh.point_weights * np.sqrt(2 * n - 1)
    mass = np.maximum(mesh.q, 0.0) * mesh.weight
    cell_mass = mass.sum(axis=2)
    # No slices here: the smallest of maxima.
    parts = np.zeros((2, len(mass), 2))
    for f, field in enumerate(mesh.carried):
        shaped = field.reshape(*field.shape[:2], *[n] * p)
        for d in range(p):
            along = np.tensordot(shaped, top, axes=(2 + d, 0)).reshape(*field.shape[:2], n ** (p - 1))
            parts[f, :, 0] += (cell_mass * (along**2).mean(axis=2)).sum(axis=1)
        parts[f, :, 1] = (mass * field**2).sum(axis=(1, 2))
    mesh.comm.Allreduce(MPI.IN_PLACE, parts)
    share = np.sqrt(np.divide(parts[..., 0], parts[..., 1], out=np.zeros_like(parts[..., 0]), where=parts[..., 1] > 0))
    return float(view.comm.allreduce(float(share.max(initial=0.0)), op=MPI.MAX))
