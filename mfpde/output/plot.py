"""Pictures of a result file: loss, Hermite coefficients, the spectrum of a kernel matrix."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.errors import InputError, RunError
from mfpde.output.history import loss_error, open_result

Array = NDArray[np.float64]


def plot_loss(result: Path, picture: Path) -> Path:
    """Draws E(t), with dotted lines where stages begin, and returns the picture's path."""
    with open_result(result) as file, figure(picture, 1) as (_, axes):
        draw_loss(file, axes[0])
    return picture


def draw_loss(file: h5py.File, axis: Any) -> None:
    """E(t) of an open result file with the band of its error, on given axes; over log t where most records are early ones."""
    t, loss = file["history/time"][:], file["history/loss"][:]
    axis.semilogy(t, loss, lw=2)
    if np.mean(t < EARLY * t[-1]) > 0.5:
        axis.set_xscale("log")
    if (found := loss_error(file)) is not None:
        bottom = axis.get_ylim()[0]  # a band that reaches 0 would take the whole axis
        axis.fill_between(t, *np.maximum([loss - found[0], loss + found[0]], 1e-300), alpha=0.3, lw=0, label=found[1])
        axis.set_ylim(bottom=max(bottom, 1e-300))
        axis.legend(fontsize="small")
    if "width" in file:
        _draw_band(file["width"], axis)
    for start in file["stages/start"][1:] if "stages" in file else ():
        axis.axvline(start, color="k", ls=":", lw=1)
    axis.set(xlabel="time $t$", ylabel=r"loss $E(\rho_t)$", title=title_of(file))
    axis.grid(alpha=0.3, which="both")
    plain_numbers(axis)


# The part of the time in which most records lie if they are spaced by log t.
EARLY = 0.1


def _draw_band(width: h5py.Group, axis: Any) -> None:
    """Where E of a network of N neurons is, E + c/N +- 2 s/sqrt(N), behind the curve."""
    neurons, t, (low, high) = int(width.attrs["neurons"]), width["time"][:], axis.get_ylim()
    middle, half = width["loss"][:] + width["correction"][:] / neurons, 2 * width["deviation"][:] / np.sqrt(neurons)
    text = rf"$N = {neurons}$: $E + c/N \pm 2 s/\sqrt{{N}}$"
    band = np.maximum([middle - half, middle + half], 1e-300)
    axis.fill_between(t, *band, color="C1", alpha=0.25, lw=0, zorder=0, label=text)
    axis.plot(t, middle, color="C1", lw=1, ls="--", zorder=1)
    axis.set_ylim(max(min(low, band[0].min()), 0.5 * low), max(high, band[1].max()))
    axis.legend(fontsize="small")


def plain_numbers(axis: Any) -> None:
    """Labels a logarithmic y axis over little more than a decade with plain numbers, also between the powers of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    low, high = axis.get_ylim()
    if not 0 < low < high < FEW_DECADES * low:
        return
    # Where a decade is far away, powers of ten and their halves are too few; round steps are not.
    ticks = [x for x in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100) if low <= x <= high]
    if len(ticks) < 4:
        ticks = [float(x) for x in MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= x <= high]
    axis.yaxis.set_major_locator(FixedLocator(ticks))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


# Ratio of the ends of an axis below which powers of ten do not label it.
FEW_DECADES = 30.0


def plot_coefficients(result: Path, picture: Path, most: int = 8) -> Path:
    """Draws the largest Hermite coefficients m_i(t) with the target's as dashed lines."""
    with open_result(result) as file, figure(picture, 1) as (_, axes):
        t, m, h = file["history/time"][:], file["history/coefficients"][:], file["target/coefficients"][:]
        alpha, radial = file["modes/alpha"][:], file["modes/radial"][:]
        size = np.maximum(np.abs(m).max(axis=0), np.abs(h))
        shown = np.argsort(-size, kind="stable")[:most]
        for n, i in enumerate(shown):
            name = "m_{(" + ",".join(map(str, alpha[i])) + ")" + (f",{radial[i]}" if radial[i] else "") + "}"
            axes[0].plot(t, m[:, i], color=f"C{n}", lw=2, label=f"${name}$")
        for value in np.unique(h[shown][h[shown] != 0]):  # equal targets share their line, dash by dash
            equal = [n for n, i in enumerate(shown) if h[i] == value]
            for turn, n in enumerate(equal):
                dashes = (turn * DASH, (DASH, DASH * max(1, len(equal) - 1)))
                axes[0].axhline(value, color=f"C{n}", ls=dashes, lw=1.4, zorder=1)
        axes[0].set(xlabel="time $t$", ylabel="Hermite coefficient (dashed: target)", title=title_of(file))
        axes[0].set_xlim(t[0], t[-1])
        axes[0].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        axes[0].grid(alpha=0.3)
    return picture


# Of a dashed line, in line widths.
DASH = 5.0


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
        drawing.suptitle(title_of(file), fontsize="medium")
    return picture


class figure:
    """A figure with `panels` axes, saved to `picture` when the block ends.

    Raises:
        InputError: If it cannot be written there.
        RunError: If matplotlib cannot draw, whose settings are the user's.
    """

    def __init__(self, picture: Path, panels: int) -> None:
        self.picture = picture
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except Exception as error:  # a matplotlibrc or MPLBACKEND that it does not know
            raise self._failed(error) from None

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
        except Exception as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> RunError:
        return RunError(f"matplotlib could not draw {str(self.picture)!r}, the numbers are not touched: {error}")


def plain(text: str) -> str:
    """A text that matplotlib draws as it is: no formula between dollar signs, no letters that no font has."""
    return text.encode(errors="replace").decode().replace("$", r"\$")


def title_of(file: h5py.File) -> str:
    """What an open result file is about: target, activation and dimension."""
    d = float(file.attrs["dimension"])
    size = r"\infty" if np.isinf(d) else f"{d:g}"
    return f"$h^*$ = {plain(file.attrs['polynomial'])},  $\\sigma$ = {plain(file.attrs['activation'])},  $d = {size}$"
