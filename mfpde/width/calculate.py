"""c(t) and s(t) of a problem: what can be asked, and the answer."""

from dataclasses import dataclass, replace
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc  # noqa: F401  (it begins on all ranks together: later, one of them alone would wait for the others)

from mfpde.discretisations import build_problem
from mfpde.errors import InputError
from mfpde.parallel import on_first
from mfpde.problem.config import config_of
from mfpde.problem.keywords import Source, sections_of
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config
from mfpde.problem.terms.weight_decay import WeightDecay
from mfpde.width.answer import Width
from mfpde.width.course import MOST, legs
from mfpde.width.small_steps import check_sgd, small_steps
from mfpde.width.study import Study

# Wanted error of c and s, in units of their largest values over the run; and what may be asked for.
ACCURACY, FINEST, COARSEST = 0.01, 1e-4, 0.5
LARGEST_P = 3


def width(
    source: Source = None,
    *,
    comm: MPI.Intracomm | None = None,
    accuracy: float = ACCURACY,
    batch: int | None = None,
    step: float | None = None,
    **keywords: Any,
) -> Width:
    """Collective. What networks of N neurons do in a training: E[E_N] = E + c/N + .., deviation s/sqrt(N).

    Args:
        source: A TOML file, a dict with its sections, or None for the shipped example, as for `mfpde.run`.
        comm: All ranks; MPI.COMM_WORLD if not given.
        accuracy: Wanted error of c and s over the whole run, in units of their largest values, 1e-4 to 0.5.
        batch, step: Samples of a step of SGD, and its length in time, if its terms are wanted as well: E + c/N + step e +
            (step/batch) q. One of them alone is enough, the other one is then that of the configuration's [particles].
        keywords: Further sections, or keys of any section by their own name.

    Returns:
        The curves with their errors, on all ranks.

    Raises:
        InputError: On all ranks, for the first thing that is wrong with the configuration, or for a training that this is not
            derived for, naming its key and what is allowed.
        RunError: On all ranks, if the run cannot go on.

    c and s are those of independent initial neurons under the gradient flow (Chassagneux, Szpruch and Tse, arXiv 1901.02556).
    """
    ranks = MPI.COMM_WORLD if comm is None else comm

    def read() -> tuple[Problem, Sgd | None]:
        data, stem = sections_of(source, keywords)
        config = config_of(data, (), stem)
        return build_problem(config), sgd_of(config, batch, step)

    problem, sgd = on_first(ranks, read)
    return width_of(ranks, problem, accuracy, sgd)


@dataclass(frozen=True)
class Sgd:
    """A step of SGD: samples, length in time, and the standard deviation of the noise in their labels."""

    batch: int
    step: float
    label_noise: float = 0.0


def sgd_of(config: Config, batch: int | None, step: float | None) -> Sgd | None:
    """The step that is asked for, what is left out being that of [particles]; None if nothing is."""
    if batch is None and step is None:
        return None
    given = config.particles
    return Sgd(given.batch if batch is None else batch, given.step if step is None else step, given.label_noise)


def width_of(comm: MPI.Intracomm, problem: Problem, accuracy: float = ACCURACY, sgd: Sgd | None = None) -> Width:
    """Collective. The same of a problem."""
    check(problem, sgd)
    if not FINEST <= accuracy <= COARSEST:
        raise InputError(f"accuracy: {accuracy:g}; allowed for c and s: {FINEST:g} to {COARSEST:g}")
    study = Study(comm, problem, accuracy)
    found = study.find()
    curves, error = found.curves, found.error
    width = Width(
        time=curves.time,
        loss=curves.loss,
        loss_error=error[0],
        correction=curves.correction,
        correction_error=error[1],
        deviation=curves.deviation,
        deviation_error=error[2],
        sectors=curves.energy,
        parts=found.parts,
        moments=curves.moments,
        hermite_degree=found.truncation.K,
        radial_degree=found.truncation.J,
        resolution=found.resolution,
        accuracy=accuracy,
        settled=found.settled,
        warnings=_formal(problem),
        sgd=None if sgd is None else small_steps(comm, study, found, sgd.batch, sgd.step, sgd.label_noise),
    )
    return replace(width, warnings=(*width.warnings, *_missed(width, found.reached)))


def check(problem: Problem, sgd: Sgd | None = None) -> None:
    """Refuses what the second variation, or that of SGD, is not derived for.

    Raises:
        InputError: With the key and what is allowed.
    """
    if problem.features != "hermite":
        raise InputError(f'discretization.features: {problem.features!r}: c and s need Hermite modes; allowed: "hermite"')
    if problem.p > LARGEST_P:
        raise InputError(f"target: p = {problem.p}; allowed for c and s: p = 1 to {LARGEST_P}")
    for number, stage in enumerate(problem.stages):
        if stage.average > 1 or stage.by_moments:
            raise InputError(
                f"training: stage {number + 1} averages copies of neurons, which is no flow of N neurons; allowed for c and s: "
                "stages with average = 1, and no training.strategy"
            )
        for term in stage.terms:
            if not isinstance(term, WeightDecay):
                name = type(term).__module__.rpartition(".")[2]
                raise InputError(f"training.terms: the second variation of {name!r} is not known; allowed: weight_decay")
    if (steps := sum(leg.steps for leg in legs(problem))) > MOST:
        raise InputError(f"training.final_time: c and s take {steps} steps; allowed: up to {MOST}, of a unit of time 1/xi each")
    if sgd is not None:
        check_sgd(problem, sgd.batch, sgd.step)


def _formal(problem: Problem) -> tuple[str, ...]:
    kinked = [stage.activation.text for stage in problem.stages if stage.activation.kinks]
    if not kinked:
        return ()
    return (f"width: {kinked[0]} is not smooth, and c and s are proven for smooth activations alone: here they are formal",)


def _missed(width: Width, reached: float) -> tuple[str, ...]:
    if width.known < len(width.time):
        return (
            f"width: c is not known beyond t = {width.time[width.known - 1]:.3g}, where its error grows beyond half of it: near "
            "a saddle that neurons leave late c and s grow with the instability, and say nothing of what follows",
        )
    if width.settled:
        return ()
    return (
        f"width: the accuracy reached for c and s is {reached:.1e} of their largest values, and {width.accuracy:.1e} was asked "
        "for",
    )
