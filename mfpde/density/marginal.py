"""The density of a run in one or two of (a, v_1, ..., v_p, r), or with biases b, on bins, with an estimate of its error.

The law of the neurons at time t is the push-forward of the initial law by Theta(a_0, r_0, y) = (A, X, R): always defined,
folds included, never negative, of mass 1.  Sub-cells of the initial law go where Theta takes them (`mfpde.density.points`,
`maps`) and leave their mass on the bins, laid out towards their neighbours (`grid`).  The L1 error that is stated is the sum of

    sampling       half the L1 distance of the renderings of every second slab of sub-cells
    smoothing      of the box in which a point's mass is spread
    map            2 E min(1, sum over the axes |Theta_h - Theta| / h), h a bin, over points that are followed by themselves:
                   what moves by a share of a bin takes at most twice that share of its mass to other bins
    mean field     the same of what the correction of the run's mean field leaves (`correction`), if the run knows its error

Sub-cells are added until the sum is small enough or too many would be needed.  The map is interpolated between the nodes
of a snapshot or of finer rules if the labels allow it, else in y alone, else every point is followed: what is cheapest
among those that are measured to be accurate.
"""

from collections.abc import Sequence
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.density.bins import MOST_BINS, Density, as_bins, coordinates, make_edges, volumes
from mfpde.density.choice import CHUNK, Ruler, check_field, choose_map, choose_steps, follow_trial
from mfpde.density.correction import correction
from mfpde.density.grid import Grid
from mfpde.density.maps import Direct, Interpolated, InY, Map, sizes
from mfpde.density.masses import masses_density
from mfpde.density.points import GROUPS, REACH, Sampling, Slabs, slabs
from mfpde.density.run import read_density
from mfpde.discretisation.recorded import PointMasses, PushForward
from mfpde.errors import USUAL, InputError
from mfpde.output.history import BULK, open_result
from mfpde.parallel import on_first

Array = NDArray[np.float64]

# Wanted L1 error; most sub-cells that are drawn, and points that are followed.
ACCURACY, MOST_DRAWN, MOST_FOLLOWED = 2e-2, 10_000_000, 500_000
# Where slabs are interpolated in y: nodes that are followed at the most, and pairs of slabs to begin with.
MOST_NODES, PAIRS = 1_500_000, 128
# Bins of the finer grid in all.
MOST_CELLS = 1 << 24
# Share of the wanted error that may come from elsewhere than the points.
SPARE = 0.75
# In how many parts in each direction of y a sub-cell is laid out at the most, by p; from how many sub-cells on; and what boxes in
# place of their masses change of a normal law, in L1 and by the square of their width: E |y^2 - 1| / 24.
SPREAD, SMOOTH, BLUR = {1: 8, 2: 6, 3: 3}, 56, 0.04
# Points to begin with; least sub-cells in each direction of y; how much more at once; of how many slabs one is measured.
START, LEAST, GROWTH, FEW = 1_000_000, 12, 8.0, 4


@np.errstate(**USUAL)
def density(
    file: str | Path,
    axes: Sequence[str] = ("a", "v1"),
    time: float | None = None,
    bins: int | Sequence[int | Array] = 200,
    accuracy: float = ACCURACY,
    comm: MPI.Intracomm = MPI.COMM_SELF,
    most_axes: int = 2,
) -> Density:
    """Collective. The density of a result file in one or two of its coordinates.

    Args:
        file: Written by `mfpde.solve`.
        axes: Names of coordinates: a, v1, ..., r, and b where there are biases.
        time: Time of the training, up to where copies are averaged; by default the last one.
        bins: Their number, or for each axis their number or their edges.
        accuracy: Wanted L1 error.
        comm: Ranks that divide the work.
        most_axes: How many coordinates there may be.

    Raises:
        InputError: On all ranks, if the file holds no density, or not at this time or in these coordinates.
    """
    return recorded_density(on_first(comm, lambda: _read(Path(file))), axes, time, bins, accuracy, comm, most_axes)


def _read(path: Path) -> PushForward | PointMasses:
    with open_result(path, BULK) as file:
        if "slices/snapshots" not in file and "field" not in file:
            raise InputError(f"{str(path)!r} holds no density (no snapshot and no mean field)")
        return read_density(file)


