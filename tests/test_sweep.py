"""Sweeps: axes, members spread over ranks, what is kept, what fails, and the labelled file."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from support import command

from mfpde.errors import InputError
from mfpde.sweep.axes import member_name, members, parse_axes
from mfpde.sweep.plane import crossing

CONFIG = """
[parameters]
c = 0.5
[target]
polynomial = "z1 + c*z1*z2"
[input]
dimension = inf
[training]
final_time = 1.0
[discretization]
accuracy = false
a_nodes = 4
[output]
times = 5
snapshots = 0
"""


def sweep(folder: Path, *words: str, ranks: int = 1) -> str:
    """What a sweep of the configuration above says on standard error."""
    (folder / "c.toml").write_text(CONFIG)
    done = command("sweep", "c.toml", "--output", "s.h5", *words, ranks=ranks, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_sweep_is_one_labelled_file_and_keeps_what_is_finished(tmp_path: Path) -> None:
    said = sweep(tmp_path, "--vary", "parameters.c=[0, 0.5]", "--vary", "initial.w=['gaussian', 'zero']", ranks=2)
    assert said.count(" s\n") == 4 and (tmp_path / "s.png").stat().st_size > 0
    with h5py.File(tmp_path / "s.h5") as file:
        loss, final = file["loss"], file["final_loss"][:]
        assert [scale[0].name for scale in loss.dims] == ["/c", "/w", "/time"] and loss.shape == (2, 2, 5)
        assert np.array_equal(file["c"][:], [0, 0.5]) and list(file["w"].asstr()) == ["gaussian", "zero"]
        assert np.array_equal(loss[..., -1], final) and np.isfinite(final).all()
        assert json.loads(file.attrs["sweep"]) == {"parameters.c": ["0", "0.5"], "initial.w": ["gaussian", "zero"]}
        assert np.isposinf(file["time_to_level"][:]).all() and (file["message"].asstr()[:] == "").all()
    with h5py.File(tmp_path / "s" / "c=0.5,w=gaussian.h5") as file:
        assert file["history/loss"][-1] == final[1, 0] and file.attrs["ranks"] == 1
    again = sweep(tmp_path, "--vary", "parameters.c=[0, 0.5, 1]", "--vary", "initial.w=['gaussian', 'zero']")
    assert again.count("kept") == 4 and again.count(" s\n") == 2


def test_a_member_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    said = sweep(tmp_path, "--vary", 'network.activation=["tanh", "1/u"]', "--show", "time_to_level", "--level", "0.9")
    assert "1 of 2 members failed" in said
    with h5py.File(tmp_path / "s.h5") as file:
        message = file["message"].asstr()[:]
        assert message[0] == "" and "network.activation" in message[1]
        assert np.isfinite(file["final_loss"][0]) and np.isnan(file["final_loss"][1])
    (tmp_path / "c.toml").write_text(CONFIG)
    bad = command("sweep", "c.toml", "--vary", "network.activation=['1/u']", "--output", "t.h5", cwd=tmp_path)
    assert bad.returncode == 1 and "all 1 members failed" in bad.stderr and not (tmp_path / "t.h5").exists()


@pytest.mark.parametrize(
    "words,word",
    [
        (["--vary", "input.dimension=10"], "--vary"),
        (["--vary", "input.dimension=[10, 10]"], "--vary"),
        (["--vary", "input.dimension=[0.5]"], "input.dimension"),
        (["--vary", "output.times=[3]"], "--vary"),
        (["--vary", "input.dimension=[10]", "--level", "2"], "--level"),
        (["--vary", "input.dimensoin=[10]"], "did you mean 'dimension'"),
        (["--vary", "input.dimension=[10]", "--output", "s"], "--output"),
    ],
)
def test_what_is_wrong_ends_the_sweep_before_anything_runs(words: list[str], word: str, tmp_path: Path) -> None:
    bad = command("sweep", *words, cwd=tmp_path)
    assert bad.returncode == 2 and bad.stderr.count("\n") == 1 and word in bad.stderr, bad.stderr
    assert list(tmp_path.iterdir()) == []


def test_members_have_names_of_their_own_that_a_larger_sweep_keeps() -> None:
    axes = parse_axes(
        ["input.dimension=[10, 1e2, inf]", "parameters.c=[0.1, 0.10000000001]", "network.activation=['tanh', 'u/2']"]
    )
    names = [member_name(axes, index) for index in members(axes)]
    assert len(set(names)) == 12 and not any("/" in name for name in names)
    larger = parse_axes(["input.dimension=[5, 10]", "parameters.c=[0.1, 3]", "network.activation=['tanh', 'u/2']"])
    assert member_name(larger, (1, 0, 0)) == member_name(axes, (0, 0, 0)) == "dimension=10,c=0.1,activation=tanh"
    assert [axis.name for axis in parse_axes(["training.xi_a=[1, 2]", "particles.step=[1]"])] == ["xi_a", "step"]
    with pytest.raises(InputError, match="twice"):
        parse_axes(["input.dimension=[1]", "input.dimension=[2]"])


def test_the_time_to_a_level_is_between_records() -> None:
    times, loss = np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.8, 0.4])
    assert crossing(times, loss, 0.6) == 1.5 and crossing(times, loss, 0.1) == np.inf and crossing(times, loss, 1.0) == 0.0
