"""Vectors of 4 and of 8 numbers: the compiled code gives the same with both, on any processor."""

from math import inf
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import SELF, cloud_of

from mfpde.compile import load_compiled
from mfpde.errors import InputError
from mfpde.features.hermite import coefficients
from mfpde.features.hermite.features import HermiteFeatures
from mfpde.features.hermite.modes import hermite_modes
from mfpde.neurons import Cloud, LearningRates, Rates
from mfpde.particles import network
from mfpde.problem.activation import parse_activation

Array = NDArray[np.float64]


def differ(one: Array, other: Array) -> float:
    """The largest difference, relative to the largest number."""
    return float(np.abs(one - other).max() / np.abs(one).max())


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("n", [1, 7, 37])
def test_features_are_the_same_with_vectors_of_4_and_8(n: int, biases: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    a, v, r, b = cloud_of(rng, n, 2)
    modes = hermite_modes(2, 9, 2, 12.0)
    residual, weight = rng.standard_normal(len(modes)), rng.uniform(size=n)
    found = []
    for width in ("4", "8"):
        monkeypatch.setenv("MFPDE_LANES", width)
        features = HermiteFeatures(SELF, modes, parse_activation("gelu"), biases=biases)
        kept = features.room(1, n)
        cloud = Cloud.of(a, v, r, weight, b if biases else None)
        out = Rates(np.empty((1, n)), np.empty((1, 2, n)), np.empty((1, n)), np.empty((1, n)) if biases else None)
        moments = features.moments(cloud, np.ones(1), kept).all
        features.velocities(cloud, residual, LearningRates(0.7, 1.3, 0.4), out, kept)
        divergence = np.empty((1, n))
        features.divergence(cloud, residual, LearningRates(0.7, 1.3, 0.4), divergence)
        results = [moments, out.a, out.v, out.r, divergence, *([out.b, features.functions(v[0] ** 2, b)] if biases else [])]
        found.append([x for x in results if x is not None])
    assert len(found[0]) == (7 if biases else 5)
    assert max(differ(*pair) for pair in zip(*found, strict=True)) < 1e-13


def test_pair_sums_are_the_same_with_vectors_of_4_and_8(monkeypatch: pytest.MonkeyPatch) -> None:
    K, rows, columns = 6, 5, 21
    rng = np.random.default_rng(0)
    q, G, g = rng.uniform(-1, 1, (rows, columns)), rng.standard_normal((rows, K + 1)), rng.standard_normal((K + 1, columns))
    found = []
    for width in ("4", "8"):
        monkeypatch.setenv("MFPDE_LANES", width)
        compiled = load_compiled(SELF, Path(network.__file__).with_name("network.c"), network.DECLARATIONS, {"K": K})
        slope, power = q.copy(), np.zeros((rows, K + 1))
        pointers = [compiled.ffi.from_buffer("double[]", x) for x in (slope, G, g, power)]
        compiled.lib.pair_sums(rows, columns, *pointers[:3], columns, pointers[3])
        found.append((slope, power))
    powers = q[:, :, None] ** np.arange(K + 1)
    assert differ(np.einsum("kj,ijk->ik", g, powers), found[0][1]) < 1e-13
    assert max(differ(*pair) for pair in zip(*found, strict=True)) < 1e-13


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_hermite_coefficients_are_the_same_with_vectors_of_4_and_8(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s, b = np.geomspace(0.01, 5.0, 9), np.linspace(-2, 1, 9)
    found = []
    for width in ("4", "8"):
        monkeypatch.setenv("MFPDE_LANES", width)
        compiled = coefficients._compiled.__wrapped__()
        monkeypatch.setattr(coefficients, "_compiled", lambda compiled=compiled: compiled)
        found.append(coefficients.hermite_coefficients(parse_activation(name), s, 20, b))
        monkeypatch.undo()
    assert differ(*found) < 1e-13


def test_other_widths_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFPDE_LANES", "5")
    with pytest.raises(InputError, match="MFPDE_LANES: '5'; allowed: 4, 8, or not set"):
        HermiteFeatures(SELF, hermite_modes(1, 2, 0, inf), parse_activation("tanh"))
