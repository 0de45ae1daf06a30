"""The estimated error of E(t), by source."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfpde.accuracy.allowed import Allowed
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
        loss: E there, shape (n,).
        unit: E h*^2 / 2, in which accuracies are measured.
        wanted: The error that was asked for.
        settled: Whether every source reached its share.
        coefficients: Estimated error of any coefficient m_i, shape (n,).
    """

    parts: dict[str, Array]
    total: Array
    loss: Array
    unit: float
    wanted: Allowed
    settled: bool
    coefficients: Array

    @property
    def reached(self) -> float:
        """The accuracy reached: the largest error over the run, in units of E h*^2 / 2."""
        return float(self.total.max()) / self.unit

    @property
    def reached_of_loss(self) -> float:
        """The relative accuracy reached: the largest error over the run, in units of E(t), or of the least E that counts."""
        return Allowed(0.0, 1.0, self.wanted.least).times(self.total, self.loss)

    @property
    def excess(self) -> float:
        """The largest error over the run in units of what was asked for: at most 1 if that is reached."""
        return self.wanted.times(self.total, self.loss)

    @property
    def reached_text(self) -> str:
        """In words, as `Allowed.text` says what was asked for."""
        if self.wanted.relative and self.wanted.absolute:
            return f"{self.excess:.2g} times what is allowed"
        return f"{self.reached_of_loss:.1e} of E(t)" if self.wanted.relative else f"{self.reached:.1e}"

    @property
    def worst(self) -> str:
        """The source with the largest error."""
        return max(self.parts, key=lambda source: float(self.parts[source].max()))

    def at(self, places: Places, between: Array, loss: Array) -> "Estimate":
        """At the records, where E is `loss`, with the error of what was carried there from the studied times, shapes (n,)."""
        studied, here = self.wanted.at(self.loss), self.wanted.at(loss)

        def carried(values: Array) -> Array:
            return here * places.bound(values / studied)

        parts = {source: carried(values) for source, values in self.parts.items()}
        parts["hermite"] = parts["hermite"] + between
        total = np.maximum(carried(self.total) + between, sum(parts.values()))
        return replace(self, parts=parts, total=total, loss=loss, coefficients=places.bound(self.coefficients))


def estimate(plan: Plan, main: Array, check: Array, known: NDArray[np.bool_], unit: float, wanted: Allowed) -> Estimate:
    """The error of the main run.

    The parts are what the studies measured.  How the directions act together is measured by two runs on fine elements: the
    main one and one that is coarser by one level in every direction.  If E changed between them by more than the single
    levels say, the errors are taken to be larger in proportion.

    Errors are carried in units of what is wanted at E: where that is relative to E, so are they, from the E of a study to that of
    the main run and from a record to those nearby.

    Args:
        plan: What the studies found.
        main: E of the main run at the plan's times, without the truncation's correction, shape (n,).
        check: E of the coarser run.
        known: At which of the times the main run has a record; elsewhere its difference from the check is that of records nearby.
        unit: E h*^2 / 2.
        wanted: The error asked for.
    """
    directions, truncation = plan.directions, plan.truncation
    loss = main + plan.correction
    allowed = wanted.at(loss)

    def carried(values: Array, E: Array) -> Array:
        """What a study has measured where its loss was E."""
        return allowed * widened(values / wanted.at(E))

    sources = dict.fromkeys((*SOURCES, *plan.sources.values()))
    parts = {source: np.zeros_like(main) for source in sources}
    for name, study in directions.items():
        parts[plan.sources[name]] += SAFETY * carried(study.error, study.loss)
    parts |= {
        "hermite": SAFETY * carried(np.maximum(truncation.error - truncation.radial, 0.0), truncation.loss),
        "radial": SAFETY * carried(truncation.radial, truncation.loss),
        "time": SAFETY * carried(plan.tolerance.error, plan.tolerance.loss),
    }
    if plan.net is not None:  # a confidence, not an error to leading order
        parts["net"] = widened(plan.net.error)
    single = sum((carried(np.abs(study.step), study.loss) for study in directions.values()), np.zeros_like(main))
    number = np.arange(len(main))
    together = allowed * widened(np.interp(number, number[known], (np.abs(main - check) / allowed)[known]))
    factor = np.maximum(1.0, together / np.maximum(single, 1e-300)) if single.any() else np.ones_like(main)
    factor = np.where(together > 0.1 * allowed, factor, 1.0)
    total = factor * sum(parts[source] for source in sources)
    total = total + sum(values for source, values in parts.items() if source not in sources)
    settled = all(study.settled or study.fixed for study in directions.values())
    settled = settled and (plan.net is None or plan.net.settled)
    settled = settled and plan.truncation.settled and (plan.tolerance.settled or plan.tolerance.fixed)
    moved = factor * sum(study.moved for study in directions.values()) + plan.truncation.moved + plan.tolerance.moved
    moved = SAFETY * widened(moved) + (0.0 if plan.net is None else widened(plan.net.moved))
    return Estimate(parts, total, loss, unit, wanted, settled, moved)


def widened(values: Array) -> Array:
    """The largest value within `WINDOW` of the records on both sides."""
    from scipy.ndimage import maximum_filter1d

    size = 2 * max(1, round(WINDOW * len(values))) + 1
    return np.asarray(maximum_filter1d(values, size, mode="nearest"))
