"""What `python -m mfpde.width` prints."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mfpde.digits import credible
from mfpde.problem.problem import Problem
from mfpde.progress import table, text_table
from mfpde.width.answer import SmallSteps, Width

# Rows of the table.
SHOWN = 9


def render(found: Width, problem: Problem, neurons: int | None, seconds: float, ranks: int, files: Mapping[str, Path]) -> str:
    """The curves at some times, and what follows from them."""
    times = np.linspace(found.time[0], found.time[-1], SHOWN)
    shown = np.unique([int(np.abs(found.time - t).argmin()) for t in times])
    sgd = found.sgd
    head = [
        "t",
        "E",
        "c",
        "s",
        *([] if sgd is None else ["e", "q"]),
        *([] if neurons is None else [f"mean, N = {neurons}", "deviation"]),
    ]
    rows = []
    for i in shown:
        values = (found.loss[i], found.loss_error[i]), (found.correction[i], found.correction_error[i])
        cells = [f"{found.time[i]:g}", *(credible(float(x), float(e)) for x, e in values)]
        cells.append(credible(float(found.deviation[i]), float(found.deviation_error[i])))
        if sgd is not None:
            cells.append(credible(float(sgd.euler[i]), float(sgd.euler_error[i])))
            cells.append(credible(float(sgd.noise[i]), float(sgd.noise_error[i])))
        if neurons is not None:
            cells += [f"{found.mean(neurons)[i]:.4g}", f"{found.spread(neurons)[i]:.2g}"]
        rows.append(cells)
    parts = ", ".join(f"{name} {part.max():.0e}" for name, part in found.parts.items() if part.max() > 0)
    closing = [
        ("width", found.line()),
        *([] if sgd is None else [("sgd", _small_steps(sgd, problem.d))]),
        ("validity", f"N >= {found.least()}: c/N and s/sqrt(N) are then below 0.3 E over the run"),
        ("error", f"of c, at most: {parts}"),
        ("resolution", found.resolution),
        ("wall time", f"{seconds:.2f} s on {ranks} rank{'s' * (ranks > 1)}"),
        *((name, str(path)) for name, path in files.items()),
    ]
    return f"{text_table(head, rows)}\n\n{table(closing)}"


def _small_steps(sgd: SmallSteps, d: float) -> str:
    """What SGD adds at the end."""
    euler = credible(float(sgd.euler[-1]), float(sgd.euler_error[-1]))
    noise = credible(float(sgd.noise[-1]), float(sgd.noise_error[-1]))
    total = credible(float(sgd.mean[-1]), float(sgd.error[-1]))
    return (
        f"adds eta e + (eta/B) q = {total}: eta = {sgd.step:g}, B = {sgd.batch}, e = {euler}, q = {noise}; deviation "
        f"{sgd.spread[-1]:.2g}; eta d/B = {sgd.step * d / sgd.batch:.2g}, which must be small"
    )
