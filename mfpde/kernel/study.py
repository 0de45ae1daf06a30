"""The last stage of a training strategy, solved exactly: its kernel matrix, the loss, and the rate that it proves."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.discretisation.resolution import Resolution, given_resolution, is_given
from mfpde.discretisations import NET, discretisation_of, estimates_error, start_flow, with_nodes
from mfpde.errors import InputError, RunError
from mfpde.evolution.flow import DensityFlow, Observation, Recording, Step, loss
from mfpde.evolution.integrate import integrate
from mfpde.moments.averaging import LawMoments
from mfpde.moments.linear import LinearFlow
from mfpde.output.hdf5 import ResultFile
from mfpde.output.protocol import Run
from mfpde.output.recorder import ESTIMATED, Recorder
from mfpde.problem.problem import Problem
from mfpde.problem.sections import LARGEST_K, Config, Discretization
from mfpde.problem.stage import stage_times
from mfpde.progress import Progress, warn
from mfpde.quadrature.panels import Panels, equal_panels
from mfpde.training.training import End, Silent, averaged_law, train

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KernelStudy:
    """The last stage of a training, solved exactly.

    Attributes:
        linear: The flow of the stage, with the spectrum of K.
        time: Times of the records, from the start of the stage, shape (n,).
        loss: E at these times.
        uncertainty: Error of E; nan if it was not measured.
        bound: E(0) exp(-2 lambda_min int xi_a dt).
        target_bound: The same with the smallest eigenvalue that this target excites on V.
        warnings: Advice about the problem, and about what the stages before did not resolve.
    """

    linear: LinearFlow
    time: Array
    loss: Array
    uncertainty: Array
    bound: Array
    target_bound: Array
    warnings: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """-d log E / dt over the last tenth of the time in which E is above its rounding; nan if no two records are."""
        end = int(np.flatnonzero(self.loss > ROUNDING * self.loss[0])[-1])
        begin = min(int(np.searchsorted(self.time, 0.9 * self.time[end])), max(end - 1, 0))
        return float(-np.log(self.loss[end] / self.loss[begin]) / (self.time[end] - self.time[begin])) if end else float("nan")


def solve_kernel(comm: MPI.Intracomm, config: Config, problem: Problem, measure: bool = True) -> KernelStudy:
    """Collective. Integrates all stages but the last, solves that one exactly and writes the result file.

    Args:
        comm: All ranks.
        config, problem: Their last stage trains a alone, with a polynomial activation, from a = 0.
        measure: Whether further runs say how certain the eigenvalues are: finer ones until these stand still or, at a given
            resolution, another one.

    Raises:
        InputError: On all ranks, if the last stage is another one, or there are biases, or the result cannot be written.
        RunError: On all ranks, if a stage cannot go on.
    """
    if problem.b is not None:
        raise InputError("initial.b: the kernel matrix is that of networks without biases; allowed: without it")
    if with_nodes(problem, config.discretization).nodes == NET:
        raise InputError(
            'discretization.nodes: a kernel matrix is refined on panels; allowed with mfpde.kernel: "panels", p <= 3'
        )
    last = len(problem.stages) - 1
    stage = problem.stages[last]
    if not (stage.linear and stage.reset_a) or any(before.by_moments for before in problem.stages[:last]):
        where = f"training.stages[{last}]" if config.training.stages else "training"
        raise InputError(
            f"{where}: the last stage has no kernel matrix; allowed: one that trains a alone (xi_w = 0) from reset_a = true "
            'with a polynomial activation, after stages with a density, or training.strategy = "chen-ge"'
        )
    with ResultFile(comm, Path(config.output.file)) as file:
        refines = estimates_error(problem, config.discretization)
        recorder, end, linear = (_refined if refines else _given)(comm, config, problem, last, file, measure)
        recorder.enter(linear)
        time = np.array(stage_times(problem.stages, config.history_times)[last])
        coefficients = linear.exact(time)
        for t, m in zip(time, coefficients, strict=True):
            recorder.write(Step(stage.start + t, end.step.steps, end.step.rejected), Observation(m))
        errors, uncertainty = loss(coefficients, linear.target), linear.uncertainty(time)
        rates = (linear.spectrum.eigenvalues[0], linear.rate_on_V)
        bound, target_bound = (errors[0] * np.exp(-2 * max(rate, 0.0) * stage.xi_a.integral(time)) for rate in rates)
        curves = {"time": time, "loss": errors, "loss_uncertainty": uncertainty, "bound": bound, "target_bound": target_bound}
        for name, array in curves.items():
            file.dataset(f"/kernel/{name}", array)
    warned = [text for name, text in recorder.warned.items() if not (refines and measure and name in ESTIMATED)]
    return KernelStudy(linear, time, errors, uncertainty, bound, target_bound, (*problem.notices, *warned))


def _before(
    comm: MPI.Intracomm, config: Config, problem: Problem, flow: DensityFlow, tolerance: float, last: int, file: ResultFile
) -> tuple[Recorder, End]:
    """Collective. All stages but the last, written to the file."""
    with Progress(comm.rank, problem.stages[last].start or 1.0) as bar:
        recorder = Recorder(file, bar)
        recorder.begin(Run(comm, problem, config, file.path, flow, config.history_times))
        return recorder, train(problem, flow, config.history_times, tolerance, recorder, last)


def _given(
    comm: MPI.Intracomm, config: Config, problem: Problem, last: int, file: ResultFile, measure: bool
) -> tuple[Recorder, End, LinearFlow]:
    """Collective. At the resolution of the configuration; a run at another one says how certain the eigenvalues are."""
    others = []
    if measure:
        options = other_discretization(config.discretization, problem)
        flow = start_flow(comm, problem, options, config.parallel.mesh_ranks)
        others = TIMES * _law_of_another(comm, problem, last, flow, problem.numbers(options).tolerance)
    flow = start_flow(comm, problem, config.discretization, config.parallel.mesh_ranks)
    tolerance = problem.numbers(config.discretization).tolerance
    recorder, end = _before(comm, config, problem, flow, tolerance, last, file)
    return recorder, end, LinearFlow(comm, problem, last, flow.modes, averaged_law(end, problem, last), others=others)


def _refined(
    comm: MPI.Intracomm, config: Config, problem: Problem, last: int, file: ResultFile, measure: bool
) -> tuple[Recorder, End, LinearFlow]:
    """Collective. Refines all directions at once until every eigenvalue stands still, or no longer comes nearer to it.

    What the user gave stands still by itself: one more run, finer in that alone, says what it costs.
    """
    law: LawMoments | None = None
    linear: LinearFlow | None = None
    changes = [np.inf]
    discretisation = discretisation_of(problem, config.discretization)
    for number, resolution in zip(range(PASSES), resolutions(problem, config.discretization), strict=False):
        if number:
            file.clear()
        flow = discretisation.start(comm, problem, config.discretization, resolution, config.parallel.mesh_ranks)
        recorder, end = _before(comm, config, problem, flow, resolution.tolerance, last, file)
        before, law = [] if law is None else [law], averaged_law(end, problem, last)
        linear = LinearFlow(comm, problem, last, flow.modes, law, others=before)
        if not measure:
            break
        if number:
            changes.append(float((linear.spectrum.uncertainty / np.maximum(linear.spectrum.eigenvalues, 1e-300)).max()))
        # What is left after many digits have cancelled may not stand still: then say so by the uncertainty.
        if changes[-1] <= STILL or (number > 2 and changes[-1] > changes[-2] / 2):
            break
    assert linear is not None
    finer = finer_where_given(problem, config.discretization, resolution)
    if measure and finer != resolution:
        flow = discretisation.start(comm, problem, config.discretization, finer, config.parallel.mesh_ranks)
        before += TIMES * _law_of_another(comm, problem, last, flow, finer.tolerance)
        linear = LinearFlow(comm, problem, last, linear.modes, law, others=before)
    return recorder, end, linear


def resolutions(problem: Problem, options: Discretization) -> Iterator[Resolution]:
    """Finer and finer resolutions, in all directions at once but for the numbers that the user gave."""
    given = given_resolution(problem, options)
    for step in range(PASSES):
        a, r, n = round(24 * 1.5**step), 2 + step // 2, 4 + step
        K = max(given.hermite_degree, round(10 * 1.4**step))
        panels = {"a": equal_panels(problem.a, a, 2), "r": equal_panels(problem.w.squared_radius, r, 1)}
        panels |= {name: _with_nodes(own, n) for name, own in given.y.items()}
        found = replace(
            given.with_panels({name: own for name, own in panels.items() if not is_given(options, name)}),
            hermite_degree=_at_most(problem, K) if options.hermite_degree is None else given.hermite_degree,
            radial_degree=max(given.radial_degree, r) if options.radial_degree is None else given.radial_degree,
            tolerance=1e-9 / 30**step if options.tolerance is None else given.tolerance,
        )
        if step > 1 and found.nodes > MOST_NODES:
            return
        yield found


def finer_where_given(problem: Problem, options: Discretization, resolution: Resolution) -> Resolution:
    """The resolution, finer in what the user gave: K and the labels of a twice as many, those of r and y half as many again."""

    def more(direction: str, panels: Panels) -> Panels:
        is_finite = problem.directions[direction].atoms is not None
        count = panels.counts[0]
        finer = 2 * count if direction == "a" else count + max(1, count // 2)
        return panels if is_finite or not is_given(options, direction) else _with_nodes(panels, finer)

    K, J = resolution.hermite_degree, resolution.radial_degree
    return replace(
        resolution.with_panels({name: more(name, own) for name, own in resolution.panels.items()}),
        hermite_degree=K if options.hermite_degree is None else _at_most(problem, 2 * K),
        radial_degree=J if options.radial_degree is None else J + 1,
        tolerance=resolution.tolerance / (1 if options.tolerance is None else 30),
    )


def _at_most(problem: Problem, K: int) -> int:
    """K, or the largest degree allowed."""
    known = problem.target.known_degree
    return min(K, LARGEST_K if known is None else known)


def _with_nodes(panels: Panels, n: int) -> Panels:
    """The same panels with `n` nodes in each."""
    return Panels(panels.edges, (n,) * len(panels.counts))


# How often the change made by a run counts that is finer, not in everything: to leading order it is the error.
TIMES = 2
# Refinements of a kernel matrix, and the relative change of its eigenvalues at which they end.
PASSES, STILL = 5, 1e-4
# Elements of a refinement, from the third on.
MOST_NODES = 100_000


def integrator_difference(study: KernelStudy, tolerance: float) -> float:
    """Collective. Largest difference of a coefficient at the records between the time integrator and the exact solution."""
    linear, rows = study.linear, []
    integrate(
        linear, study.time.tolist(), tolerance, Recording(lambda step, vector: rows.append(linear.moments(vector))), "petsc"
    )
    return float(np.abs(np.array(rows) - linear.exact(study.time)).max())


def _law_of_another(comm: MPI.Intracomm, problem: Problem, last: int, flow: DensityFlow, tolerance: float) -> list[LawMoments]:
    """Collective. On rank 0 the moments at the start of the last stage by another run; none if that run cannot go on."""
    try:
        with Progress(comm.rank, problem.stages[last].start or 1.0) as bar:
            end = train(problem, flow, [], tolerance, Silent(bar), last)
    except RunError as error:
        if comm.rank == 0:
            warn(f"a run that was to measure the uncertainty ended early, {error}")
        return []
    law = averaged_law(end, problem, last)
    return [] if law is None else [law]


def other_discretization(options: Discretization, problem: Problem) -> Discretization:
    """Coarser elements, 3/4 of the labels of a and of the cells and one label of r less, larger steps, but more modes."""
    numbers = problem.numbers(options)
    return msgspec.structs.replace(
        options,
        a_nodes=max(1, numbers.a_nodes * 3 // 4),
        r_nodes=max(1, numbers.r_nodes - 1),
        cells=max(1, numbers.cells * 3 // 4),
        hermite_degree=_at_most(problem, 2 * numbers.hermite_degree),
        radial_degree=numbers.radial_degree + 1,
        tolerance=min(10 * numbers.tolerance, 0.1),
    )


# Below this share of its first value, a loss is rounding.
ROUNDING = 1e-20
