"""The flow of the first stage, as the configuration asks for it."""

from mpi4py import MPI

from mfpde.elements.labels import make_labels
from mfpde.elements.resolution import Resolution, given_resolution
from mfpde.evolution.flow import StageFlow
from mfpde.evolution.following import FollowingFlow, make_elements
from mfpde.features.features import Features
from mfpde.features.modes import modes_of
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization


def start_flow(comm: MPI.Intracomm, problem: Problem, options: Discretization, mesh_ranks: int = 0) -> StageFlow:
    """Collective. The first stage of a problem from its initial law, at the resolution that is given or by default.

    Args:
        comm: All ranks.
        problem: The same on all ranks.
        options: The discretisation; likewise.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.
    """
    if options.frame == "flow" or problem.w.is_point:
        return following_flow(comm, problem, given_resolution(problem, options), mesh_ranks)
    from mfpde.evolution.affine import AffineFlow

    return AffineFlow.start(comm, problem, options, mesh_ranks)


def following_flow(comm: MPI.Intracomm, problem: Problem, resolution: Resolution, mesh_ranks: int = 0) -> FollowingFlow:
    """Collective. The first stage on elements that follow the flow; arguments as for `start_flow`."""
    features = Features.of_problem(comm, modes_of(problem, resolution), problem)
    labels = make_labels(problem, resolution)
    point = ((),) * problem.p
    edges = tuple(panels.edges for panels in resolution.y) or point
    counts = tuple(panels.counts[0] for panels in resolution.y) or (1,) * problem.p
    return FollowingFlow(problem, features, make_elements(comm, labels, edges, counts, mesh_ranks))
