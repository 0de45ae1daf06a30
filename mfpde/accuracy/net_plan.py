"""The plan of a main run on the nodes of a net, from studies of the truncation and the time step on few of its points."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from mpi4py import MPI

from mfpde.accuracy.net_study import START, net_study
from mfpde.accuracy.plan import TOLERANCE, Plan, check_rounding, divided, least_degree, studied_tolerance
from mfpde.accuracy.studied_times import studied_times
from mfpde.accuracy.studies import Setting, radial_degree, truncation_study
from mfpde.discretisation.resolution import Net, Resolution
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization

# Shares of the net, and of the truncation and of the time step, in the error: these are taken twice.
NET, OTHERS = 0.55, 0.1
# Points of the net on which the truncation is studied, and the least K of the scrambles.
FEW, LEAST = 1024, 6
# Its correction was found to differ by up to 1% of itself between scrambles of so many points: twice that is not counted on.
UNCERTAIN = 0.02


def make_net_plan(
    comm: MPI.Intracomm,
    problem: Problem,
    options: Discretization,
    records: list[float],
    wanted: float,
    kept: Resolution | None = None,
) -> Plan:
    """Collective. Studies a net; arguments and errors as for `make_panel_plan`."""
    points = options.net_points
    if kept is not None:
        assert kept.net is not None
        points = kept.net.points
        numbers = {name: getattr(kept, name) for name in ("hermite_degree", "radial_degree", "tolerance")}
        options = msgspec.structs.replace(options, **numbers)
    base = _base(problem, options, wanted)
    times = divided(comm, {"times": lambda: studied_times(problem, options, base, records)})["times"]
    setting = Setting(problem, options, times, OTHERS * wanted)
    curve = divided(comm, {"base": lambda: setting.run(base)})["base"]
    check_rounding(curve, problem.target.unit, wanted)
    given = options.hermite_degree, options.radial_degree
    least = replace(base, hermite_degree=least_degree(problem, options), net=Net(FEW))
    tasks: dict[str, Callable[[], Any]] = {
        "truncation": lambda: truncation_study(setting, least, given, UNCERTAIN),
        "tolerance": lambda: studied_tolerance(setting, base, curve),
    }
    found = divided(comm, tasks)
    scrambles = replace(base, tolerance=found["tolerance"].value)
    net = net_study(setting, scrambles, NET * wanted, partial(divided, comm), points)
    return Plan(base, {}, {}, found["truncation"], found["tolerance"], times, records, setting.share, net)


def _base(problem: Problem, options: Discretization, wanted: float) -> Resolution:
    """A net of few points at a small truncation."""
    accuracy = wanted / problem.target.unit
    K = max(LEAST, least_degree(problem, options))
    K = K if options.hermite_degree is None else min(K, options.hermite_degree)
    J = radial_degree(problem, K, 1e-3) if options.radial_degree is None else options.radial_degree
    tolerance = min(TOLERANCE * accuracy, 1e-5) if options.tolerance is None else options.tolerance
    return Resolution({}, {}, K, J, tolerance, Net(START))