def recorded_density(
    run: PushForward | PointMasses,
    axes: Sequence[str] = ("a", "v1"),
    time: float | None = None,
    bins: int | Sequence[int | Array] = 200,
    accuracy: float = ACCURACY,
    comm: MPI.Intracomm = MPI.COMM_SELF,
    most_axes: int = 2,
) -> Density:
    """Collective. The same of a density that has been read."""
    if isinstance(run, PushForward):
        return run_density(run, axes, time, bins, accuracy, comm, most_axes)
    found: Density = on_first(comm, lambda: masses_density(run, tuple(axes), time, bins, most_axes))
    return found


def run_density(
    run: PushForward,
    axes: Sequence[str] = ("a", "v1"),
    time: float | None = None,
    bins: int | Sequence[int | Array] = 200,
    accuracy: float = ACCURACY,
    comm: MPI.Intracomm = MPI.COMM_SELF,
    most_axes: int = 2,
) -> Density:
    """Collective. The same of a run whose neurons can be followed from any point of the initial law."""
    index = coordinates(axes, run.problem.p, most_axes, run.problem.b is not None)
    time = run.at(time)
    if not accuracy > 0:
        raise InputError(f"accuracy {accuracy:g}: allowed: a positive number")
    given = as_bins(bins, len(index))
    check_field(run, time)
    trial = follow_trial(run, time)
    edges = make_edges(given, trial.values[list(index)])
    ruler = Ruler(comm, index, np.array([np.diff(e).min() for e in edges]), accuracy)
    passive, following_error = choose_steps(run, ruler, time, trial)
    chosen, map_error = choose_map(run, ruler, time, trial, passive)
    found = correction(run, ruler, time, trial, passive)
    change = None if found is None else found.change
    if isinstance(chosen, Interpolated) and change is not None:
        chosen, change = chosen.plus(change), None
    picture = _Picture(run, ruler, edges, change)
    field_error = nan if found is None else found.error
    return picture.draw(chosen, tuple(axes), time, map_error + following_error, field_error)


