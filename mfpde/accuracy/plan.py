"""The resolution that reaches a wanted accuracy, from studies of every direction."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

import msgspec
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.accuracy.allowed import Allowed
from mfpde.accuracy.kept import ON_OWN, fixed_study, seen_on_own
from mfpde.accuracy.net_study import NetStudy
from mfpde.accuracy.studied_times import studied_times
from mfpde.accuracy.studies import Setting, Study, choose, lowest_on_fine, panel_study, seen_on_fine
from mfpde.accuracy.study_run import Curve
from mfpde.accuracy.tolerance import first_tolerance, steps_resolved, tolerance_study
from mfpde.accuracy.truncation import UNCERTAIN, TruncationStudy, radial_degree, truncation_study
from mfpde.discretisation.protocol import Direction
from mfpde.discretisation.resolution import Resolution, given_resolution, is_given
from mfpde.discretisations import discretisation_of
from mfpde.errors import InputError, RunError
from mfpde.features.bases import basis_of
from mfpde.features.protocol import common_modes, named
from mfpde.problem.defaults import mode_count
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization
from mfpde.quadrature.panels import Panels

Array = NDArray[np.float64]

# Refinements of one direction at the most.
REFINEMENTS = 14
# The truncation is studied on elements that err by so much in each direction, in units of E h*^2 / 2, or of E(t) where errors are
# relative to it; on those of the main run if these have few nodes.
MISLED, MISLED_SHARE, FEW = 1e-3, 0.03, 1000
# Largest K at which the panels are studied, and nodes times modes up to which a right-hand side costs little but its calls.
STUDIED_K, FREE = 10, 10_000
# The same up to which directions are studied once more on the elements of the main run.
CHEAP = 3 * FREE
# Relative rounding errors of E at its largest: sums over nodes, and steps.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Plan:
    """What the studies found.

    Attributes:
        base: Elements that are coarse in all directions.
        directions: The study of each direction with panels, by name.
        sources: The part of the error that each of them counts in, likewise.
        truncation: Of the Hermite modes.
        tolerance: Of the time step.
        times: Of the records of all of them, see `studied_times`.
        records: Those of the main run.
        share: Of each direction in the error.
        net: Of a main run on the nodes of a net, which has no directions.
    """

    base: Resolution
    directions: dict[str, Study[Panels]]
    sources: dict[str, str]
    truncation: TruncationStudy
    tolerance: Study[float]
    times: list[float]
    records: list[float]
    share: Allowed
    net: NetStudy | None = None

    @property
    def correction(self) -> Array:
        """What is to be added to E of the modes of the main run, at the plan's times, shape (n,)."""
        return self.truncation.correction if self.net is None else self.truncation.correction + self.net.correction

    @property
    def resolution(self) -> Resolution:
        """Of the main run."""
        return self._at({name: study.value for name, study in self.directions.items()})

    @property
    def coarser(self) -> Resolution:
        """One level below it in every direction."""
        return self._at({name: study.coarser for name, study in self.directions.items()})

    def shift(self, problem: Problem) -> Array:
        """What m(t) of the main run lacks at `times`, to first order, shape (n, modes of the finest truncation).

        The sum over all directions of the moments of the finest level minus those of the chosen one.
        """
        (K, J), total = self.truncation.finest, self.truncation.shift.copy()
        finest = replace(self.base, hermite_degree=K, radial_degree=J)
        own, places = common_modes(*(named(basis_of(problem, each)) for each in (self.base, finest)))
        net = () if self.net is None else (self.net,)
        for study in (*self.directions.values(), self.tolerance, *net):
            if study.shift.size:
                total[:, places] += study.shift[:, own]
        return total

    def _at(self, panels: dict[str, Panels]) -> Resolution:
        K, J = self.truncation.value
        chosen = self.base.with_panels(panels)
        chosen = replace(chosen, hermite_degree=K, radial_degree=J, tolerance=self.tolerance.value)
        return chosen if self.net is None else replace(chosen, net=self.net.net)

    def measured(self) -> "Plan":
        """With what the studies say of the moments, see `Study.measured`."""
        directions = {name: study.measured() for name, study in self.directions.items()}
        return replace(self, directions=directions, tolerance=self.tolerance.measured())

    def within(self, largest: int) -> "Plan":
        """The plan with the levels of larger shares, until the main run has at most `largest` nodes."""
        plan, share = self, self.share
        while plan.resolution.nodes > largest and any(study.chosen and not study.fixed for study in plan.directions.values()):
            share = share * 2
            eased = {
                name: study
                if study.fixed
                else replace(choose(list(study.levels), share), settled=False, elsewhere=study.elsewhere)
                for name, study in plan.directions.items()
            }
            plan = replace(plan, directions=eased)
        return plan


