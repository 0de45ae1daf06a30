"""The plan that costs less: panels in every direction, or a net of all of them."""

from math import inf

from mpi4py import MPI

from mfpde.accuracy.net_plan import make_net_plan, try_net
from mfpde.accuracy.plan import Plan, Request, make_panel_plan, panel_plan_within
from mfpde.discretisations import NET

# From this dimension on, by p, the map of the neurons is close to linear in y: three nodes in each direction of it do, and
# nothing is to be gained by a net.
LINEAR = {1: 100, 2: 100, 3: 1000}
# Nodes of all runs of a net that cost no more than the studies of panels alone.
CHEAP = 100_000


def make_plan(comm: MPI.Intracomm, request: Request) -> Plan:
    """Collective. Studies what is to be chosen; errors as for `make_panel_plan`."""
    problem, kept = request.problem, request.kept
    nodes = request.options.nodes if kept is None else "panels" if kept.net is None else NET
    if nodes == "panels" or (nodes == "auto" and problem.d >= LINEAR.get(problem.p, inf)):
        return make_panel_plan(comm, request)
    trial, plan = try_net(comm, request), None
    if nodes == "auto" and trial.nodes > CHEAP:
        plan = panel_plan_within(trial.nodes, comm, request)
    return plan or make_net_plan(comm, trial, request.records)
