"""Pictures of a result file: loss, Hermite coefficients, and the density of v in physical coordinates."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.output.history import open_result

Array = NDArray[np.float64]

# Points per cell and direction at which q is interpolated for the density picture, by dimension.
FINE = {1: 64, 2: 12, 3: 6}
BINS = 240


def plot_loss(result: Path, picture: Path) -> Path:
    """Draws E(t), with dotted lines where stages begin, and returns the picture's path."""
    with open_result(result) as file, figure(picture, 1) as (_, axes):
        draw_loss(file, axes[0])
    return picture


def draw_loss(file: Any, axis: Any) -> None:
    """E(t) of an open result file with the band of its error, on given axes."""
    t, loss = file["history/time"][:], file["history/loss"][:]
    axis.semilogy(t, loss, lw=2)
    if "history/loss_low" in file:  # the confidence band of repeated particle runs
        ends, what = [file[f"history/loss_{end}"][:] for end in ("low", "high")], "95% interval of the mean"
    elif "error/estimate" in file and file["error/estimate"].shape == loss.shape:
        error = file["error/estimate"][:]
        ends, what = [loss - error, loss + error], "estimated error"
    else:
        ends, what = [], ""
    if ends:
        bottom = axis.get_ylim()[0]  # a band that reaches 0 would take the whole axis
        axis.fill_between(t, *np.maximum(ends, 1e-300), alpha=0.3, lw=0, label=what)
        axis.set_ylim(bottom=max(bottom, 1e-300))
        axis.legend(fontsize="small")
    for start in file["stages/start"][1:] if "stages" in file else ():
        axis.axvline(start, color="k", ls=":", lw=1)
    axis.set(xlabel="time $t$", ylabel=r"loss $E(\rho_t)$", title=_title(file))
    axis.grid(alpha=0.3, which="both")


def plot_coefficients(result: Path, picture: Path, most: int = 8) -> Path:
    """Draws the largest Hermite coefficients m_i(t) with the target's as dashed lines."""
    with open_result(result) as file, figure(picture, 1) as (_, axes):
        t, m, h = file["history/time"][:], file["history/coefficients"][:], file["target/coefficients"][:]
        alpha, radial = file["modes/alpha"][:], file["modes/radial"][:]
        size = np.maximum(np.abs(m).max(axis=0), np.abs(h))
        for n, i in enumerate(np.argsort(-size, kind="stable")[:most]):
            name = "m_{(" + ",".join(map(str, alpha[i])) + ")" + (f",{radial[i]}" if radial[i] else "") + "}"
            axes[0].plot(t, m[:, i], color=f"C{n}", lw=2, label=f"${name}$")
            if h[i]:
                axes[0].axhline(h[i], color=f"C{n}", ls="--", lw=1)
        axes[0].set(xlabel="time $t$", ylabel="Hermite coefficient (dashed: target)", title=_title(file))
        axes[0].legend(ncol=2, fontsize="small")
        axes[0].grid(alpha=0.3)
    return picture


def plot_kernel(result: Path, picture: Path) -> Path:
    """Draws the spectrum of a kernel matrix, and the loss with its exponential bound."""
    with open_result(result) as file, figure(picture, 2) as (drawing, axes):
        group = file["kernel"]
        values, uncertainty = group["eigenvalues"][:], np.nan_to_num(group["uncertainty"][:])
        number, certain = np.arange(1, len(values) + 1), uncertainty < 0.1 * values
        shown = np.where(values > 1e-28 * values[-1], values, np.nan)  # smaller ones are 0
        axes[0].vlines(number, np.maximum(shown - uncertainty, 1e-3 * shown), shown + uncertainty, color="C0", lw=1)
        axes[0].semilogy(number[certain], shown[certain], "o", color="C0", label="certain")
        axes[0].semilogy(number[~certain], shown[~certain], "o", mfc="none", color="C0", label="uncertain")
        axes[0].set(xlabel="number", ylabel="eigenvalue of $K$")
        t, loss, bound = group["time"][:], group["loss"][:], group["bound"][:]
        axes[1].semilogy(t, loss, lw=2, label=r"$E(\rho_t)$")
        axes[1].semilogy(t, bound, "k--", lw=1, label=r"$E(\rho_T)\, e^{-2 \lambda_{\min} (t - T)}$")
        axes[1].semilogy(
            t, group["target_bound"][:], "C1:", lw=1.5, label=r"the same with the smallest $\lambda$ of this target on $V$"
        )
        axes[1].set_ylim(max(1e-16, 0.1 * loss.min()), 2 * loss.max())
        axes[1].set(xlabel="time $t - T$ of the last stage", ylabel="loss")
        for axis in axes:
            axis.grid(alpha=0.3, which="both")
            axis.legend()
        drawing.suptitle(_title(file), fontsize="medium")
    return picture