@dataclass(frozen=True)
class Request:
    """What a plan is asked for.

    Attributes:
        problem: What to solve.
        options: The discretisation; numbers that the user gave are kept.
        records: Record times of the main run.
        wanted: The error of E that is allowed.
        kept: The resolution of a run that is there already: the plan is this one, with its error.
    """

    problem: Problem
    options: Discretization
    records: list[float]
    wanted: Allowed
    kept: Resolution | None = None

    @property
    def numbers(self) -> Discretization:
        """The discretisation with the truncation and the tolerance of what is kept."""
        if self.kept is None:
            return self.options
        kept = {name: getattr(self.kept, name) for name in ("hermite_degree", "radial_degree", "tolerance")}
        return msgspec.structs.replace(self.options, **kept)


def make_panel_plan(comm: MPI.Intracomm, request: Request) -> Plan:
    """Collective. Studies all directions, each on one rank, so that the plan does not depend on their number.

    Raises:
        InputError: On all ranks, if E has larger rounding errors than what is wanted.
        RunError: On all ranks, if the problem cannot be solved on coarse elements.
    """
    plan = panel_plan_within(inf, comm, request)
    assert plan is not None
    return plan


def panel_plan_within(most: float, comm: MPI.Intracomm, request: Request) -> Plan | None:
    """Collective. The same if the main run and its check have at most `most` nodes; None if they are known to have more."""
    problem, options, wanted, kept = request.problem, request.numbers, request.wanted, request.kept
    directions = discretisation_of(problem, options).directions(problem)
    base = _base(problem, options, directions, wanted)
    scouting = replace(base, hermite_degree=least_degree(problem, options))
    times = divided(comm, {"times": lambda: studied_times(problem, options, scouting, request.records, wanted)})["times"]
    setting = Setting(problem, options, times, wanted * (0.7 / (len(directions) + 2)))
    if wanted.relative:
        base, curve = divided(comm, {"base": lambda: steps_resolved(setting, base, wanted)})["base"]
    else:
        curve = divided(comm, {"base": lambda: setting.run(base, with_profiles=True)})["base"]
    check_rounding(curve.loss, problem, wanted)
    tasks: dict[str, Callable[[], Any]] = {
        "tolerance": lambda: studied_tolerance(setting, base, curve),
        **{name: _direction(setting, base, name, each, curve, kept) for name, each in directions.items()},
    }
    found = divided(comm, tasks)
    studies: dict[str, Study[Panels]] = {name: found[name] for name in directions}
    if 2 * base.with_panels({name: study.value for name, study in studies.items()}).nodes > most:
        return None
    studies |= divided(comm, _on_fine_y(setting, base, directions, studies))
    if kept is not None:
        studies |= divided(comm, seen_on_own(setting, base, directions, studies))
    studies |= _on_all(comm, setting, base, directions, studies)
    # Where the coarse elements are wrong, so is what they say of the truncation, as late neurons are elsewhere.
    misled = wanted * (MISLED_SHARE / wanted.relative) if wanted.relative else Allowed(MISLED * problem.target.unit)
    finer = base.with_panels({name: study.near(misled) for name, study in studies.items()})
    finest = base.with_panels({name: study.value for name, study in studies.items()})
    finer = replace(finest if finest.nodes <= FEW else finer, hermite_degree=least_degree(problem, options))
    given = options.hermite_degree, options.radial_degree
    finer = replace(finer, tolerance=min(finer.tolerance, found["tolerance"].value)) if wanted.relative else finer
    smallest = float(setting.share.at(curve.loss).min())
    # On the elements of a run that is there already, what its K leaves out is known better.
    uncertain = ON_OWN if kept is not None and finest.nodes <= FEW else UNCERTAIN
    found |= divided(comm, {"truncation": lambda: truncation_study(setting, finer, given, smallest, uncertain)})
    sources = {name: each.source for name, each in directions.items()}
    return Plan(base, studies, sources, found["truncation"], found["tolerance"], times, request.records, setting.share)


def check_rounding(loss: Array, problem: Problem, wanted: Allowed) -> None:
    """Raises InputError if E has larger rounding errors than those that are wanted.

    E = r^2 / 2, and the residual r is a difference of numbers of the largest size; the energy of h* beyond the modes is one of
    energies.
    """
    largest, unit = float(np.abs(loss).max()), problem.target.unit
    rounding = ROUNDING * np.sqrt(np.abs(loss) * largest)
    if problem.target.energy is not None:
        rounding = np.maximum(rounding, ROUNDING * unit)
    if wanted.times(rounding, loss) <= 1:
        return
    least = float(rounding.max()) / unit
    text = f" of E h*^2 / 2 = {unit:.1e} is below the rounding errors of E, up to {largest:.2g}"
    or_least = f"at least {least:.1e}, or " if least <= 0.1 else ""
    if wanted.relative:
        raise InputError(
            f"discretization.relative_accuracy: {wanted.smallest / unit:.1e}{text}; allowed with this target: larger ones, or "
            f"beside discretization.accuracy, {or_least}false"
        )
    raise InputError(f"discretization.accuracy: {wanted.absolute / unit:.1e}{text}; allowed with this target: {or_least}false")


