"""The estimated error of E(t), by source."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.plan import Plan
from mfpde.accuracy.studied_times import Places

Array = NDArray[np.float64]

# Parts that every file has, see `Direction.source`.
SOURCES = ("labels", "mesh")
# Share of the records over which the largest error counts: a difference that happens to vanish at one of them says nothing.
WINDOW = 0.1
# What the studies measure is the error to leading order: it is taken twice.
SAFETY = 2.0


@dataclass(frozen=True)
class Estimate:
    """Estimated |E(t) - exact| at the records.

    Attributes:
        parts: By source, shapes (n,).
        total: Shape (n,): at least the sum of the parts.
        unit: E h*^2 / 2, in which accuracies are measured.
        wanted: The accuracy asked for.
        settled: Whether every source reached its share.
        coefficients: Estimated error of any coefficient m_i, shape (n,).
    """

    parts: dict[str, Array]
    total: Array
    unit: float
    wanted: float
    settled: bool
    coefficients: Array

    @property
    def reached(self) -> float:
        """The accuracy reached: the largest error over the run, in units of E h*^2 / 2."""
        return float(self.total.max()) / self.unit

    @property
    def worst(self) -> str:
        """The source with the largest error."""
        return max(self.parts, key=lambda source: float(self.parts[source].max()))

    def at(self, places: Places, between: Array) -> "Estimate":
        """At the records, with the error of what was carried there from the studied times, shape (n,)."""
        parts = {source: places.bound(values) for source, values in self.parts.items()}
        parts["hermite"] = parts["hermite"] + between
        total = np.maximum(places.bound(self.total) + between, sum(parts.values()))
        return replace(self, parts=parts, total=total, coefficients=places.bound(self.coefficients))


def estimate(plan: Plan, main: Array, check: Array, known: NDArray[np.bool_], unit: float, wanted: float) -> Estimate:
    """The error of the main run.

    The parts are what the studies measured.  How the directions act together is measured by two runs on fine elements: the
    main one and one that is coarser by one level in every direction.  If E changed between them by more than the single
    levels say, the errors are taken to be larger in proportion.

    Args:
        plan: What the studies found.
        main: E of the main run at the plan's times, without the truncation's correction, shape (n,).
        check: E of the coarser run.
        known: At which of the times the main run has a record; elsewhere its difference from the check is that of records nearby.
        unit: E h*^2 / 2.
        wanted: The accuracy asked for.
    """
    directions = plan.directions
    radial = plan.truncation.radial
    sources = dict.fromkeys((*SOURCES, *plan.sources.values()))
    shares = {source: np.zeros_like(main) for source in sources}
    for name, study in directions.items():
        shares[plan.sources[name]] += study.error
    parts = {
        **shares,
        "hermite": np.maximum(plan.truncation.error - radial, 0.0),
        "radial": radial,
        "time": plan.tolerance.error,
    }
    parts = {source: SAFETY * widened(values) for source, values in parts.items()}
    if plan.net is not None:  # a confidence, not an error to leading order
        parts["net"] = widened(plan.net.error)
    single = sum((widened(np.abs(study.step)) for study in directions.values()), np.zeros_like(main))
    number = np.arange(len(main))
    together = widened(np.interp(number, number[known], np.abs(main - check)[known]))
    factor = np.maximum(1.0, together / np.maximum(single, 1e-300)) if single.any() else np.ones_like(main)
    factor = np.where(together > 0.1 * wanted * unit, factor, 1.0)
    total = factor * sum(parts[source] for source in sources)
    total = total + sum(values for source, values in parts.items() if source not in sources)
    settled = all(study.settled or study.fixed for study in directions.values())
    settled = settled and (plan.net is None or plan.net.settled)
    settled = settled and plan.truncation.settled and (plan.tolerance.settled or plan.tolerance.fixed)
    moved = factor * sum(study.moved for study in directions.values()) + plan.truncation.moved + plan.tolerance.moved
    moved = SAFETY * widened(moved) + (0.0 if plan.net is None else widened(plan.net.moved))
    return Estimate(parts, total, unit, wanted, settled, moved)


def widened(values: Array) -> Array:
    """The largest value within `WINDOW` of the records on both sides."""
    from scipy.ndimage import maximum_filter1d

    size = 2 * max(1, round(WINDOW * len(values))) + 1
    return np.asarray(maximum_filter1d(values, size, mode="nearest"))
