"""The resolution that reaches a wanted accuracy, from studies of every direction."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.accuracy.curves import Curve, run, with_direction
from mfpde.accuracy.studies import (
    Study,
    TruncationStudy,
    choose,
    kept_study,
    panel_study,
    panels_of,
    radial_degree,
    tolerance_study,
    truncation_study,
)
from mfpde.elements.resolution import Panels, Resolution, equal_panels, given_resolution, is_given
from mfpde.errors import InputError, RunError
from mfpde.problem.defaults import mode_count
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Discretization

Array = NDArray[np.float64]

# Nodes of a base: of each half of the law of a, of b, of r, and of a direction of y (in two cells where d is small).
BASE_A, BASE_B, BASE_R, BASE_Y = 4, 4, 2, 3
# Refinements of one direction at the most.
REFINEMENTS = 14
# The truncation is studied on elements that err by so much in each direction, in units of E h*^2 / 2; on those of the main run
# if these have few nodes.
MISLED, FEW = 1e-3, 1000
# Largest K at which the panels are studied, and nodes times modes up to which a right-hand side costs little but its calls.
STUDIED_K, FREE = 10, 10_000
# The first tolerance of a time step, in units of the accuracy.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Plan:
    """What the studies found.

    Attributes:
        directions: The study of each direction with panels, by name.
        truncation: Of the Hermite modes.
        tolerance: Of the time step.
        times: Of the records of all of them.
        share: Of each direction in the error.
    """

    directions: dict[str, Study[Panels]]
    truncation: TruncationStudy
    tolerance: Study[float]
    times: list[float]
    share: float

    @property
    def resolution(self) -> Resolution:
        """Of the main run."""
        return self._at({name: study.value for name, study in self.directions.items()}, self.tolerance.value)

    @property
    def coarser(self) -> Resolution:
        """One level below it in every direction."""
        return self._at({name: study.coarser for name, study in self.directions.items()}, self.tolerance.value)

    def _at(self, panels: dict[str, Panels], tolerance: float) -> Resolution:
        K, J = self.truncation.value
        y = tuple(panels[name] for name in panels if name.startswith("y"))
        return Resolution(panels["a"], panels["r"], y, K, J, tolerance, panels.get("b"))

    def within(self, largest: int) -> "Plan":
        """The plan with the levels of larger shares, until the main run has at most `largest` nodes."""
        plan, share = self, self.share
        while plan.resolution.nodes > largest and any(study.chosen and not study.fixed for study in plan.directions.values()):
            share *= 2
            eased = {
                name: study if study.fixed else replace(choose(list(study.levels), share), settled=False)
                for name, study in plan.directions.items()
            }
            plan = replace(plan, directions=eased)
        return plan


def make_plan(
    comm: MPI.Intracomm,
    problem: Problem,
    options: Discretization,
    times: list[float],
    wanted: float,
    kept: Resolution | None = None,
) -> Plan:
    """Collective. Studies all directions, each on one rank, so that the plan does not depend on their number.

    Args:
        comm: All ranks.
        problem: What to solve.
        options: Numbers that the user gave are kept.
        times: Record times of the studies.
        wanted: The error of E that is allowed.
        kept: The resolution of a run that is there already: the plan is this one, with its error.

    Raises:
        RunError: On all ranks, if the problem cannot be solved on coarse elements.
    """
    if kept is not None:
        numbers = {name: getattr(kept, name) for name in ("hermite_degree", "radial_degree", "tolerance")}
        options = msgspec.structs.replace(options, **numbers)
    base, curve = _base(comm, problem, options, times, wanted)
    unit = 0.5 * max(float((problem.target.coefficients**2).sum()), 1e-300)
    names = [*base.labels, *(f"y{q + 1}" for q in range(len(base.y)))]
    share = 0.7 * wanted / (len(names) + 2)
    given = options.hermite_degree, options.radial_degree
    tasks: dict[str, Callable[[], Any]] = {
        "tolerance": lambda: _tolerance(problem, base, curve, times, share, options),
        **{name: _direction(problem, base, name, curve, times, share, options, kept) for name in names},
    }
    found = _divided(comm, tasks)
    # Where the coarse elements are wrong, so is what they say of the truncation, as late neurons are elsewhere.
    finer, finest = base, base
    for name in names:
        finer = with_direction(finer, name, found[name].near(MISLED * unit))
        finest = with_direction(finest, name, found[name].value)
    finer = replace(finest if finest.nodes <= FEW else finer, hermite_degree=_least_degree(problem, options))
    found |= _divided(comm, {"truncation": lambda: truncation_study(problem, finer, times, share, given)})
    return Plan({n: found[n] for n in names}, found["truncation"], found["tolerance"], times, share)


def _base(
    comm: MPI.Intracomm, problem: Problem, options: Discretization, times: list[float], wanted: float
) -> tuple[Resolution, Curve]:
    """Collective. Elements that are coarse in all directions where the user says nothing, and their curve."""
    given = given_resolution(problem, options)
    accuracy = wanted / (0.5 * max(problem.target.square, 1e-300))
    K = _least_degree(problem, options)
    J = max([0, *(stage.degree // 2 for stage in problem.stages if stage.linear and not problem.w.is_point)])
    cells = Panels((), (BASE_Y,)) if problem.d >= 100 else Panels((0.0,), (BASE_Y, BASE_Y))
    base = Resolution(
        a=given.a if is_given(options, "a") else equal_panels(problem.a, 2 * BASE_A, 2),
        r=given.r if is_given(options, "r") else equal_panels(problem.w.squared_radius, BASE_R, 1),
        y=given.y if is_given(options, "y") else (() if problem.w.is_point else (cells,) * problem.p),
        hermite_degree=K,
        radial_degree=max(J, min(1, radial_degree(problem, K, 1e-3))),
        tolerance=min(TOLERANCE * accuracy, 1e-5) if options.tolerance is None else options.tolerance,
        b=given.b if problem.b is None or is_given(options, "b") else equal_panels(problem.b, BASE_B, 1),
    )
    # Where late neurons are depends on the truncation, and so do the labels that they need: more modes, where that costs nothing.
    for more in range(K + 1, min(STUDIED_K, options.hermite_degree or STUDIED_K) + 1):
        if base.nodes * mode_count(problem.p, problem.d, more, base.radial_degree) > FREE:
            break
        base = replace(base, hermite_degree=more)
    (curve,) = _divided(comm, {"base": lambda: run(problem, base, times, with_profiles=True)}).values()
    return base, curve


def _least_degree(problem: Problem, options: Discretization) -> int:
    """The smallest K that is studied, with h* and the activations of linear stages in it unless the user gave a smaller one."""
    K = max([problem.target.least_degree, 4, *(stage.degree for stage in problem.stages if stage.linear)])
    return K if options.hermite_degree is None else min(K, options.hermite_degree)


def _direction(
    problem: Problem,
    base: Resolution,
    name: str,
    curve: Curve,
    times: list[float],
    share: float,
    options: Discretization,
    kept: Resolution | None,
) -> Callable[[], Study[Panels]]:
    fixed = is_given(options, name)

    def study() -> Study[Panels]:
        found = panel_study(problem, base, name, curve, times, share, 2 if fixed else REFINEMENTS)
        if kept is not None and not fixed:
            return kept_study(problem, base, name, panels_of(kept, name), found, times)
        return replace(found, chosen=0, fixed=True) if fixed else found

    return study


def _tolerance(
    problem: Problem, base: Resolution, curve: Curve, times: list[float], share: float, options: Discretization
) -> Study[float]:
    found = tolerance_study(problem, base, curve, times, share if options.tolerance is None else np.inf)
    return replace(found, fixed=options.tolerance is not None)


def _divided(comm: MPI.Intracomm, tasks: dict[str, Callable[[], Any]]) -> dict[str, Any]:
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