def _base(problem: Problem, options: Discretization, directions: dict[str, Direction], wanted: Allowed) -> Resolution:
    """Elements that are coarse in all directions where the user says nothing."""
    given = given_resolution(problem, options)
    unit = problem.target.unit
    K = least_degree(problem, options)
    J = max([0, *(stage.degree // 2 for stage in problem.stages if stage.linear and not problem.w.is_point)])
    base = replace(
        given.with_panels({name: each.coarsest for name, each in directions.items() if not is_given(options, name)}),
        hermite_degree=K,
        radial_degree=max(J, min(1, radial_degree(problem, K, 1e-3))),
        tolerance=first_tolerance(wanted, unit, unit) if options.tolerance is None else options.tolerance,
    )
    # Where late neurons are depends on the truncation, and so do the labels that they need: more modes, where that costs nothing.
    for more in range(K + 1, min(STUDIED_K, options.hermite_degree or STUDIED_K) + 1):
        if base.nodes * mode_count(problem.p, problem.d, more, base.radial_degree) > FREE:
            break
        base = replace(base, hermite_degree=more)
    return base


def least_degree(problem: Problem, options: Discretization) -> int:
    """The smallest K that is studied, with h* and the activations of linear stages in it unless the user gave a smaller one."""
    K = max([problem.target.least_degree, 4, *(stage.degree for stage in problem.stages if stage.linear)])
    return K if options.hermite_degree is None else min(K, options.hermite_degree)


def _direction(
    setting: Setting, base: Resolution, name: str, direction: Direction, curve: Curve, kept: Resolution | None
) -> Callable[[], Study[Panels]]:
    fixed = is_given(setting.options, name)

    def study() -> Study[Panels]:
        found = panel_study(setting, base, name, direction, curve, 2 if fixed else REFINEMENTS)
        if kept is not None and not fixed:
            return fixed_study(setting, base, name, direction, kept.panels[name], found)
        return replace(found, chosen=0, fixed=True) if fixed else found

    return study


def _on_fine_y(
    setting: Setting, base: Resolution, directions: dict[str, Direction], studies: dict[str, Study[Panels]]
) -> dict[str, Callable[[], Study[Panels]]]:
    """Studies of directions at their lowest levels once more, where the other directions of y are those of the main run."""
    tasks: dict[str, Callable[[], Study[Panels]]] = {}
    for name, study in studies.items():
        fine = {other: found.value for other, found in studies.items() if other != name and directions[other].source == "mesh"}
        if not (study.chosen or study.fixed or directions[name].exact) and any(studies[other].chosen for other in fine):
            tasks[name] = partial(lowest_on_fine, setting, base.with_panels(fine), name, study)
    return tasks


def _on_all(
    comm: MPI.Intracomm,
    setting: Setting,
    base: Resolution,
    directions: dict[str, Direction],
    studies: dict[str, Study[Panels]],
) -> dict[str, Study[Panels]]:
    """Collective. Studies of directions that were refined once more where all others are those of the main run, if that costs
    little: two of them may ask more of each other than either shows where the other is coarse, as y and r on the sphere do."""
    problem, fine = setting.problem, base.with_panels({name: study.value for name, study in studies.items()})
    modes = mode_count(problem.p, problem.d, base.hermite_degree, base.radial_degree)
    refined = [name for name, study in studies.items() if study.chosen and not (study.fixed or directions[name].exact)]
    asked = [name for name in refined if studies[name].chosen + 1 < len(studies[name].levels)]
    if len(refined) < 2 or not asked or fine.nodes * modes > CHEAP:
        return {}
    own = divided(comm, {"own": lambda: setting.run(fine).loss})["own"]
    return divided(comm, {name: partial(seen_on_fine, setting, fine, name, studies[name], own) for name in asked})


def studied_tolerance(setting: Setting, base: Resolution, curve: Curve) -> Study[float]:
    """The study of the time step's tolerance, or of the one that the user gave; `curve` is the run of the base."""
    given = setting.options.tolerance is not None
    found = tolerance_study(setting, base, curve, Allowed(np.inf) if given else setting.share)
    return replace(found, fixed=given)


def divided(comm: MPI.Intracomm, tasks: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Collective. The values of all tasks on all ranks, each computed on one of them; the first error is raised on all."""
    mine: dict[str, Any] = {}
    for number, (name, task) in enumerate(tasks.items()):
        if number % comm.size == comm.rank:
            try:
                mine[name] = task()
            except (InputError, RunError) as error:
                mine[name] = error
    merged = {name: value for part in comm.allgather(mine) for name, value in part.items()}
    for name in tasks:
        if isinstance(merged[name], Exception):
            raise merged[name]
    return {name: merged[name] for name in tasks}