def _sampling(finest: tuple[int, ...], pairs: int, count: int) -> Sampling:
    """About `count` points in at least `pairs` pairs of slabs, and in more if they are more than the finest sub-cells need."""
    if not finest:
        return Sampling(count // 2, ())
    share = min(1.0, (count / (2 * pairs * np.prod(finest))) ** (1 / len(finest)))
    cells = tuple(max(2, int(n * share)) for n in finest)
    return Sampling(max(pairs, GROUPS, count // (2 * int(np.prod(cells))) if share == 1.0 else 0), cells)


class _Picture:
    """Draws sub-cells on bins until the error is small enough.

    Args:
        run: To draw.
        ruler: Its coordinates, and the wanted error.
        edges: Edges of the bins.
        change: What is to be added to the maps that it draws by.
    """

    def __init__(self, run: PushForward, ruler: Ruler, edges: tuple[Array, ...], change: Map | None = None) -> None:
        self.run, self.edges, self.change = run, edges, change
        self.comm, self.index, self.width, self.accuracy = ruler.comm, ruler.index, ruler.width, ruler.accuracy

    def _place(self, at: Map, part: Slabs) -> Array:
        x = at(part, self.index)
        return x if self.change is None else x + self.change(part, self.index)

    def finest(self, at: Map) -> tuple[int, ...]:
        """Collective. Sub-cells in each direction of y of which about two come to a bin that their images cross."""
        problem = self.run.problem
        if problem.w.is_point:
            return ()
        p = problem.p
        part = slabs(problem, Sampling(GROUPS, ({1: 64, 2: 16, 3: 8}[min(p, 3)],) * p), CHUNK)[::FEW]
        wanted = []
        for q in range(p):
            paths = []
            for some in part:
                x = self._place(at, some)
                step = np.abs(np.diff(x, axis=2 + q)) / self.width.reshape(-1, *[1] * (x.ndim - 1))
                weight = some.weight.sum(axis=q)
                paths.append(float((step.max(axis=0).mean(axis=0).sum(axis=q) * weight).sum() / some.share))
            wanted.append(max(LEAST, int(2 * np.mean(paths))))
        return tuple(self.comm.bcast(wanted))

    def draw(self, at: Map, axes: tuple[str, ...], time: float, map_error: float, field_error: float) -> Density:
        """Collective. Renders, and refines what the error comes from: slabs, and sub-cells of y up to the finest useful."""
        method = {Direct: "followed", InY: "interpolated in y"}.get(type(at), "interpolated")
        known_error = map_error + (0.0 if isnan(field_error) else field_error)
        # Where points cannot help, few of them will do.
        wanted = self.accuracy if known_error < SPARE * self.accuracy else known_error + 1.25 * self.accuracy
        most_bins = min(MOST_BINS, int(MOST_CELLS ** (1 / len(self.edges))))
        wanted_cells, finest_parts = self.finest(at), max(1, most_bins // max(len(e) - 1 for e in self.edges))
        spread = SPREAD.get(len(wanted_cells), 1)
        finest_cells = tuple(n if n <= SMOOTH else max(SMOOTH, n // spread) for n in wanted_cells)
        parts = min(4 if finest_cells else 8, finest_parts)
        most = MOST_FOLLOWED if isinstance(at, Direct) else MOST_DRAWN
        most_pairs, start = most, min(START, most)
        if isinstance(at, InY):  # slabs are followed: they cost more than what is drawn of each
            most_pairs = MOST_NODES // (2 * sizes(at.rules))
            each = 2 * int(np.prod(finest_cells))
            most, start = min(most, most_pairs * each), min(most, PAIRS * each, most_pairs * each)
        sampling = _sampling(finest_cells, min(most_pairs, 100 if finest_cells else 2000), start)
        while True:
            laid_out = tuple(
                min(spread, -(-n // cells)) if cells >= SMOOTH else 1
                for n, cells in zip(wanted_cells, sampling.cells, strict=True)
            )
            mass, lost, apart, smoothing = self._render(at, sampling, parts, laid_out)
            error = apart + smoothing + known_error
            if error <= wanted:
                break
            finer = 2 if smoothing > self.accuracy / 3 and 2 * parts <= finest_parts else 1
            factor = max(float(finer), min(GROWTH, 3.5 * apart / self.accuracy))
            more = sampling
            if factor > 1.2 and sampling.count < most:
                full = np.prod(sampling.cells) >= np.prod(finest_cells)
                pairs = min(most_pairs, int(sampling.pairs * (factor if full else factor**0.5)))
                more = _sampling(finest_cells, pairs, min(most, int(sampling.count * factor)))
            if finer == 1 and more.count < 1.2 * sampling.count:
                break
            sampling, parts = more if more.count > sampling.count else sampling, parts * finer
        return Density(axes, time, self.edges, mass / volumes(self.edges), lost, error, method, sampling.count, field_error)

    def _render(self, at: Map, sampling: Sampling, parts: int, spread: tuple[int, ...]) -> tuple[Array, float, float, float]:
        """Collective. Mass on the bins, mass outside, half the distance of the two halves, and what smoothing changes."""
        halves = [Grid(self.edges, parts) for _ in range(2)]
        for number, part in enumerate(slabs(self.run.problem, sampling, CHUNK)):
            if number % self.comm.size == self.comm.rank:
                halves[part.half].deposit(self._place(at, part), part.weight, spread)
        for half in halves:
            self.comm.Allreduce(MPI.IN_PLACE, half.raw)
        one, other = (half.mass for half in halves)
        mass = one + other
        share = [float(half.raw.sum()) or inf for half in halves]
        apart = 0.5 * float(np.abs(one / share[0] - other / share[1]).sum()) if inf not in share else nan
        outside = float(sum(half.raw.sum() for half in halves)) - float(mass.sum())
        whole = halves[0].raw
        whole += halves[1].raw
        boxes = sum(BLUR * (2 * REACH / cells) ** 2 for cells, laid in zip(sampling.cells, spread, strict=True) if laid > 1)
        return mass, max(0.0, outside), apart, halves[0].smoothing + boxes
