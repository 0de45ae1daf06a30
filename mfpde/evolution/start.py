"""The flow of the first stage, as the configuration asks for it."""

from mpi4py import MPI

from mfpde.elements.labels import label_rules
from mfpde.evolution.flow import StageFlow
from mfpde.evolution.following import FollowingFlow, make_elements
from mfpde.features.features import Features
from mfpde.features.modes import modes_of
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization


def start_flow(comm: MPI.Intracomm, problem: Problem, options: Discretization, mesh_ranks: int = 0) -> StageFlow:
    """Collective. The first stage of a problem from its initial law.

    Args:
        comm: All ranks.
        problem: The same on all ranks.
        options: The discretisation, with all numbers chosen; likewise.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.
    """
    if problem.w.is_point:
        features = Features(comm, modes_of(problem, options), problem.stages[0].activation)
        labels = label_rules(problem, options.a_nodes, options.r_nodes)
        elements = make_elements(comm, labels, ((),) * problem.p, (1,) * problem.p, mesh_ranks)
        return FollowingFlow(problem, features, elements)
    from mfpde.evolution.affine import AffineFlow

    return AffineFlow.start(comm, problem, options, mesh_ranks)
