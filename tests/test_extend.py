"""How to extend: the code of examples/EXTEND.md itself, run the way the page says."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from extension import SELF, blocks, dropped, run
from support import AFFINE, read, run_here, two_passes

import mfpde
import mfpde.evolution.indicators as indicators_package
import mfpde.problem.laws as laws_package
from mfpde import formats
from mfpde.errors import InputError
from mfpde.evolution.indicators import indicators
from mfpde.particles.sampling import random_particles, sobol_particles
from mfpde.problem.activation import NAMES, parse_activation
from mfpde.problem.laws import Law, parse_law
from mfpde.quadrature.rules import gauss_rule
from mfpde.solve import solve


@pytest.fixture
def semicircle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Law]:
    """The law of the page with radius 1.5, found by its name."""
    folder = dropped("mfpde/problem/laws/semicircle.py", tmp_path)
    monkeypatch.setattr(laws_package, "__path__", [*laws_package.__path__])
    monkeypatch.chdir(folder.parent)
    run_page = blocks()["a folder of laws"].replace("my_laws", str(folder))
    exec(compile(run_page, "a folder of laws", "exec"), {})
    yield parse_law("semicircle(1.5)")


def test_a_law_of_the_page_has_the_gauss_rule_of_chebyshev_polynomials(semicircle: Law) -> None:
    """Second kind: nodes R cos(k pi / (n + 1)), weights 2 sin^2(k pi / (n + 1)) / (n + 1)."""
    for n in (1, 2, 5, 16, 32):
        angle = np.arange(n, 0, -1) * np.pi / (n + 1)
        rule = gauss_rule(semicircle, (n,))
        assert np.abs(rule.nodes - 1.5 * np.cos(angle)).max() < 1e-13
        assert np.abs(rule.weights - 2 / (n + 1) * np.sin(angle) ** 2).max() < 1e-13


def test_a_law_of_the_page_has_samples_and_a_density_that_fit(semicircle: Law) -> None:
    """E a^2 = R^2/4, E a^4 = R^4/8: Sobol' points to 1e-3, independent ones to five standard errors; dF = density."""
    _, problem = read("initial.a=semicircle(1.5)", "input.dimension=50")
    count = 2**14
    for draw, bound in ((sobol_particles, 1e-3), (random_particles, 5 / np.sqrt(count))):
        a = draw(problem, count, (0, 0), 0, count).a
        assert abs((a**2).mean() - 1.5**2 / 4) < bound and abs((a**4).mean() - 1.5**4 / 8) < 2 * bound
        assert np.abs(a).max() < 1.5 and abs(a.mean()) < bound
    u, h = np.linspace(0.05, 0.95, 19), 1e-5
    slope = (semicircle.quantile(u + h) - semicircle.quantile(u - h)) / (2 * h)
    assert np.abs(semicircle.density(semicircle.quantile(u)) * slope / (np.pi * 1.5**2 / 2) - 1).max() < 1e-7


def test_a_law_of_the_page_runs_and_is_drawn(semicircle: Law, tmp_path: Path) -> None:
    from mfpde.density.marginal import density
    from mfpde.density.picture import plot_density

    small = ["discretization.a_nodes=4", "discretization.r_nodes=1", "discretization.cells=6", "training.final_time=1.0"]
    config, problem = read(AFFINE, "initial.a=semicircle(1.5)", *small, f"output.file={tmp_path / 'out.h5'}")
    assert problem.a == semicircle
    summary = solve(SELF, config, problem)
    assert summary.loss < summary.first_loss
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.abs(file["slices/label_a"][:] - gauss_rule(semicircle, (4,)).nodes).max() < 1e-14
    found = density(tmp_path / "out.h5", ("v1", "v2"), bins=50)
    picture = plot_density(tmp_path / "out.h5", tmp_path / "out.png", [found])
    assert picture.stat().st_size > 0


def test_a_law_of_the_page_is_offered_and_checked(semicircle: Law) -> None:
    for text in ("semicircle(-1)", "semicircle", "semicircel(1)"):
        with pytest.raises(InputError, match=r"semicircle\(R\)") as error:
            parse_law(text)
        assert "\n" not in str(error.value)


def test_an_activation_of_the_page_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfpde.problem.activation.NAMES", dict(NAMES))
    run("a name for an activation")
    named, plain = parse_activation("silu"), parse_activation("u*sigmoid(u)")
    u = np.linspace(-4, 4, 33)
    assert np.abs(named(u) - u / (1 + np.exp(-u))).max() < 1e-14 and named.source == plain.source


