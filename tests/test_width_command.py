"""The command, the group /width of a run, the picture, sweeps, what is refused, and the answer's own arithmetic."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from support import SELF, command, read

import mfpde
from mfpde.errors import InputError
from mfpde.output.plot import draw_loss, figure
from mfpde.width.answer import Width
from mfpde.width.calculate import width_of
from mfpde.width.study import Study

SHORT = [
    "--set",
    "output.times=5",
    "--set",
    "input.dimension=inf",
    "--set",
    "target.polynomial=z1",
    "--set",
    "training.final_time=1",
]
SMALL = {"dimension": "inf", "polynomial": "z1", "final_time": 1.0}


@pytest.fixture(scope="module")
def found() -> Width:
    return mfpde.width(comm=SELF, accuracy=0.02, **SMALL)


def test_the_command_writes_a_result_with_its_band_and_says_which_networks_are_wide(found: Width, tmp_path: Path) -> None:
    done = command("width", *SHORT, "--accuracy", "0.02", "--neurons", "1", "--plot", "--output", "w.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("says little there") == 1
    assert f"N >= {found.neurons_for_mean()} for 1% of the mean, N >= {found.neurons_for_one()} for one network" in done.stdout
    assert (tmp_path / "w_loss.png").stat().st_size > 10_000
    result = mfpde.open(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        group = file["width"]
        assert np.array_equal(group["time"][:], result.time) and np.array_equal(group["loss"][:], result.loss)
        assert np.abs(group["correction"][:] - found.correction).max() < 1e-12
        assert group["sectors"].shape == found.sectors.shape and (group["error"][1:] > 0).all()
        canvas = figure(tmp_path / "unused.png", 1)
        draw_loss(file, canvas.axes[0])
        low, high = (found.mean(1) + sign * 2 * found.spread(1) for sign in (-1, 1))
        band = canvas.axes[0].collections[-1].get_paths()[0].vertices
        assert abs(band[:, 1].min() - low.min()) < 1e-9 and abs(band[:, 1].max() - high.max()) < 1e-9
    assert command("inspect", "w.h5", cwd=tmp_path).returncode == 0


def test_few_neurons_are_warned_of(found: Width) -> None:
    assert found.caution(10**6) == "" and f"N >= {found.least()}" in found.caution(1)
    size = max(np.abs(found.correction / found.loss).max() / found.least(), (found.spread(found.least()) / found.loss).max())
    assert size <= 0.3


def test_what_is_lost_to_an_instability_is_not_spoken_of(found: Width) -> None:
    """From where the error of c is more than half of the largest c so far on."""
    late = found.time > 0.6
    lost = replace(found, correction=np.where(late, 1e9, found.correction), correction_error=np.where(late, 1e9, 0.0))
    assert found.known == len(found.time) and lost.known == int(np.argmax(late))
    assert lost.neurons_for_mean() <= found.neurons_for_mean() and f"at t = {found.time[~late][-1]:g} " in lost.line(0.1)


def test_a_run_has_its_line_and_group_when_asked(found: Width, tmp_path: Path) -> None:
    short = [*SHORT, "--set", "output.plot=false", "--set", "discretization.accuracy=0.01"]
    done = command("solve", *short, "--set", "output.width=true", "--output", "r.h5", cwd=tmp_path)
    assert done.returncode == 0 and "\nwidth " in done.stdout and "/N +- " in done.stdout, done.stderr
    with h5py.File(tmp_path / "r.h5") as file:
        assert abs(file["width/correction"][-1] - found.correction[-1]) < 0.03 * found.correction[-1]


def test_a_sweep_records_c_and_s(tmp_path: Path) -> None:
    words = [*SHORT, "--set", "output.width=true", "--set", "discretization.accuracy=0.05", "--set", "output.plot=false"]
    words += ["--set", "training.final_time=0.25"]
    vary = ["--vary", "input.dimension=['inf']", "--show", "final_correction", "--output", "s.h5"]
    assert command("sweep", *words, *vary, cwd=tmp_path).returncode == 0
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["final_correction"][0] > 0.01 and file["neurons_for_one"][0] > 1


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["training.strategy=chen-ge"], "training: stage 2"),
        (["target.polynomial=z1*z2*z3*z4", "input.dimension=inf"], "target: p = 4"),
        (["training.final_time=1e6"], "training.final_time: c and s take 1000000 steps"),
    ],
)
def test_what_is_not_derived_is_refused_in_one_line(overrides: list[str], key: str) -> None:
    _, problem = read(*overrides)
    with pytest.raises(InputError, match="allowed") as refused:
        width_of(SELF, problem)
    assert str(refused.value).startswith(key) and "\n" not in str(refused.value)


@pytest.mark.parametrize("words", [["--neurons", "0"], ["--accuracy", "3"], ["--output", "no/w.h5"]], ids=str)
def test_bad_numbers_end_with_one_line(words: list[str], tmp_path: Path) -> None:
    done = command("width", *SHORT, *words, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("mfpde: ") and done.stderr.count("\n") == 1
    assert "allowed" in done.stderr and not any(tmp_path.iterdir())


def test_kinked_activations_are_formal(tmp_path: Path) -> None:
    _, problem = read("input.dimension=inf", "target.polynomial=z1", "training.final_time=0.5", "network.activation=relu")
    assert "formal" in width_of(SELF, problem, 0.5).warnings[0]


def test_curves_go_through_their_points_and_jump_where_stages_do() -> None:
    stages = "training.stages=[{duration=1.0, xi_w=1.0, xi_a=1.0}, {duration=0.5, xi_a=1.0, reset_a=true}]"
    _, problem = read("input.dimension=inf", "target.polynomial=z1", stages)
    width = width_of(SELF, problem, 0.5)
    loss, correction, _ = width.at(width.time)
    jump = int(np.flatnonzero(np.diff(width.time) == 0)[0])
    kept = np.arange(len(width.time)) != jump + 1  # at a jump: from the left
    assert np.abs(loss - width.loss)[kept].max() < 1e-12 and np.abs(correction - width.correction)[kept].max() < 1e-12
    assert width.loss[jump + 1] == pytest.approx(0.5) and abs(loss[jump + 1] - width.loss[jump]) < 1e-12
    assert abs(width.correction[jump + 1]) < 1e-9  # all networks are 0 there


def test_errors_hold_against_finer_rules() -> None:
    """c and s with their errors on a problem that nothing was tuned on, against an answer of a fifth of the error."""
    other = ["target.polynomial=z1 + z1**3/10", "network.activation=sin(u)+cos(u)/2"]
    _, problem = read("input.dimension=40", "training.final_time=1.5", *other)
    coarse, fine = (Study(SELF, problem, accuracy).find() for accuracy in (0.1, 0.02))
    for name, row in (("loss", 0), ("correction", 1), ("deviation", 2)):
        difference = np.abs(getattr(coarse.curves, name) - getattr(fine.curves, name))
        assert (difference <= coarse.error[row] + fine.error[row] + 1e-12).all(), name
    assert fine.reached < coarse.reached < 0.3


def test_repeats_of_a_network_say_what_was_predicted_and_agree(found: Width, tmp_path: Path) -> None:
    """24 networks of 16 neurons: mean and deviation within 3 standard errors, and what K = 6 changes of the mean."""
    words = ["method=network", "particles=16", "repeats=24"]
    options = [word for key in words for word in ("--set", f"particles.{key}")]
    done = command("particles", *SHORT, *options, "--set", "output.plot=false", "--output", "n.h5", cwd=tmp_path)
    assert done.returncode == 0 and "\npredicted  E + c/N = " in done.stdout, done.stderr
    with h5py.File(tmp_path / "n.h5") as file:
        mean, deviation, t = (file[f"history/{name}"][:] for name in ("loss", "loss_std", "time"))
    loss, correction, spread = found.at(t)
    assert (np.abs(mean - loss - correction / 16) < 3 * deviation / np.sqrt(24) + 2e-3).all()
    late = t > 0.5  # s = 0 at t = 0, where a deviation of order 1/N is left
    assert (np.abs(deviation - spread / 4)[late] < 3 * deviation[late] / np.sqrt(48)).all()
