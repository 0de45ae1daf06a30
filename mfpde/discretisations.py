"""The discretisations of the density, and the one place that chooses: by the configuration, from the table."""

from mpi4py import MPI

from mfpde.affine.discretisation import AffineFrame
from mfpde.discretisation.protocol import Discretisation
from mfpde.discretisation.resolution import given_resolution
from mfpde.errors import InputError, did_you_mean, quoted
from mfpde.evolution.flow import DensityFlow
from mfpde.features.bases import basis_kind
from mfpde.moving.discretisation import MovingElements
from mfpde.problem.problem import Problem, problem_of
from mfpde.problem.sections import Config, Discretization

# By the value of discretization.frame.
DISCRETISATIONS: dict[str, Discretisation] = {each.name: each for each in (MovingElements(), AffineFrame())}


def discretisation_of(problem: Problem, options: Discretization) -> Discretisation:
    """The discretisation that solves a problem.

    A point start has no density to mesh, whatever the configuration says: nodes that follow the flow are all there is.
    """
    return DISCRETISATIONS["flow" if problem.w.is_point else options.frame]


def estimates_error(problem: Problem, options: Discretization) -> bool:
    """Whether the resolution is chosen, and the error estimated, to reach an accuracy."""
    return options.accuracy is not False and DISCRETISATIONS[options.frame].estimates


def build_problem(config: Config) -> Problem:
    """The problem that a configuration describes, which its discretisation can solve.

    Raises:
        InputError: For the first thing that is wrong, naming its key and what is allowed.
    """
    frame = config.discretization.frame
    if frame not in DISCRETISATIONS:
        allowed = ", ".join(map(repr, DISCRETISATIONS))
        raise InputError(
            f"discretization.frame: {quoted(frame)}: unknown; allowed: {allowed}{did_you_mean(frame, DISCRETISATIONS)}"
        )
    if config.discretization.relative_accuracy and not DISCRETISATIONS[frame].estimates:
        having = " or ".join(repr(name) for name, each in DISCRETISATIONS.items() if each.estimates)
        raise InputError(f"discretization.relative_accuracy: frame = {frame!r} estimates no error; allowed: with {having}")
    problem = problem_of(config)
    kind = basis_kind(problem)
    if refusal := kind.refusal(problem):
        raise InputError(refusal)
    if not kind.has_kernel and any(stage.by_moments for stage in problem.stages):
        raise InputError(
            f"discretization.features: {problem.features!r} has no kernel matrix for a stage that is known by moments; "
            'allowed for averages of copies with a linear stage: "hermite"'
        )
    if refusal := DISCRETISATIONS[frame].refusal(problem, config.discretization):
        raise InputError(refusal)
    return problem


def start_flow(comm: MPI.Intracomm, problem: Problem, options: Discretization, mesh_ranks: int = 0) -> DensityFlow:
    """Collective. The first stage of a problem from its initial law, at the resolution that is given or by default.

    Args:
        comm: All ranks.
        problem: The same on all ranks.
        options: The discretisation; likewise.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.
    """
    resolution = given_resolution(problem, options)
    return discretisation_of(problem, options).start(comm, problem, options, resolution, mesh_ranks)
