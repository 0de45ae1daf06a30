"""The particle methods of a configuration behind one interface: `METHODS[name](comm, config, problem, modes)` prepares
what all repeats share and returns the function that runs one of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisation.resolution import given_resolution, make_labels
from mfpde.errors import InputError
from mfpde.evolution.flow import Recording, Step
from mfpde.evolution.integrate import integrate
from mfpde.evolution.lagrangian import LagrangianFlow
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import Modes
from mfpde.features.protocol import Basis, Features
from mfpde.parallel import share
from mfpde.particles.error import gauss_error
from mfpde.particles.network import NetworkFlow, initial_biases, initial_network, penalties
from mfpde.particles.reduced import choose_v_rule, run_gauss
from mfpde.particles.sampling import random_particles, sobol_particles
from mfpde.particles.sgd import Sgd
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config

Array = NDArray[np.float64]
# Time, loss, moments, and with terms that regularise the penalty.
Record = Callable[..., None]
Fields = dict[str, tuple[tuple[int, ...], NDArray[np.int64], Array]]


@dataclass(frozen=True)
class Outcome:
    """How one run ended.

    Attributes:
        count: Particles over all ranks.
        steps: Steps of the integration.
        fields: The final state by name: whole shape, this rank's flat indices, its values.
        error: Estimated error of E at the records, where there is an estimate, shape (n,).
    """

    count: int
    steps: int
    fields: Fields
    error: Array | None = None


Run = Callable[[int, Record], Outcome]


def final_state(comm: MPI.Intracomm, **columns: Array) -> Fields:
    """Collective. Fields of arrays (n, ...) whose first axis is divided over the ranks in order."""
    fields = {}
    for name, local in columns.items():
        before, total = comm.exscan(len(local)) or 0, comm.allreduce(len(local))
        width = int(np.prod(local.shape[1:]))
        index = before * width + np.arange(local.size, dtype=np.int64)
        fields[name] = ((total, *local.shape[1:]), index, local.ravel())
    return fields


def _reduced(comm: MPI.Intracomm, config: Config, problem: Problem, modes: Basis) -> Run:
    features = modes.features(comm, problem)
    return (_gauss if config.particles.sampling == "gauss" else _sampled)(comm, config, problem, features)


def _outcome(comm: MPI.Intracomm, flow: LagrangianFlow, end: Array, steps: int) -> Outcome:
    now = flow.nodes(end)
    biases = {} if now.b is None else {"b": now.b}
    fields = final_state(comm, a=now.a, v=now.v.T, r=now.r, weight=now.weight, **biases)
    return Outcome(comm.allreduce(len(now.a)), steps, fields)


def _gauss(comm: MPI.Intracomm, config: Config, problem: Problem, features: Features) -> Run:
    labels = make_labels(problem, given_resolution(problem, config.discretization))
    points = 1 if problem.w.is_point else max(1, round((config.particles.particles / len(labels)) ** (1 / problem.p)))
    tolerance = problem.numbers(config.discretization).tolerance

    def run(repeat: int, record: Record) -> Outcome:
        rule = choose_v_rule(problem, labels, features, config.record_times, points, tolerance)
        done = run_gauss(problem, labels, features, config.record_times, rule, tolerance)
        options, error = config.discretization, None
        correction = np.zeros(len(done.records))
        if options.accuracy is not False:
            losses = np.array([row[1] for row in done.records])
            correction, error = gauss_error(problem, options, features, config.record_times, losses, rule)
        for (time, loss, *rest), more in zip(done.records, correction, strict=True):
            record(time, loss + float(more), *rest)
        return replace(_outcome(comm, done.flow, done.end, done.steps), error=error)

    return run


def _sampled(comm: MPI.Intracomm, config: Config, problem: Problem, features: Features) -> Run:
    numbers = config.particles
    draw = sobol_particles if numbers.sampling == "sobol" else random_particles
    first, last = share(comm, numbers.particles)

    def run(repeat: int, record: Record) -> Outcome:
        drawn = draw(problem, numbers.particles, (numbers.seed, repeat), first, last)
        flow = LagrangianFlow(problem, features, drawn)
        end, steps = _follow(flow, config, record)
        return _outcome(comm, flow, end, steps)

    return run


def _follow(flow: LagrangianFlow | NetworkFlow, config: Config, record: Record) -> tuple[Array, int]:
    """Collective. Integrates a flow and hands its loss and moments to `record`; its unknowns at the end, and the steps."""
    end = np.empty(flow.size)

    def measure(step: Step, vector: Array) -> None:
        end[...] = vector
        record(step.time, *flow.measure(vector, step.time), *penalties(flow.stage, lambda: flow.penalty(vector)))

    steps = integrate(flow, config.record_times, flow.problem.numbers(config.discretization).tolerance, Recording(measure)).steps
    return end, steps


def _hermite(comm: MPI.Intracomm, config: Config, problem: Problem, modes: Basis) -> HermiteFeatures:
    """Collective. The features that neurons in R^d need, whose pairs and samples are seen in Hermite modes.

    Raises:
        InputError: On all ranks, if the problem has others.
    """
    if not isinstance(modes, Modes):
        raise InputError(
            f"particles.method: {config.particles.method!r} needs Hermite modes; allowed with discretization.features = "
            f'"{problem.features}": "reduced"'
        )
    return modes.features(comm, problem)


def _network(comm: MPI.Intracomm, config: Config, problem: Problem, modes: Basis) -> Run:
    features = _hermite(comm, config, problem, modes)
    numbers = config.particles
    first, last = share(comm, numbers.particles)

    def run(repeat: int, record: Record) -> Outcome:
        drawn = numbers.particles, (numbers.seed, repeat), first, last
        flow = NetworkFlow(problem, features, *initial_network(problem, *drawn), initial_biases(problem, *drawn))
        end, steps = _follow(flow, config, record)
        return _neurons(comm, problem, steps, *flow.placed(end))

    return run


def _sgd(comm: MPI.Intracomm, config: Config, problem: Problem, modes: Basis) -> Run:
    features = _hermite(comm, config, problem, modes)
    numbers = config.particles
    first, last = share(comm, numbers.particles)

    def run(repeat: int, record: Record) -> Outcome:
        seed = (numbers.seed, repeat)
        start = initial_network(problem, numbers.particles, seed, first, last)
        biases = initial_biases(problem, numbers.particles, seed, first, last)
        training = Sgd(problem, features, *start, numbers.batch, numbers.step, seed, numbers.label_noise, biases)
        steps = training.run(config.record_times, record)
        return _neurons(comm, problem, steps, training.a, training.w, training.b)

    return run


def _neurons(comm: MPI.Intracomm, problem: Problem, steps: int, a: Array, w: Array, b: Array | None) -> Outcome:
    """What is kept of neurons in R^d: a, w in V, the radius in V-perp, and biases."""
    v, rest = w[:, : problem.p], w[:, problem.p :]
    fields = final_state(comm, a=a, v=v, r=np.sqrt((rest**2).sum(axis=1)), **({} if b is None else {"b": b}))
    return Outcome(comm.allreduce(len(a)), steps, fields)


METHODS: dict[str, Callable[[MPI.Intracomm, Config, Problem, Basis], Run]] = {
    "reduced": _reduced,
    "network": _network,
    "sgd": _sgd,
}
