"""Convergence studies: errors of a series of runs against a reference, and the order at which they fall.

The error of a member is max_t |E(t) - E_ref(t)|.  Of repeated runs it is the root mean square over the repeats (the error
of one run), or for what biases all of them alike, the bias: the error of their mean.  Orders are q in error ~ C n^-q
between neighbours, n the varied number (or its reciprocal, if the error falls with it), and by least squares over all;
an exponential C exp(-c n) is fitted as well, and named where it fits better: the convergence is spectral.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.output.history import History, difference, interpolate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Varied:
    """What a study can vary.

    Attributes:
        key: The configuration's key.
        run: The program that runs a member if the user does not say: "solve" or "particles".
        falling: Whether smaller values are finer.
        bias: Whether the error that counts is that of the mean over repeats.
        references: Named references that differ from a member in what is varied alone.
    """

    key: str
    run: str = "solve"
    falling: bool = False
    bias: bool = False
    references: tuple[str, ...] = ()


VARIED = {
    "cells": Varied("discretization.cells", references=("characteristics",)),
    "degree": Varied("discretization.degree", references=("characteristics",)),
    "half_width": Varied("discretization.half_width", references=("characteristics",)),
    "tolerance": Varied("discretization.tolerance", falling=True, references=("characteristics",)),
    "a_nodes": Varied("discretization.a_nodes"),
    "r_nodes": Varied("discretization.r_nodes"),
    "b_nodes": Varied("discretization.b_nodes"),
    "hermite_degree": Varied("discretization.hermite_degree"),
    "radial_degree": Varied("discretization.radial_degree"),
    "dimension": Varied("input.dimension"),
    "particles": Varied("particles.particles", "particles", references=("characteristics",)),
    "step": Varied("particles.step", "particles", falling=True, bias=True, references=("network",)),
    "batch": Varied("particles.batch", "particles", bias=True, references=("network",)),
}
# Nodes in each direction of v at which the characteristic solution is exact to 1e-7 at d = 10 and to 1e-11 above 100, by p.
EXACT = {1: 256, 2: 96, 3: 24}


def reference_overrides(name: str, labels: int, p: int, spread: bool) -> list[str]:
    """What turns a member's configuration into a named reference, to be run as particles.

    Keys that do not enter are the same whatever is varied, so that a longer study keeps its reference.
    """
    if name == "network":
        return ["particles.method=network", "particles.step=1.0", "particles.batch=1"]
    count = labels * (EXACT[min(p, 3)] ** p if spread else 1)
    reduced = ["particles.method=reduced", "particles.sampling=gauss", "particles.repeats=1", f"particles.particles={count}"]
    return [*reduced, *(f"discretization.{key}=1" for key in ("cells", "degree", "half_width")), "discretization.tolerance=1e-11"]


@dataclass(frozen=True)
class Error:
    """Errors of one member: largest and L2 difference of E (of one run), and of the mean over repeats with its standard error."""

    largest: float
    l2: float
    bias: float
    uncertainty: float


def error_of(member: History, reference: History) -> Error:
    """The error of a member. Repeats are paired with the reference's repeats where both have as many: the same seeds."""
    whole = difference(member, reference)
    if len(member.runs) == 1:
        return Error(whole.max_loss, whole.l2_loss, whole.max_loss, 0.0)
    runs = interpolate(member.times, member.runs.T, whole.times)[0]
    paired = reference.runs.T if len(reference.runs) == len(member.runs) else reference.loss[:, None]
    deviation = runs - interpolate(reference.times, paired, whole.times)[0]
    square, mean = (deviation**2).mean(axis=1), deviation.mean(axis=1)
    worst = int(np.abs(mean).argmax())
    return Error(
        float(np.sqrt(square.max())),
        float(np.sqrt(np.trapezoid(square, whole.times))),
        float(abs(mean[worst])),
        float(deviation[worst].std(ddof=1) / np.sqrt(len(member.runs))),
    )


def orders(values: Array, errors: Array, falling: bool) -> Array:
    """q between each member and the one before it; nan for the first and where an error vanishes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.diff(np.log(errors)) / np.diff(np.log(values)) * (1 if falling else -1)
    return np.concatenate(([np.nan], np.where(np.isfinite(q), q, np.nan)))


@dataclass(frozen=True)
class Fit:
    """error ~ constant n^-order, or constant exp(-rate n) if `spectral`; nan without two points to fit."""

    spectral: bool
    constant: float
    order: float
    rate: float

    def __call__(self, values: Array, falling: bool) -> Array:
        """The fitted errors."""
        if self.spectral:
            return self.constant * np.exp(-self.rate * values)
        return self.constant * values ** (self.order if falling else -self.order)

    def __str__(self) -> str:
        if np.isnan(self.order):
            return "no fit: fewer than two members with an error"
        return f"error ~ exp(-{self.rate:.3g} n)" if self.spectral else f"order {self.order:.2f}"


def fit(values: Array, errors: Array, falling: bool) -> Fit:
    """The least-squares fit of the logarithm of the errors."""
    used = (errors > 0) & np.isfinite(values)
    n, e = values[used], np.log(errors[used])
    if len(n) < 2:
        return Fit(False, np.nan, np.nan, np.nan)
    power = np.polynomial.Polynomial.fit(np.log(n), e, 1)
    order = float(power.convert().coef[1]) * (1 if falling else -1)
    geometric = np.polynomial.Polynomial.fit(n, e, 1)
    rate = -float(geometric.convert().coef[1])
    misfits = [float(((line(x) - e) ** 2).sum()) for line, x in ((power, np.log(n)), (geometric, n))]
    spectral = len(n) > 2 and not falling and misfits[1] < misfits[0] and rate > 0
    chosen = geometric if spectral else power
    return Fit(spectral, float(np.exp(chosen.convert().coef[0])), order, rate)


def refine(values: Sequence[str], falling: bool) -> list[str]:
    """The values from coarse to fine, without repetition."""
    return sorted({float(value): value for value in reversed(values)}.values(), key=float, reverse=falling)
