"""Sweeps: axes, members spread over ranks, what is kept, what fails, and the labelled file."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from support import command, run_here

from mfpde.errors import InputError
from mfpde.sweep.axes import member_name, members, parse_axes

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


@pytest.fixture
def sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a sweep of the configuration above in this process; its exit status and what it says on standard error."""

    def run(*words: str) -> tuple[int, str]:
        (tmp_path / "c.toml").write_text(CONFIG)
        status = run_here(tmp_path, "sweep", "c.toml", *words)
        return status, capsys.readouterr().err

    return run


def test_a_sweep_is_one_labelled_file_and_keeps_what_is_finished(tmp_path: Path, sweep: Callable[..., tuple[int, str]]) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    words = ["--vary", "initial.w=['gaussian', 'zero']", "--output", "s.h5"]
    done = command("sweep", "c.toml", "--vary", "parameters.c=[0, 0.5]", *words, ranks=2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stderr
    assert said.count(" s\n") == 4 and (tmp_path / "s.png").stat().st_size > 0
    seconds = sorted(line.rpartition(": ")[2] for line in said.splitlines() if line.endswith(" s"))
    with h5py.File(tmp_path / "s.h5") as file:
        loss, final = file["loss"], file["final_loss"][:]
        assert sorted(f"{second:.1f} s" for second in file["wall_time"][:].ravel()) == seconds
        assert [scale[0].name for scale in loss.dims] == ["/c", "/w", "/time"] and loss.shape == (2, 2, 5)
        assert np.array_equal(file["c"][:], [0, 0.5]) and list(file["w"].asstr()) == ["gaussian", "zero"]
        assert np.array_equal(loss[..., -1], final) and np.isfinite(final).all()
        assert json.loads(file.attrs["sweep"]) == {"parameters.c": ["0", "0.5"], "initial.w": ["gaussian", "zero"]}
        assert np.isposinf(file["time_to_level"][:]).all() and (file["message"].asstr()[:] == "").all()
    with h5py.File(tmp_path / "s" / "c=0.5,w=gaussian.h5") as file:
        assert file["history/loss"][-1] == final[1, 0] and file.attrs["ranks"] == 1
    status, again = sweep("--vary", "parameters.c=[0, 0.5, 1]", *words)
    assert status == 0 and again.count("kept") == 4 and again.count(" s\n") == 2


def test_a_member_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path, sweep: Callable[..., tuple[int, str]]) -> None:
    words = ["--show", "time_to_level", "--level", "0.9", "--output", "s.h5"]
    status, said = sweep("--vary", 'network.activation=["tanh", "1/u"]', *words)
    assert status == 1 and "1 of 2 members failed" in said
    with h5py.File(tmp_path / "s.h5") as file:
        message = file["message"].asstr()[:]
        assert message[0] == "" and "network.activation" in message[1]
        assert np.isfinite(file["final_loss"][0]) and np.isnan(file["final_loss"][1])
    status, said = sweep("--vary", "network.activation=['1/u']", "--output", "t.h5")
    assert status == 1 and "all 1 members failed" in said and not (tmp_path / "t.h5").exists()


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
def test_what_is_wrong_ends_the_sweep_before_anything_runs(
    words: list[str], word: str, tmp_path: Path, sweep: Callable[..., tuple[int, str]]
) -> None:
    status, said = sweep(*words)
    assert status == 2 and said.count("\n") == 1 and word in said, said
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


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