def test_a_diagnostic_of_the_page_is_recorded_and_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both frames, after a restart, and where a point starts."""
    name = "mfpde/evolution/indicators/largest_weight.py"
    folder = dropped(name, tmp_path / "indicators")
    (folder / "largest_weight.py").write_text(blocks()[name].replace("LIMIT = 1e3", "LIMIT = 1.1"))
    monkeypatch.setattr(indicators_package, "__path__", [*indicators_package.__path__, str(folder)])
    indicators.cache_clear()
    try:
        small = ["discretization.a_nodes=4", "discretization.r_nodes=1", "discretization.cells=4", "training.final_time=2.0"]
        small.append("discretization.accuracy=false")
        for given in ([AFFINE], [], ["input.dimension=inf"]):
            config, problem = read(*small, *given, "output.times=5", f"output.file={tmp_path / 'out.h5'}")
            summary = solve(SELF, config, problem)
            with h5py.File(tmp_path / "out.h5") as file:
                recorded = file["history/largest_weight"][:]
            assert abs(recorded[0] - 1) < 0.1 and recorded[-1] > 1.1
            assert any("largest_weight" in advice and "blow up" in advice for advice in summary.warnings)
        on = mfpde.run(None, restart=tmp_path / "out.h5", final_time=3.0, times=5)
        later = on.columns["largest_weight"]
        assert np.array_equal(later[:3], recorded[:3]) and later[-1] > recorded[-1] and np.isfinite(later).all()
    finally:
        indicators.cache_clear()


@pytest.fixture
def second_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's run with the output of the page, in a folder of its own."""
    (tmp_path / "my_outputs").mkdir()
    dropped("mfpde/formats/second_moments.py", tmp_path / "my_outputs")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__])
    monkeypatch.delitem(sys.modules, "mfpde.formats.second_moments", raising=False)
    monkeypatch.chdir(tmp_path)
    return run("a run with it")["run"]


def assert_moments_of_every_record(stem: str, count: int) -> None:
    rows = np.loadtxt(f"{stem}_moments.txt")
    with h5py.File(f"{stem}.h5") as file:
        told, h = file["history/coefficients"][:], file["target/coefficients"][:]
        assert np.abs(rows[:, 0] - file["history/time"][:]).max() < 1e-14
    assert len(rows) == count and np.abs(rows[:, 1] - 0.5 * ((told - h) ** 2).sum(axis=1)).max() < 1e-14
    assert abs(rows[0, 2] - 1 / 3) < 1e-12 and abs(rows[0, 3] - 1) < 1e-8 and (np.diff(rows[:, 3]) > 0).all()


def test_an_output_of_the_page_writes_a_line_for_every_record(second_moments: Any) -> None:
    """Of a run, of one that goes on from it, and of one whose accuracy takes two passes."""
    fixed = {"accuracy": False, "a_nodes": 8}
    assert second_moments(SELF, **fixed).summary.files == {"second_moments": Path("staircase_moments.txt")}
    assert_moments_of_every_record("staircase", 5)
    longer = {"final_time": 1.5, "times": [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]}
    mfpde.run(comm=SELF, restart="staircase.h5", save="longer.h5", **longer)
    assert_moments_of_every_record("longer", 7)
    with two_passes():
        assert len(second_moments(SELF, accuracy=1e-2).summary.answer.passes) == 2
    assert_moments_of_every_record("staircase", 5)


def test_an_output_of_the_page_is_written_by_the_command_and_in_a_sweep(second_moments: Any, tmp_path: Path) -> None:
    words = ["output.also=['second_moments']", "training.final_time=1.0", "output.times=5", "output.plot=false"]
    words += ["discretization.accuracy=false", "discretization.a_nodes=8"]
    options = [word for key in words for word in ("--set", key)]
    assert run_here(tmp_path, "solve", *options, "--output", "out.h5", "--quiet") == 0
    assert_moments_of_every_record("out", 5)
    assert run_here(tmp_path, "sweep", *options, "--vary", "input.dimension=[100]", "--output", "s.h5", "--quiet") == 0
    assert_moments_of_every_record("s/dimension=100", 5)


def test_every_piece_of_the_page_is_run_by_a_test() -> None:
    here = Path(__file__).read_text() + Path(__file__).with_name("test_extend_terms.py").read_text()
    here += Path(__file__).with_name("extension.py").read_text()
    assert len(blocks()) == 8 and all(f'"{name}"' in here for name in blocks())
