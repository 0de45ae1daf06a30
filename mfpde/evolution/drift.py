"""The velocity of neurons in a known mean field: what moves them, whatever carries them.

    a' = -xi_a Psi,   w' = -xi_w a grad_w Psi,   b' = -xi_b a dPsi/db,   Psi = sum_i residual_i phi_i,

and to that each term of the stage is added (`mfpde.problem.terms`).  On the sphere |w| = 1 what is left is the part along it.
"""

import numpy as np
from numpy.typing import NDArray

from mfpde.features.protocol import Features
from mfpde.neurons import Cloud, LearningRates, Neurons, Rates, project_to_sphere
from mfpde.problem.stage import Stage

Array = NDArray[np.float64]


def drift(
    stage: Stage, features: Features, cloud: Cloud, residual: Array, time: float, out: Rates, kept: Array | None = None
) -> None:
    """Writes the velocity of all neurons to `out`.

    Args:
        stage: Learning rates, terms and constraint.
        features: Features of its activation.
        cloud: The neurons; on the sphere, at |w| = 1.
        residual: Residual of the trained loss, shape (features,), see `Stage.residual`.
        time: Since the start of the stage.
        out: Where to write.
        kept: What `features.moments` has kept of the same cloud.
    """
    xi = stage.rates(time)
    features.velocities(cloud, residual, xi, out, kept)
    add_terms(stage, time, xi, cloud, out)
    if stage.on_sphere and out.r is not None:
        project_to_sphere(cloud, out)


def divergence(stage: Stage, features: Features, cloud: Cloud, residual: Array, time: float, out: Array) -> None:
    """Writes the divergence of that velocity in (a, v, r, b) to `out`, shape (slices, nodes); not for the sphere."""
    xi = stage.rates(time)
    features.divergence(cloud, residual, xi, out)
    for term in stage.terms:
        out += term.divergence(time, xi, cloud)


def add_terms(stage: Stage, time: float, xi: LearningRates, neurons: Neurons, rates: Rates) -> None:
    """Adds the velocity of the stage's terms to `rates`."""
    if stage.terms:
        own = Rates(rates.a, rates.v[..., : neurons.r.shape[-1]], rates.r, rates.b)
        for term in stage.terms:
            term.add(time, xi, neurons, own)
