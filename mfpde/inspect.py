"""Says what is in a result file, and draws it: `python -m mfpde.inspect FILE [--plot] [--json]`."""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mfpde.command import outcome, prepare_streams, program, say
from mfpde.output.history import BULK, check_file, loss_error, open_result, probe
from mfpde.progress import table
from mfpde.version import __version__

# In a picture of a density, for each axis.
PICTURE_BINS = 300


def main() -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(prog=program("inspect"), description="Print and plot a result of mfpde.solve.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--plot", action="store_true", help="draw loss, Hermite coefficients and density to PNG beside the file")
    parser.add_argument("--json", action="store_true", help="print it for programs; numbers that are not finite are texts")
    parser.add_argument("--version", action="version", version=__version__)
    arguments = parser.parse_args()
    prepare_streams()
    status, message = outcome(lambda: _inspect(arguments.file, arguments.plot, arguments.json))
    if message:
        say(message)
    return status


def _inspect(path: Path, plot: bool, for_programs: bool) -> None:
    check_file(path)
    probe(path)
    with open_result(path, BULK) as file:
        report = json.dumps(_finite(_facts(file)), indent=2) if for_programs else _report(file)
    print(report, flush=True)
    if plot:
        for name, picture in _pictures(path):
            said = f"{name} drawn to {picture}" if picture else f"{name}: no snapshot to draw"
            print(said, flush=True, file=sys.stderr if for_programs else sys.stdout)


def _pictures(path: Path) -> Iterator[tuple[str, Path | None]]:
    """Draws loss, coefficients and, if the file knows them, the densities of (v1, v2) and (a, v1)."""
    from mfpde.output.plot import plot_coefficients, plot_loss

    names = {name: path.with_name(f"{path.stem}_{name}.png") for name in ("loss", "coefficients", "density")}
    yield "loss", plot_loss(path, names["loss"])
    yield "coefficients", plot_coefficients(path, names["coefficients"])
    with open_result(path) as file:
        known, p = "slices/snapshots" in file, file["modes/alpha"].shape[1]
    if not known:
        yield "density", None
        return
    from mfpde.density.marginal import density
    from mfpde.density.picture import plot_density

    axes = [("v1", "v2"), ("a", "v1")] if p > 1 else [("a", "v1"), ("v1",)]
    yield "density", plot_density(path, names["density"], [density(path, pair, bins=PICTURE_BINS) for pair in axes])


def _report(file: Any) -> str:
    history = file["history"]
    t, loss = history["time"][:], history["loss"][:]
    rows = [
        ("target", f"{file.attrs['polynomial']}"),
        ("activation", f"{file.attrs['activation']}"),
        ("dimension d", f"{file.attrs['dimension']:g}"),
        ("state", "complete" if file.attrs["complete"] else "running, or ended early"),
        ("records", f"{len(t)}, t = {t[0]:g} to {t[-1]:g}"),
        ("loss", _loss(file, loss)),
        ("mass error", f"{np.abs(history['mass'][:] - 1).max():.1e}"),
    ]
    if "checkpoint" in file and file["checkpoint"].attrs.get("whole", False):
        rows.append(("checkpoint", f"at t = {file['checkpoint'].attrs['time']:g}"))
    made = [f"{file.attrs['date']}, " if "date" in file.attrs else "", f"mfpde {file.attrs.get('version', '')}"]
    made += [f" ({str(file.attrs['commit'])[:12]})" if "commit" in file.attrs else ""]
    made += [f", {file.attrs['ranks']} rank{'s' * (int(file.attrs['ranks']) > 1)}" if "ranks" in file.attrs else ""]
    rows.append(("made", "".join(made)))
    if "width" in file:
        rows.append(("width", f"1% of the mean: N >= {file['width'].attrs['neurons_for_mean']}"))
        rows.append(("", f"1% of one network: N >= {file['width'].attrs['neurons_for_one']}"))
    if file.attrs.get("method") == "width":
        rows.append(("method", file["width"].attrs["resolution"]))
    elif "method" in file.attrs:
        rows.append(("method", f"{file.attrs['method']} (mfpde.particles), repeats: {len(file.get('repeats', '1'))}"))
    else:
        rows.append(("steps", f"{history['steps'][-1]} in {history['wall_time'][-1]:.2f} s"))
        from mfpde.evolution.indicators import indicators

        rows += [(name, f"at most {history[name][:].max():.2e}") for name in indicators() if name in history]
    return "\n\n".join((table(rows), _coefficients(file), _contents(file), "configuration\n" + file.attrs["config"].rstrip()))


def _facts(file: Any) -> dict[str, Any]:
    """What a file says of its run; of curves the values at the first record and the last."""
    history, found = file["history"], loss_error(file)
    ends = {name: item[:][[0, -1]].tolist() for name, item in history.items() if item.ndim == 1 and item.dtype.kind in "fiu"}
    names = file["history/mode"].asstr()[:].tolist() if "history/mode" in file else []
    target, last = file["target/coefficients"][:].tolist(), history["coefficients"][-1].tolist()
    return {
        "attributes": {name: value.item() if isinstance(value, np.generic) else str(value) for name, value in file.attrs.items()},
        "config": tomllib.loads(file.attrs["config"]),
        "records": len(history["time"]),
        "history": ends,
        "error": None if found is None else found[0][[0, -1]].tolist(),
        "coefficients": {name: {"value": m, "target": h} for name, m, h in zip(names, last, target, strict=bool(names))},
        "datasets": {name: {"shape": list(item.shape), "dtype": str(item.dtype)} for name, item in _datasets(file)},
    }


def _finite(value: Any) -> Any:
    """The same with texts for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _loss(file: Any, loss: Any) -> str:
    """First and last loss, with the digits that their errors leave."""
    from mfpde.digits import credible

    found = loss_error(file)
    if found is None:
        return f"{loss[0]:.10g} -> {loss[-1]:.10g}     (error not estimated)"
    error, what = found
    note = "" if what == "estimated error" else f"     ({what})"
    return f"{credible(loss[0], error[0])} -> {credible(loss[-1], error[-1])}{note}"


def _coefficients(file: Any, most: int = 8) -> str:
    """The largest coefficients at the last record, with the digits that their errors leave, and those of the target."""
    from mfpde.digits import credible

    m, h = file["history/coefficients"][-1], file["target/coefficients"][:]
    alpha, radial = file["modes/alpha"][:], file["modes/radial"][:]
    order = np.argsort(-np.maximum(np.abs(m), np.abs(h)), kind="stable")[:most]
    known = "error/coefficients" in file and file["error/coefficients"].shape == file["history/coefficients"].shape
    error = file["error/coefficients"][-1] if known else np.zeros(len(m))
    shown = [credible(m[i], error[i]) if known else f"{m[i]:.10f}" for i in order]
    lines = [f"{tuple(alpha[i].tolist())!s:<12} {radial[i]:>2} {x:>16} {h[i]:>16.10f}" for i, x in zip(order, shown, strict=True)]
    return "\n".join((f"{'alpha':<12} {'j':>2} {'coefficient':>16} {'target':>16}", *lines))


def _contents(file: Any) -> str:
    return table([(name, f"{item.shape} {item.dtype}") for name, item in _datasets(file)])


def _datasets(file: Any) -> list[tuple[str, Any]]:
    """All datasets, by path."""
    rows: list[tuple[str, Any]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            rows.append((f"/{name}", item))

    file.visititems(visit)
    return rows


if __name__ == "__main__":
    sys.exit(main())
