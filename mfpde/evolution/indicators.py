"""Indicators of what a run may not resolve, one number each at every record.

label_error  size of the label rules' first neglected term, extrapolated from their last kept ones (a and r alike)
top_modes    share of sum_i m_i^2 in the two highest degrees of the Hermite modes
outer_mass   label-weighted mass in the cells at the walls of the box
negative     label-weighted mass of -min(q, 0): the density that is written is limited, the evolving one is not
fold         largest share of a carried field's mass-weighted norm in its cells' highest polynomial degree; near 1
             the field is torn: v_0 -> v is no longer one-to-one inside a slice, or the cells are too coarse
"""

from dataclasses import asdict, dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.evolution.dynamics import Evaluation, MeanFieldFlow
from mfpde.evolution.state import State
from mfpde.problem.initial import Rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Indicators:
    """See the module; `None` of them is an error bound, all of them grow before the solution goes wrong."""

    label_error: float
    top_modes: float
    outer_mass: float
    negative: float
    fold: float


# Where an indicator says that the resolution no longer fits, and what helps.
LIMITS = {
    "label_error": (1e-3, "the labels are too few for the moments: raise discretization.a_nodes or r_nodes"),
    "top_modes": (1e-2, "the Hermite truncation carries weight in its top modes: raise discretization.hermite_degree"),
    "outer_mass": (1e-3, "mass has reached the walls of the reference box: raise discretization.half_width"),
    "negative": (1e-2, "the density is not resolved: raise discretization.cells or degree"),
    "fold": (
        1e-1,
        "a carried field is torn (v_0 -> v is no longer one-to-one in a slice): raise cells, or do not trust what follows",
    ),
}


def warnings(values: Indicators) -> dict[str, str]:
    """Advice for each indicator that is over its limit."""
    return {name: LIMITS[name][1] for name, value in asdict(values).items() if value > LIMITS[name][0]}


def indicators(flow: MeanFieldFlow, state: State, evaluation: Evaluation) -> Indicators:
    """Collective. All indicators of one state."""
    comm = flow.grid.comm
    weight = flow.label_weight[flow.grid.slices.start : flow.grid.slices.stop]
    m, K = evaluation.moments, flow.modes.hermite_degree
    energy = float(m @ m)
    top = float((m[flow.modes.degree >= K - 1] ** 2).sum())
    sums = np.array([*_outer_and_negative(flow, state, weight)])
    comm.Allreduce(MPI.IN_PLACE, sums)
    return Indicators(
        label_error=_label_error(flow, evaluation),
        top_modes=top / energy if energy > 0 else 0.0,
        outer_mass=float(sums[0]),
        negative=float(sums[1]),
        fold=_fold(flow, state),
    )


def _outer_and_negative(flow: MeanFieldFlow, state: State, weight: Array) -> tuple[float, float]:
    if flow.mesh is None:
        return 0.0, 0.0
    mass = state.q * flow.weight
    outer = mass[:, flow.mesh.outer].sum(axis=(1, 2))
    return float(weight @ outer), float(-weight @ np.minimum(mass, 0.0).sum(axis=(1, 2)))


def _label_error(flow: MeanFieldFlow, evaluation: Evaluation) -> float:
    """|m_{n-1}|^2 / |m_0|: a Gauss rule of n nodes errs like the coefficient 2 n of an expansion, which is spectral."""
    problem, modes = flow.problem, len(flow.modes)
    spread = np.zeros((len(flow.label_weight), modes))
    spread[flow.grid.slices.start : flow.grid.slices.stop] = evaluation.by_slice
    flow.grid.comm.Allreduce(MPI.IN_PLACE, spread)
    by_label = spread.reshape(len(problem.a_rule.nodes), len(problem.r_rule.nodes), modes)
    over_a = np.einsum("r,arm->am", problem.r_rule.weights, by_label)
    over_r = np.einsum("a,arm->rm", problem.a_rule.weights, by_label)
    # The law of a is symmetric, so that every second term may vanish by parity: look at two.
    return max(_neglected(problem.a_rule, over_a, 2), _neglected(problem.r_rule, over_r, 1))


def _neglected(rule: Rule, values: Array, last: int) -> float:
    if len(rule.nodes) < 3:  # point and two-point laws are exact; a rule of two nodes has no tail to look at
        return 0.0
    size = np.sqrt((((rule.weights[:, None] * rule.polynomials).T @ values) ** 2).sum(axis=1))
    total = float(np.sqrt((size**2).sum()))
    return float(size[-last:].max() ** 2 / total) if total > 0 else 0.0


def _fold(flow: MeanFieldFlow, state: State) -> float:
    if flow.mesh is None or "q" not in flow.layout.evolving:
        return 0.0
    p, n = flow.mesh.p, flow.mesh.degree + 1
    basis = flow.mesh.basis
    top = np.polynomial.legendre.legval(2 * basis.points - 1, [0.0] * (n - 1) + [1.0]) * basis.weights * np.sqrt(2 * n - 1)
    mass = np.maximum(state.q, 0.0) * flow.weight
    cell_mass = mass.sum(axis=2)
    # No slices here: the smallest of maxima.
    parts = np.zeros((2, len(mass), 2))
    for f, field in enumerate((state.a, state.r)):
        shaped = field.reshape(*field.shape[:2], *[n] * p)
        for d in range(p):
            along = np.tensordot(shaped, top, axes=(2 + d, 0)).reshape(*field.shape[:2], -1)
            parts[f, :, 0] += (cell_mass * (along**2).mean(axis=2)).sum(axis=1)
        parts[f, :, 1] = (mass * field**2).sum(axis=(1, 2))
    flow.grid.mesh_comm.Allreduce(MPI.IN_PLACE, parts)
    share = np.sqrt(np.divide(parts[..., 0], parts[..., 1], out=np.zeros_like(parts[..., 0]), where=parts[..., 1] > 0))
    return float(flow.grid.comm.allreduce(float(share.max(initial=0.0)), op=MPI.MAX))
