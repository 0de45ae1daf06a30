"""The plan that costs less: panels in every direction, or a net of all of them."""

from mpi4py import MPI

from mfpde.accuracy.net_plan import make_net_plan
from mfpde.accuracy.plan import Plan, make_panel_plan
from mfpde.discretisation.resolution import Resolution
from mfpde.discretisations import NET
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization


def make_plan(
    comm: MPI.Intracomm,
    problem: Problem,
    options: Discretization,
    records: list[float],
    wanted: float,
    kept: Resolution | None = None,
) -> Plan:
    """Collective. Studies what is to be chosen; arguments and errors as for `make_panel_plan`."""
    has_net = options.nodes == NET if kept is None else kept.net is not None
    return (make_net_plan if has_net else make_panel_plan)(comm, problem, options, records, wanted, kept)
