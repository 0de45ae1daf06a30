"""What the datasets of a result file mean: their dimensions, units and formulas, written beside them.

The dimensions are HDF5 dimension scales, as in NetCDF: a reader such as xarray finds coordinates by name.  Time is
dimensionless: steps of stochastic gradient descent times the learning rate, with the gradient of a neuron times their number.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.version import __version__

PACKAGE = Path(__file__).parents[1]

LOSS = "E = 1/2 sum_i (m_i - h_i)^2 = 1/2 E_x |f(x) - h*(x)|^2"
MOMENTS = "m_i = E[f he_i] = int a phi_i(v, r) rho(da, dv, dr)"


@dataclass(frozen=True)
class Label:
    """Of one dataset: names of its dimensions, its unit ("1" for none), what it is, and by which formula."""

    dimensions: tuple[str, ...]
    units: str
    long_name: str
    formula: str = ""


def _record(units: str, long_name: str, formula: str = "", *further: str) -> Label:
    return Label(("time", *further), units, long_name, formula)


LABELS = {
    "/history/time": _record("1", "training time", "steps * learning rate, with the gradient of each of N neurons times N"),
    "/history/loss": _record("1", "population loss", LOSS),
    "/history/coefficients": _record("1", "Hermite coefficients of the network", MOMENTS, "mode"),
    "/history/mass": _record("1", "mass of the density", "int rho"),
    "/history/steps": _record("1", "accepted time steps so far"),
    "/history/wall_time": _record("s", "wall time since the start of the run"),
    "/history/entropy": _record("1", "change of the entropy of (a, v, r) since t = 0", "H(t) - H(0), H = -int rho log rho"),
    "/history/correlation": _record("1", "correlation of network and target", "E[f h*] = sum_i m_i h_i"),
    "/history/regularised_loss": _record(
        "1",
        "population loss with the potential of the terms",
        "E + E[U], of weight decay U = 1/2 (l_a a^2 + l_w |w|^2 + l_b b^2)",
    ),
    "/history/loss_std": _record("1", "standard deviation of the loss of one run over the repeats"),
    "/history/loss_low": _record("1", "lower end of the 95% confidence interval of the mean loss"),
    "/history/loss_high": _record("1", "upper end of the 95% confidence interval of the mean loss"),
    "/error/estimate": _record("1", "estimated error of the loss", "at least the sum over all sources"),
    "/error/labels": _record("1", "estimated error of the loss by the labels a_0, r_0, and b_0 of biases"),
    "/error/mesh": _record("1", "estimated error of the loss by the elements of v_0"),
    "/error/hermite": _record("1", "estimated error of the loss by the Hermite degree K"),
    "/error/radial": _record("1", "estimated error of the loss by the radial degree J"),
    "/error/time": _record("1", "estimated error of the loss by the time steps"),
    "/error/coefficients": Label(("time", "mode"), "1", "estimated error of the Hermite coefficients"),
    "/error/studied/time": Label(("time",), "1", "training time at which the studies know the loss"),
    "/error/studied/correction": Label(("time",), "1", "what is added there to the loss of the run's modes"),
    "/error/studied/estimate": Label(("time",), "1", "estimated error of the loss there"),
    "/error/studied/shift": Label(
        ("time",), "1", "what the Hermite coefficients of the run lack there, or themselves beyond its own"
    ),
    "/width/time": Label(("time",), "1", "training time of the expansion in 1/N"),
    "/width/loss": Label(("time",), "1", "population loss at infinite width", LOSS),
    "/width/correction": Label(("time",), "1", "correction c of the mean", "E[E_N] = E + c/N + O(1/N^2)"),
    "/width/deviation": Label(("time",), "1", "deviation s of one network", "standard deviation of E_N = s/sqrt(N)"),
    "/width/sectors": Label(("time",), "1", "parts of c", "1/2 E |mu_l|^2 for l = 0, 1, .., and of single neurons beyond K"),
    "/width/error": Label(("time",), "1", "estimated error of c"),
    "/width/loss_error": Label(("time",), "1", "estimated error of the loss at these times"),
    "/width/deviation_error": Label(("time",), "1", "estimated error of s"),
    "/width/euler": Label(("time",), "1", "what steps of finite length add", "e of E[E_SGD] = E + c/N + eta e + (eta/B) q"),
    "/width/euler_error": Label(("time",), "1", "estimated error of e"),
    "/width/noise": Label(("time",), "1", "what the noise of samples adds", "q of E[E_SGD] = E + c/N + eta e + (eta/B) q"),
    "/width/noise_error": Label(("time",), "1", "estimated error of q"),
    "/width/noise_deviation": Label(("time",), "1", "deviation of one run by noise", "times sqrt(eta/B)"),
    "/modes/alpha": Label(("mode", "axis"), "1", "Hermite degrees of a mode in z_1..z_p"),
    "/modes/radial": Label(("mode",), "1", "radial degree j of a mode in x orthogonal to V"),
    "/target/coefficients": Label(("mode",), "1", "Hermite coefficients of the target", "h_i = E[h* he_i]"),
}
INDICATOR = _record("1", "indicator of what the run may not resolve")


def label(file: h5py.File, path: str) -> None:
    """Labels a dataset that has just been made."""
    if "dimensions" in file[path].attrs:
        _attach(file, path, [str(name) for name in file[path].attrs["dimensions"]])
        return
    group = path.rpartition("/")[0]
    found = LABELS.get(path)
    if found is None and group == "/history" and file[path].ndim == 1:
        found = INDICATOR
    if found is None:
        return
    data = file[path]
    texts = {"units": found.units, "long_name": found.long_name, "formula": found.formula}
    data.attrs.update({key: text for key, text in texts.items() if text})
    for axis, dimension in enumerate(found.dimensions):
        scale = _scale(file, group, dimension, data.shape[axis])
        if scale is not None and scale.name != data.name:
            data.dims[axis].attach_scale(scale)
    if path == "/modes/radial" and "/modes/alpha" in file:  # its modes have names now
        file["/modes/alpha"].dims[0].attach_scale(file["/modes/mode"])


def _attach(file: h5py.File, path: str, names: Sequence[str]) -> None:
    """Attaches the scales of the names that a dataset's attribute gives to its dimensions."""
    for axis, name in enumerate(names):
        scale = file[f"/{name}"]
        if not scale.is_scale:
            scale.make_scale(name)
        if scale.name != path:
            file[path].dims[axis].attach_scale(scale)


