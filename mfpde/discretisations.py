"""The discretisations of the density, and the one place that chooses: by the configuration, from the table."""

from typing import Literal

import msgspec
from mpi4py import MPI

from mfpde.affine.discretisation import AffineFrame
from mfpde.discretisation.mesh import mesh_refusal
from mfpde.discretisation.protocol import Discretisation
from mfpde.discretisation.resolution import KEYS, KEYS_OF_Y, Resolution, given_net, given_resolution
from mfpde.errors import InputError, did_you_mean, quoted
from mfpde.evolution.flow import DensityFlow
from mfpde.features.bases import basis_kind
from mfpde.moving.discretisation import MovingElements
from mfpde.nets.discretisation import ScrambledNet
from mfpde.problem.problem import Problem, problem_of
from mfpde.problem.sections import Config, Discretization

# By the name that a result file has.
DISCRETISATIONS: dict[str, Discretisation] = {each.name: each for each in (MovingElements(), ScrambledNet(), AffineFrame())}
# Values of discretization.frame: in the flow frame discretization.nodes, or the run, says which.
FRAMES = ("flow", "affine")
NET: Literal["net"] = "net"


def discretisation_of(problem: Problem, options: Discretization, resolution: Resolution | None = None) -> Discretisation:
    """The discretisation that solves a problem, by its resolution if there is one already.

    A point start has no density to mesh, whatever the configuration says: nodes that follow the flow are all there is.
    """
    has_net = options.nodes == NET if resolution is None else resolution.net is not None
    return DISCRETISATIONS[NET if has_net else "flow" if problem.w.is_point else options.frame]


def estimates_error(problem: Problem, options: Discretization) -> bool:
    """Whether the resolution is chosen, and the error estimated, to reach an accuracy."""
    return options.accuracy is not False and DISCRETISATIONS[options.frame].estimates


def with_nodes(problem: Problem, options: Discretization) -> Discretization:
    """The discretisation with the kind of nodes that its other keys ask for, and the problem has; "auto" where any will do.

    Raises:
        InputError: If the keys contradict one another.
    """
    panels = [key for keys in (*KEYS.values(), KEYS_OF_Y) for key in keys if getattr(options, key)]
    wanted = options.nodes
    if options.frame != "flow":
        if wanted == NET or options.net_points:
            raise InputError(f'discretization.nodes: a net needs discretization.frame = "flow", not "{options.frame}"')
        return options
    if options.net_points is not None:
        if wanted == "panels":
            raise InputError('discretization.net_points: allowed with discretization.nodes = "net" or "auto"')
        if options.net_points & (options.net_points - 1):
            raise InputError(f"discretization.net_points: {options.net_points}; allowed: a power of two")
        wanted = NET
    if wanted == NET and panels:
        raise InputError(f'discretization.{panels[0]}: a net has no panels; allowed: with discretization.nodes = "panels"')
    if wanted == "auto":
        if panels or problem.w.is_point:
            wanted = "panels"
        elif mesh_refusal(problem) is not None:
            wanted = NET
        elif options.accuracy is False or options.relative_accuracy:
            wanted = "panels"
    if wanted == NET and options.relative_accuracy:
        raise InputError("discretization.relative_accuracy: a net is studied for an absolute error; allowed: with panels, p <= 3")
    return msgspec.structs.replace(options, nodes=wanted)


def build_problem(config: Config) -> Problem:
    """The problem that a configuration describes, which its discretisation can solve.

    Raises:
        InputError: For the first thing that is wrong, naming its key and what is allowed.
    """
    frame = config.discretization.frame
    if frame not in FRAMES:
        allowed = ", ".join(map(repr, FRAMES))
        raise InputError(f"discretization.frame: {quoted(frame)}: unknown; allowed: {allowed}{did_you_mean(frame, FRAMES)}")
    if config.discretization.relative_accuracy and not DISCRETISATIONS[frame].estimates:
        having = " or ".join(repr(name) for name in FRAMES if DISCRETISATIONS[name].estimates)
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
    options = with_nodes(problem, config.discretization)
    if refusal := discretisation_of(problem, options).refusal(problem, options):
        raise InputError(refusal)
    return problem


def resolution_of(problem: Problem, options: Discretization) -> Resolution:
    """The resolution that the configuration gives, or has by default."""
    return (given_net if with_nodes(problem, options).nodes == NET else given_resolution)(problem, options)


def start_flow(comm: MPI.Intracomm, problem: Problem, options: Discretization, mesh_ranks: int = 0) -> DensityFlow:
    """Collective. The first stage of a problem from its initial law, at the resolution that is given or by default.

    Args:
        comm: All ranks.
        problem: The same on all ranks.
        options: The discretisation; likewise.
        mesh_ranks: How many ranks share one mesh, 0 for automatic.
    """
    resolution = resolution_of(problem, options)
    return discretisation_of(problem, options, resolution).start(comm, problem, options, resolution, mesh_ranks)
