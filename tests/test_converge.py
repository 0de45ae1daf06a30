"""Comparisons of result files and convergence studies."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from support import AFFINE, command, run_here

from mfpde.converge.study import fit, orders, refine
from mfpde.errors import InputError
from mfpde.output.history import History, difference, interpolate, read_history

FAST = [
    "--set", "discretization.a_nodes=4", "--set", "discretization.r_nodes=1", "--set", "input.dimension=100",
    "--set", "target.polynomial=z1 + z1**2/2", "--set", "training.final_time=2.0", "--set", "output.times=5",
]  # fmt: skip


def history(times: np.ndarray, name: str = "a.h5", modes: int = 2) -> History:
    """A smooth curve at the given times."""
    loss = np.exp(-times) + 0.1 * np.sin(3 * times)
    coefficients = np.stack([np.cos(times + k) for k in range(modes)], axis=1)
    labels = tuple(((k,), 0) for k in range(modes))
    return History(Path(name), "", True, times, loss, coefficients, labels, np.zeros(modes), None, loss[None], 0.0)


def test_curves_with_the_same_records_are_not_interpolated() -> None:
    coarse, dense = history(np.linspace(0, 4, 5)), history(np.linspace(0, 4, 41))
    found = difference(coarse, dense)
    assert found.max_loss == 0 and found.interpolation == 0 and len(found.times) == 5


def test_interpolation_is_of_fourth_order_and_knows_its_error() -> None:
    """The estimate is an error at midpoints, where x^2 (1 - x)^2 is largest: 1.58 times its root mean square, at the limit."""
    errors, at = [], np.linspace(0.0, 4.0, 4001)
    for n in (40, 80, 640):
        times = np.linspace(0, 4, n)
        values, estimate = interpolate(times, history(times).loss, at)
        errors.append(float(np.sqrt(((values - history(at).loss) ** 2).mean())))
        assert estimate > 1.5 * errors[-1]
    assert np.log2(errors[0] / errors[1]) > 3.5
    assert abs(estimate / errors[-1] - np.sqrt(630) / 16) < 0.1
    found = difference(history(np.linspace(0, 3.9, 23)), history(np.linspace(0, 4, 40)))
    assert 0 < found.max_loss < 4 * found.interpolation  # the largest of all records, beside a mean


def test_noisy_records_are_joined_by_straight_lines() -> None:
    """A spline through noise overshoots: it does not meet left-out records better than lines do."""
    times = np.linspace(0, 1, 101)
    noise = np.random.default_rng(0).standard_normal(101)
    at = np.linspace(0.003, 0.99, 77)
    values, error = interpolate(times, noise, at)
    assert np.abs(values - np.interp(at, times, noise)).max() < 1e-12 and error > 0.1


def test_modes_are_matched_by_their_index() -> None:
    few, many = history(np.linspace(0, 4, 9)), history(np.linspace(0, 4, 9), modes=5)
    assert difference(few, many).max_coefficients == 0
    with pytest.raises(InputError, match="no time in common"):
        difference(few, history(np.linspace(5, 6, 9)))


def test_orders_and_fits_recover_the_laws_they_are_named_after() -> None:
    n = np.array([4.0, 8.0, 16.0, 32.0])
    assert np.allclose(orders(n, 3 * n**-2.5, False)[1:], 2.5) and np.isnan(orders(n, n, False)[0])
    assert np.allclose(orders(1 / n, n**-1.5, True)[1:], 1.5)
    power, spectral = fit(n, 3 * n**-2.5, False), fit(n, 7 * np.exp(-0.3 * n), False)
    assert not power.spectral and abs(power.order - 2.5) < 1e-12 and str(power) == "order 2.50"
    assert spectral.spectral and abs(spectral.rate - 0.3) < 1e-12 and np.allclose(spectral(n, False), 7 * np.exp(-0.3 * n))
    assert np.isnan(fit(n[:1], n[:1], False).order)
    assert refine(["inf", "10", "1e3", "10"], False) == ["10", "1e3", "inf"] and refine(["1e-2", "1e-4"], True) == [
        "1e-2",
        "1e-4",
    ]


def test_a_study_measures_an_order_and_is_resumed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    linear = ["--set", AFFINE, "--set", "discretization.degree=1", "--output", "study.h5"]
    words = [*FAST, *linear, "--vary", "cells", "--reference", "characteristics"]
    assert run_here(tmp_path, "converge", *words, "--values", "16", "8") == 0
    kept = (tmp_path / "study" / "cells_8.h5").stat().st_mtime_ns
    again = command("converge", *words, "--values", "8", "16", "32", ranks=2, cwd=tmp_path)
    assert again.returncode == 0 and again.stderr.count("kept") == 3, again.stderr
    assert (tmp_path / "study" / "cells_8.h5").stat().st_mtime_ns == kept
    with h5py.File(tmp_path / "study.h5") as file:
        assert file["value"][:].tolist() == [8, 16, 32] and file.attrs["complete"]
        assert file["error"][-1] < file["error"][0] / 16 and file.attrs["order"] > 1.8  # h^(k+1), k = 1
    capsys.readouterr()
    assert run_here(tmp_path, "converge", *words, "--values", "8", "16", "--set", "training.xi_a=0.5") == 0
    assert "kept" not in capsys.readouterr().err
    assert (tmp_path / "study.png").stat().st_size > 0


def test_compare_prints_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, sampling in (("sobol.h5", "sobol"), ("gauss.h5", "gauss")):
        words = [*FAST, "--set", f"particles.sampling={sampling}", "--set", "particles.particles=1024", "--output", name]
        assert run_here(tmp_path, "particles", *words) == 0
    assert run_here(tmp_path, "compare", "sobol.h5", "gauss.h5") == 0
    assert "max |dE|" in capsys.readouterr().out and (tmp_path / "compare.png").stat().st_size > 0
    found = difference(*(read_history(tmp_path / name) for name in ("sobol.h5", "gauss.h5")))
    assert found.max_loss < 2e-3  # four labels of a, one of r
    for files, words in ((["sobol.h5", "missing.h5"], "no file"), (["sobol.h5"], "two or more")):
        assert run_here(tmp_path, "compare", *files) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and words in error


@pytest.mark.parametrize(
    "words,expected",
    [
        (["--vary", "celsl", "--values", "1", "2"], ["--vary", "'cells'"]),
        (["--vary", "cells", "--values", "4"], ["--values", "two"]),
        (["--vary", "cells", "--values", "4", "many"], ["--values", "'many'"]),
        (["--vary", "cells", "--values", "4", "0"], ["--values", "positive"]),
        (["--vary", "degree", "--values", "4", "19"], ["discretization.degree"]),
        (["--vary", "a_nodes", "--values", "4", "8", "--reference", "characteristics"], ["--reference", "finest"]),
    ],
)
def test_a_study_refuses_bad_input_in_one_line(
    words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_here(tmp_path, "converge", *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in expected), error
    assert list(tmp_path.iterdir()) == []


def test_bad_input_of_a_study_ends_all_ranks(tmp_path: Path) -> None:
    done = command("converge", "--vary", "celsl", "--values", "1", "2", ranks=2, cwd=tmp_path, afresh=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