def plot_density(result: Path, picture: Path, snapshot: int = -1) -> Path | None:
    """Draws the density of v = w_V, all slices together, in physical coordinates; None if there is no snapshot."""
    from matplotlib.colors import LogNorm

    with open_result(result) as file:
        names = sorted(file.get("slices/snapshots", ()))
        if not names:
            return None
        group = file[f"slices/snapshots/{names[snapshot]}"]
        p = group["M"].shape[1]
        pairs: list[tuple[int, ...]] = [(i, j) for i in range(p) for j in range(i + 1, p)] or [(0,)]
        grids = _histograms(file, group, pairs)
        with figure(picture, len(pairs)) as (drawing, axes):
            for axis, pair, grid in zip(axes, pairs, grids, strict=True):
                if len(pair) == 1:
                    axis.plot((grid.edges[0][1:] + grid.edges[0][:-1]) / 2, grid.density, lw=1.5)
                    axis.set(xlabel="$v_1$", ylabel=r"density of $v_1$")
                    axis.grid(alpha=0.3)
                else:
                    i, j = (k + 1 for k in pair)
                    top = grid.density.max()
                    image = axis.pcolormesh(
                        *grid.edges, grid.density.T, norm=LogNorm(1e-5 * top, top), cmap="magma", rasterized=True
                    )
                    axis.set(xlabel=f"$v_{i}$", ylabel=f"$v_{j}$")
                    axis.set_facecolor("black")
                    drawing.colorbar(image, ax=axis, label=rf"density of $(v_{i}, v_{j})$")
            drawing.suptitle(f"{_title(file)}, $t = {group['time'][()]:g}$", fontsize="medium")
    return picture


@dataclass(frozen=True)
class _Grid:
    edges: list[Array]
    density: Array


def _histograms(file: Any, group: Any, pairs: list[tuple[int, ...]]) -> list[_Grid]:
    """Mass deposited on regular grids, read slice by slice."""
    p = group["M"].shape[1]
    limits = np.array([[np.inf] * p, [-np.inf] * p])
    for v, mass in _points(file, group):
        kept = v[mass > 1e-9 * mass.max(initial=0.0)]
        limits = np.array([np.minimum(limits[0], kept.min(axis=0)), np.maximum(limits[1], kept.max(axis=0))])
    margin = np.maximum(0.03 * (limits[1] - limits[0]), 1e-3)
    edges = [np.linspace(low, high, BINS + 1) for low, high in zip(limits[0] - margin, limits[1] + margin, strict=True)]
    shapes = [list(pair) for pair in pairs]
    totals = [np.zeros([BINS] * len(axes)) for axes in shapes]
    for v, mass in _points(file, group):
        for total, axes in zip(totals, shapes, strict=True):
            total += np.histogramdd(v[:, axes], [edges[k] for k in axes], weights=mass)[0]
    area = [np.prod([edges[k][1] - edges[k][0] for k in axes]) for axes in shapes]
    return [_Grid([edges[k] for k in axes], total / a) for axes, total, a in zip(shapes, totals, area, strict=True)]


def _points(file: Any, group: Any) -> Iterator[tuple[Array, Array]]:
    """Positions v and masses of each slice, its density interpolated to a finer grid in every cell."""
    y, weight, labels = file["slices/y"][:], file["slices/y_weight"][:], file["slices/label_weight"][:]
    p, n = y.shape[2], int(file.attrs["degree"]) + 1
    transfer: Array = np.ones((1, 1)) if n == 1 else _interpolation(n, FINE[p])
    for _ in range(p - 1 if n > 1 else 0):
        transfer = np.asarray(np.kron(transfer, _interpolation(n, FINE[p])), dtype=np.float64)
    fine, volume = np.einsum("fn,cnp->cfp", transfer, y), weight.sum(axis=1)
    for s, label in enumerate(labels):
        q = np.maximum(group["q"][s] @ transfer.T, 0.0)
        mass = label * q * volume[:, None] / q.shape[1]
        v = fine @ group["L"][s].T + group["M"][s]
        yield v.reshape(-1, p), mass.ravel()


def _interpolation(n: int, fine: int) -> Array:
    """From n Gauss points of a cell to the centres of `fine` equal parts."""
    x = np.polynomial.legendre.leggauss(n)[0]
    centres = (2 * np.arange(fine) + 1.0) / fine - 1.0
    vandermonde = np.polynomial.legendre.legvander
    return np.asarray(vandermonde(centres, n - 1) @ np.linalg.inv(vandermonde(x, n - 1)))


class figure:
    """A figure with `panels` axes, saved to `picture` when the block ends.

    Raises:
        InputError: If it cannot be written there.
    """

    def __init__(self, picture: Path, panels: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.picture = picture
        self.figure = Figure(figsize=(6.4 * panels, 4.6), layout="constrained", dpi=150)
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.subplots(1, panels, squeeze=False)[0]

    def __enter__(self) -> tuple[Any, Any]:
        return self.figure, self.axes

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        try:
            self.figure.savefig(self.picture)
        except OSError as error:
            raise InputError(
                f"cannot draw to {str(self.picture)!r}: {error.strerror or error}; allowed: a writable place"
            ) from None


def plain(text: str) -> str:
    """A text that matplotlib draws as it is: no formula between dollar signs, no letters that no font has."""
    return text.encode(errors="replace").decode().replace("$", r"\$")


def _title(file: Any) -> str:
    d = float(file.attrs["dimension"])
    size = r"\infty" if np.isinf(d) else f"{d:g}"
    return f"$h^*$ = {plain(file.attrs['polynomial'])},  $\\sigma$ = {plain(file.attrs['activation'])},  $d = {size}$"
