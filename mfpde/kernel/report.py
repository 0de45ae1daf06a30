"""What `python -m mfpde.kernel` prints."""

from collections.abc import Sequence

import numpy as np

from mfpde.digits import scientific
from mfpde.kernel.study import KernelStudy
from mfpde.moments.spectrum import Spectrum, direction
from mfpde.problem.problem import Problem


def render(study: KernelStudy, problem: Problem, further: Sequence[tuple[str, str]] = (), most: int = 12) -> str:
    """What the command prints: the smallest `most` eigenvalues, what follows from them, and further rows of names and values."""
    spectrum, on_V, stage = study.linear.spectrum, study.linear.on_V, problem.stages[-1]
    lines = [f"{'eigenvalue':>16} {'certain':>8}   direction"]
    for k in range(min(most, len(spectrum.eigenvalues))):
        value, uncertainty = spectrum.eigenvalues[k], spectrum.uncertainty[k]
        known = "-" if np.isnan(uncertainty) else "yes" if spectrum.certain[k] else "no"
        lines.append(f"{scientific(value, uncertainty):>16} {known:>8}   {direction(spectrum, k)}")
    if len(spectrum.eigenvalues) > most:
        lines.append(f"{'...':>16} up to {scientific(spectrum.eigenvalues[-1], spectrum.uncertainty[-1])}")
    slowest = int(np.searchsorted(on_V.eigenvalues, study.linear.rate_on_V))
    measured = f"measured {scientific(study.rate, 2 * float(on_V.uncertainty[slowest]))}"
    if np.isnan(study.rate):
        measured = "not measured: the loss is gone before the second record"
    rows = [
        ("activation", stage.activation.text),
        ("copies", str(stage.average)),
        ("modes", str(len(spectrum.eigenvalues))),
        ("condition number", _condition(spectrum)),
        ("rate 2 lambda_min", f"{_rate(spectrum, 0)} (on the modes of V alone {_rate(on_V, 0)})"),
        ("learned last", direction(spectrum, 0)),
        ("for this target", f"{_rate(on_V, slowest)}, {measured}"),
        ("learned last", direction(on_V, slowest)),
        ("left to V-perp", f"{study.linear.held_back:.4g} of the loss, in slower modes"),
        ("loss", f"{study.loss[0]:.10g} -> {scientific(study.loss[-1], study.uncertainty[-1])} in time {study.time[-1]:g}"),
        *further,
    ]
    return "\n".join([*lines, "", *(f"{name:<20} {value}" for name, value in rows)])


def _rate(spectrum: Spectrum, k: int) -> str:
    """2 lambda_k with the digits that hold."""
    return scientific(2 * float(spectrum.eigenvalues[k]), 2 * float(spectrum.uncertainty[k]))


def _condition(spectrum: Spectrum) -> str:
    """The condition number with the digits that hold."""
    if not np.isfinite(spectrum.condition):
        return "inf"
    ends = [0, -1]
    return scientific(spectrum.condition, spectrum.condition * (spectrum.uncertainty[ends] / spectrum.eigenvalues[ends]).sum())