def _scale(file: h5py.File, group: str, dimension: str, size: int) -> h5py.Dataset | None:
    """The scale of a dimension, made if it is not there; None as long as it cannot be."""
    name = "record_time" if (group, dimension) == ("/error", "time") else dimension
    path = f"{group}/{name}"
    if path not in file:
        values = _values(file, dimension, size)
        if values is None:
            return None
        file.create_dataset(path, data=values, dtype=h5py.string_dtype() if values.dtype.kind == "O" else None)
        texts = {"mode": "alpha_1,..,alpha_p of a mode, and ;j where j > 0", "axis": "direction of V"}
        file[path].attrs.update({"long_name": texts.get(dimension, LABELS["/history/time"].long_name), "units": "1"})
    if not file[path].is_scale:
        file[path].make_scale(name)
    return file[path]


def _values(file: h5py.File, dimension: str, size: int) -> NDArray[Any] | None:
    if dimension == "axis":
        return np.arange(1, size + 1)
    if dimension == "time":
        return file["/history/time"][:] if "/history/time" in file and len(file["/history/time"]) == size else None
    if "/modes/radial" not in file:
        return None
    names = mode_names(file["/modes/alpha"][:].tolist(), file["/modes/radial"][:].tolist())
    return np.array(names, dtype=object)


def mode_names(alpha: Iterable[Iterable[int]], radial: Iterable[int]) -> list[str]:
    """Names of modes: "1,1" for he_1(z_1) he_1(z_2), with ";j" where j > 0."""
    return [",".join(map(str, powers)) + (f";{j}" if j else "") for powers, j in zip(alpha, radial, strict=True)]


def provenance(ranks: int) -> dict[str, str | int]:
    """Attributes that say how a file came about."""
    names = {"dolfinx": "dolfinx-solver-real", "petsc4py": "petsc4py", "mpi4py": "mpi4py", "numpy": "numpy", "h5py": "h5py"}
    found = {f"version_{name}": _version(name, package) for name, package in names.items()}
    commit = {"commit": _commit()} if _commit() else {}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "program": "mfpde",
        "version": __version__,
        "date": when,
        "command": _command(sys.argv),
        "ranks": ranks,
        **found,
        **commit,
    }


def _command(words: Sequence[str]) -> str:
    """The command line, with the name of a module in the place of its file."""
    first, *others = words or ["python"]
    path = Path(first)
    if path.is_relative_to(PACKAGE):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        first = "python -m " + ".".join(part for part in parts if part != "__main__")
    return " ".join([first or "python", *map(shlex.quote, others)]).encode(errors="replace").decode()


def _version(name: str, package: str) -> str:
    module = sys.modules.get(name)
    try:
        return str(getattr(module, "__version__", None) or version(package))
    except PackageNotFoundError:
        return "unknown"


@cache
def _commit() -> str:
    """The commit of the sources, where they are a repository."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return ""
    try:
        words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(words, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
