"""Pictures of a result file: loss, Hermite coefficients, the spectrum of a kernel matrix, densities of the neurons."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.output.history import open_result

if TYPE_CHECKING:
    from mfpde.density.bins import Density

Array = NDArray[np.float64]


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


def plot_density(result: Path, picture: Path, densities: Sequence["Density"]) -> Path:
    """Draws densities of a result side by side, in the coordinates of each."""
    with open_result(result) as file, figure(picture, len(densities)) as (drawing, axes):
        for axis, density in zip(axes, densities, strict=True):
            label = f"density of ({', '.join(map(_symbol, density.axes))})" if len(density.axes) > 1 else "density"
            if len(density.axes) == 1:
                axis.fill_between(_middle(density.edges[0]), density.values, alpha=0.25, lw=0)
                axis.plot(_middle(density.edges[0]), density.values, lw=1.5)
                axis.set(xlabel=_symbol(density.axes[0]), ylabel=label, ylim=(0, None))
                axis.grid(alpha=0.3)
            else:
                drawing.colorbar(draw_density(axis, density), ax=axis, label=label)
        times = " and ".join(dict.fromkeys(f"$t = {density.time:g}$" for density in densities))
        drawing.suptitle(f"{_title(file)},  {times}", fontsize="medium")
    return picture


def draw_density(axis: Any, density: "Density", top: float | None = None) -> Any:
    """Draws a density of two coordinates, on a colour scale that shows crest and foot of a ridge alike; returns the image."""
    from matplotlib.colors import PowerNorm

    values = density.values
    if top is None:  # single bins may stand out: where a map folds, the density has a pole that can be integrated
        inside = values[values > 0]
        order = np.sort(inside)[::-1]
        share = np.cumsum(order) / order.sum()
        top = float(order[np.searchsorted(share, PEAK)])
    image = axis.pcolormesh(*density.edges, values.T, norm=PowerNorm(0.5, 0, top), cmap="magma", rasterized=True)
    axis.set(xlabel=_symbol(density.axes[0]), ylabel=_symbol(density.axes[1]))
    axis.set_facecolor("black")
    return image


# Mass that is drawn in the brightest colour.
PEAK = 0.02


def _symbol(name: str) -> str:
    """A coordinate in a formula."""
    return f"${name[0]}_{name[1:]}$" if len(name) > 1 else f"${name}$"


def _middle(edges: Array) -> Array:
    return (edges[1:] + edges[:-1]) / 2


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
