"""What `python -m mfpde.kernel` prints."""

from typing import Any

import numpy as np

from mfpde.kernel.study import Study
from mfpde.training.spectrum import direction


def report(study: Study, problem: Any, most: int = 12) -> str:
    """What the command prints: the smallest `most` eigenvalues, and what follows from them."""
    spectrum, on_V, stage = study.linear.spectrum, study.linear.on_V, problem.stages[-1]
    lines = [f"{'eigenvalue':>14} {'uncertainty':>12} {'certain':>8}   direction"]
    for k in range(min(most, len(spectrum.eigenvalues))):
        value, uncertainty = spectrum.eigenvalues[k], spectrum.uncertainty[k]
        known = "-" if np.isnan(uncertainty) else "yes" if spectrum.certain[k] else "no"
        lines.append(f"{value:14.6e} {uncertainty:12.1e} {known:>8}   {direction(spectrum, k)}")
    if len(spectrum.eigenvalues) > most:
        lines.append(f"{'...':>14} up to {spectrum.eigenvalues[-1]:.6e}")
    measured = "not measured: the loss is gone before the second record" if np.isnan(study.rate) else f"measured {study.rate:.6e}"
    rows = [
        ("activation", stage.activation.text),
        ("copies", str(stage.average)),
        ("modes", str(len(spectrum.eigenvalues))),
        ("condition number", f"{spectrum.condition:.4g}"),
        ("rate 2 lambda_min", f"{2 * spectrum.eigenvalues[0]:.6e} (on the modes of V alone {2 * on_V.eigenvalues[0]:.6e})"),
        ("learned last", direction(spectrum, 0)),
        ("for this target", f"{2 * study.linear.rate_on_V:.6e}, {measured}"),
        ("learned last", direction(on_V, int(np.searchsorted(on_V.eigenvalues, study.linear.rate_on_V)))),
        ("left to V-perp", f"{study.linear.held_back:.4g} of the loss, in slower modes"),
        ("loss", f"{study.loss[0]:.10g} -> {study.loss[-1]:.10g} in time {study.time[-1]:g}"),
    ]
    return "\n".join([*lines, "", *(f"{name:<20} {value}" for name, value in rows)])
