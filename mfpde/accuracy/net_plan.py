"""The plan of a main run on the nodes of a net, from studies of the truncation and the time step on few of its points."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mpi4py import MPI

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.net_study import SCRAMBLES, START, NetStudy, level, net_study, wanted_points
from mfpde.accuracy.plan import Plan, Request, check_rounding, divided, least_degree, studied_tolerance
from mfpde.accuracy.studied_times import studied_times
from mfpde.accuracy.studies import Setting
from mfpde.accuracy.study_run import Curve
from mfpde.accuracy.tolerance import first_tolerance
from mfpde.accuracy.truncation import radial_degree, truncation_study
from mfpde.discretisation.resolution import Net, Resolution
from mfpde.evolution.net import node_count
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization

# A second level of the trial, in units of the first one, if the main run wants more.
MANY = 4
# Shares of the net, and of the truncation and of the time step, in the error: these are taken twice.
NET, OTHERS = 0.7, 0.08
# Points of the net on which the truncation is studied, and the least K of the scrambles.
FEW, LEAST = 512, 6
# Its correction was found to differ by up to 1.5% of itself between scrambles of so many points: that is not counted on, twice.
UNCERTAIN = 0.015


@dataclass(frozen=True)
class NetTrial:
    """What nets of few points say.

    Attributes:
        setting: The problem, and the times of the studies.
        base: The first net.
        curve: Its run.
        levels: Of nets of few points.
        fixed: Whether the points of the last of them are given.
        share: Of the net in the error.
    """

    setting: Setting
    base: Resolution
    curve: Curve
    levels: tuple[NetStudy, ...]
    fixed: bool
    share: Allowed

    @property
    def nodes(self) -> int:
        """Nodes of all runs that are to come: of the scrambles, and of the main run."""
        points = self.levels[-1].net.points if self.fixed else wanted_points(self.levels, self.share)
        return (SCRAMBLES + 1) * node_count(self.setting.problem, points)


def try_net(comm: MPI.Intracomm, request: Request) -> NetTrial:
    """Collective. Nets of few points; errors as for `make_panel_plan`."""
    problem, options, wanted = request.problem, request.numbers, request.wanted
    kept = None if request.kept is None else request.kept.net
    points = options.net_points if kept is None else kept.points
    base = _base(problem, options, wanted)
    times = divided(comm, {"times": lambda: studied_times(problem, options, base, request.records, wanted)})["times"]
    setting = Setting(problem, options, times, wanted * OTHERS)
    curve = divided(comm, {"base": lambda: setting.run(base)})["base"]
    check_rounding(curve.loss, problem, wanted)
    levels = [level(setting, base, points or START, partial(divided, comm), curve)]
    if points is None and wanted_points(levels, wanted * NET) >= MANY * START:
        levels.append(level(setting, base, MANY * START, partial(divided, comm)))
    return NetTrial(setting, base, curve, tuple(levels), points is not None, wanted * NET)


def make_net_plan(comm: MPI.Intracomm, trial: NetTrial, records: list[float]) -> Plan:
    """Collective. Studies the truncation and the time step, and takes as many points as it takes.

    Args:
        comm: All ranks.
        trial: Of the net.
        records: Record times of the main run.

    Raises:
        RunError: On all ranks, if the problem cannot be solved on so few points.
    """
    setting, base = trial.setting, trial.base
    options = setting.options
    given = options.hermite_degree, options.radial_degree
    least = replace(base, hermite_degree=least_degree(setting.problem, options), net=Net(FEW))
    tasks: dict[str, Callable[[], Any]] = {
        "truncation": lambda: truncation_study(setting, least, given, uncertain=UNCERTAIN),
        "tolerance": lambda: studied_tolerance(setting, base, trial.curve),
    }
    found = divided(comm, tasks)
    scrambles = replace(base, tolerance=found["tolerance"].value)
    net = net_study(setting, scrambles, trial.share, partial(divided, comm), trial.levels, trial.fixed)
    return Plan(base, {}, {}, found["truncation"], found["tolerance"], setting.times, records, setting.share, net)


def _base(problem: Problem, options: Discretization, wanted: Allowed) -> Resolution:
    """A net of few points at a small truncation."""
    K = max(LEAST, least_degree(problem, options))
    K = K if options.hermite_degree is None else min(K, options.hermite_degree)
    J = radial_degree(problem, K, 1e-3) if options.radial_degree is None else options.radial_degree
    unit = problem.target.unit
    tolerance = first_tolerance(wanted, unit, unit) if options.tolerance is None else options.tolerance
    return Resolution({}, {}, K, J, tolerance, Net(START))
