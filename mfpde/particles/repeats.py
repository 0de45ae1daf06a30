"""What a particle run writes: the history of each repeat, their mean with its confidence band, and the final particles."""

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mfpde.features.protocol import Basis
from mfpde.output.description import describe
from mfpde.output.sink import Sink
from mfpde.particles.network import Row
from mfpde.problem.problem import Problem
from mfpde.problem.sections import Config

Array = NDArray[np.float64]

CONFIDENCE = 0.95


class RepeatRecorder:
    """Writes repeated runs to a result file. Collective throughout.

    A single run goes to /history as it proceeds.  Repeats go to /repeats/0000, ..., and in the end their mean to
    /history, with the standard deviation of one run as loss_std, and the confidence interval of the mean (Student's t) as
    loss_low and loss_high.

    Attributes:
        first_loss, loss: Mean E at the first and last record.
        band: Half width of the confidence interval of `loss`; nan for a single run.
        deviation: Standard deviation of the last loss of one run; nan for a single run.
    """

    def __init__(self, file: Sink, problem: Problem, modes: Basis, config: Config) -> None:
        self.file = file
        self.repeats = config.particles.repeats
        self.started = time.monotonic()
        self.first_loss = self.loss = self.band = self.deviation = float("nan")
        self._runs: list[list[Row]] = []
        self._target = modes.target_coefficients(problem.target)
        self._correlation = not problem.stages[0].interaction
        numbers = config.particles
        describe(file, problem, modes, config)
        file.attributes({"method": f"{numbers.sampling} particles" if numbers.method == "reduced" else numbers.method})

    def begin(self) -> None:
        """The next repeat begins."""
        self._runs.append([])

    def record(self, when: float, loss: float, moments: Array, *penalty: float) -> None:
        """Collective. One row of the present repeat's history; `penalty` is what a regularised loss adds."""
        self._runs[-1].append((when, loss, moments, *penalty))
        group = "/history" if self.repeats == 1 else f"/repeats/{len(self._runs) - 1:04d}"
        self.file.record(
            {
                f"{group}/time": when,
                f"{group}/loss": loss,
                f"{group}/coefficients": moments,
                f"{group}/mass": 1.0,
                f"{group}/wall_time": time.monotonic() - self.started,
                **{f"{group}/{name}": value for name, value in self._further(loss, moments, *penalty).items()},
            }
        )

    def _further(self, loss: float, moments: Array, *penalty: float) -> dict[str, float]:
        """Other losses that are trained, by name."""
        found = {"regularised_loss": loss + penalty[0]} if penalty else {}
        return found | ({"correlation": float(moments @ self._target)} if self._correlation else {})

    def particles(self, fields: Mapping[str, tuple[tuple[int, ...], NDArray[np.int64], Array]]) -> None:
        """Collective. The final state under /particles: whole shape, this rank's flat indices, and its values, by name."""
        for name, (shape, index, values) in fields.items():
            self.file.field(f"/particles/{name}", shape, index, np.ascontiguousarray(values))

    def finish(self) -> None:
        """Collective. The mean over the repeats."""
        loss = np.array([[row[1] for row in run] for run in self._runs])
        if self.repeats > 1:
            self._write_mean(loss)
        self.first_loss, self.loss = float(loss[:, 0].mean()), float(loss[:, -1].mean())

    def _write_mean(self, loss: Array) -> None:
        from scipy.stats import t as student

        count = len(loss)
        mean, deviation = loss.mean(axis=0), loss.std(axis=0, ddof=1)
        half = student.ppf(0.5 + CONFIDENCE / 2, count - 1) * deviation / np.sqrt(count)
        self.band, self.deviation = float(half[-1]), float(deviation[-1])
        columns: dict[str, Array] = {
            "time": np.array([row[0] for row in self._runs[0]]),
            "loss": mean,
            "coefficients": np.mean([[row[2] for row in run] for run in self._runs], axis=0),
            "mass": np.ones(len(mean)),
            "loss_std": deviation,
            "loss_low": mean - half,
            "loss_high": mean + half,
        }
        further = [[self._further(*row[1:]) for row in run] for run in self._runs]
        columns |= {name: np.mean([[row[name] for row in run] for run in further], axis=0) for name in further[0][0]}
        for name, values in columns.items():
            self.file.dataset(f"/history/{name}", values)
