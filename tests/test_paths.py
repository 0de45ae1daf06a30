"""Outputs that would replace something, and files that are no results: one line, exit status 2, and nothing is changed."""

import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from mpi4py import MPI
from support import HANGS, command, run_here

from mfpde.errors import InputError
from mfpde.output.hdf5 import ResultFile
from mfpde.output.history import open_result
from mfpde.paths import check_output

TINY = '[target]\npolynomial = "z1"\n[input]\ndimension = inf\n[training]\nfinal_time = 0.5\n[discretization]\n'
TINY += "accuracy = false\na_nodes = 8\n[output]\ntimes = 5\nplot = false\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with results: run.h5 of q.toml, and other.h5 of another target."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "q.toml").write_text(TINY)
    assert run_here(folder, "solve", "q.toml", "--output", "run.h5") == 0
    assert run_here(folder, "solve", "q.toml", "--set", "target.polynomial=z1*z2", "--output", "other.h5") == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a configuration and several things that are no results."""
    (tmp_path / "q.toml").write_text(TINY)
    (tmp_path / "read_only.h5").touch()
    (tmp_path / "read_only.h5").chmod(0o444)
    (tmp_path / "directory.h5").mkdir()
    os.mkfifo(tmp_path / "pipe.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1.0
    (tmp_path / "loop.h5").symlink_to("loop.h5")
    (tmp_path / "dangling.h5").symlink_to("nowhere/out.h5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {path.name: (*path.lstat()[:2], path.lstat().st_mtime_ns) for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name",
    ["q.toml", "read_only.h5", "directory.h5", "pipe.h5", "foreign.h5", "loop.h5", "dangling.h5", "/dev/null", ".", "q.toml/x.h5",
     "missing/x.h5", "n" * 300 + ".h5", "a\0b.h5"],
)  # fmt: skip
def test_what_is_no_result_is_not_replaced(name: str, folder: Path) -> None:
    before, device = state(folder), os.stat("/dev/null")
    with pytest.raises(InputError, match="output"):
        check_output(Path(name), "output.file")
    with pytest.raises(InputError, match="output"):
        ResultFile(MPI.COMM_SELF, Path(name))
    assert state(folder) == before and stat.S_ISCHR(device.st_mode)


def test_the_configuration_is_not_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("solve", "particles", "kernel"):
        assert run_here(folder, module, "q.toml", "--output", "q.toml") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "output.file" in error and (folder / "q.toml").read_text() == TINY


def test_a_link_is_followed(folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "link.h5").symlink_to("there/out.h5")
    for _ in range(2):
        with ResultFile(MPI.COMM_SELF, folder / "link.h5") as file:
            file.record({"/history/time": 0.0})
    assert (folder / "link.h5").is_symlink() and [path.name for path in (folder / "there").iterdir()] == ["out.h5"]


@pytest.mark.parametrize(
    "words",
    [["--output", "z.png"], ["--output", "study"], ["--output", "."], ["--output", ""], ["--output", "missing/x.h5"],
     ["--output", "q.toml"], ["--output", "run.h5"], ["--reference", "q.toml"], ["--reference", "foreign.h5"],
     ["--reference", "other.h5"]],
)  # fmt: skip
def test_a_study_checks_its_files_before_its_members_run(
    words: list[str], folder: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("run.h5", "other.h5"):
        shutil.copy(results / name, folder)
    before = state(folder)
    assert run_here(folder, "converge", "q.toml", "--vary", "a_nodes", "--values", "2", "4", *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and (words[0] in error or words[1] in error), error
    assert state(folder) == before


def test_a_run_does_not_replace_a_study(folder: Path) -> None:
    with ResultFile(MPI.COMM_SELF, folder / "study.h5", kind="study") as file:
        file.attributes({"vary": "cells"})
    with pytest.raises(InputError, match="something else"):
        check_output(folder / "study.h5", "output.file")
    check_output(folder / "study.h5", "--output", kind="study")


def test_damaged_and_foreign_files_end_inspect_and_compare_with_one_line(
    folder: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(results / "run.h5", folder)
    data, rng = (folder / "run.h5").read_bytes(), random.Random(0)
    (folder / "half.h5").write_bytes(data[: len(data) // 2])
    (folder / "garbage.h5").write_bytes(data[:96] + rng.randbytes(len(data)))
    (folder / "stub.h5").write_bytes(data[:40])
    for name, break_it in {
        "fewer.h5": lambda file: file["history/loss"].resize(2, axis=0),
        "missing.h5": lambda file: file.__delitem__("modes"),
        "none.h5": lambda file: [file[f"history/{key}"].resize(0, axis=0) for key in ("time", "loss", "mass", "coefficients")],
        "text.h5": lambda file: file.attrs.update(dimension="many"),
        "nameless.h5": lambda file: file.attrs.__delitem__("polynomial"),
    }.items():
        (folder / name).write_bytes(data)
        with h5py.File(folder / name, "a") as file:
            break_it(file)
    broken = ("half", "garbage", "stub", "fewer", "missing", "none", "text", "nameless")
    for name in (*broken, "foreign", "directory", "pipe", "gone"):
        assert run_here(folder, "inspect", f"{name}.h5") == 2, name
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and name in error, error
    for name in ("half", "garbage", "fewer", "missing", "none", "foreign"):
        assert run_here(folder, "compare", f"{name}.h5", "run.h5") == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_dollars_in_names_are_no_formulas(folder: Path, results: Path) -> None:
    for name in ("$x_$.h5", r"\frac$.h5"):
        shutil.copy(results / "run.h5", folder / name)
    assert run_here(folder, "compare", "$x_$.h5", r"\frac$.h5") == 0
    assert run_here(folder, "inspect", "$x_$.h5", "--plot") == 0


def test_a_picture_that_cannot_be_drawn_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run_loss.png").mkdir()
    assert run_here(folder, "solve", "q.toml", "--output", "run.h5", "--set", "output.plot=true") == 2
    error = capsys.readouterr().err
    assert "run_loss.png" in error and "Traceback" not in error
    with open_result(folder / "run.h5") as file:
        assert file.attrs["complete"]


def test_a_picture_that_cannot_be_drawn_ends_all_ranks(folder: Path) -> None:
    (folder / "run_loss.png").mkdir()
    done = command("solve", "q.toml", "--output", "run.h5", "--set", "output.plot=true", ranks=2, cwd=folder)
    assert done.returncode == 2 and "run_loss.png" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("module,words", [("solve", ["q.toml", "--output", "new.h5"]), ("inspect", ["run.h5"])])
@pytest.mark.parametrize("redirect", ["| head -0", "<&- >&- 2>&-"])
def test_closed_pipes_are_no_error(module: str, words: list[str], redirect: str, folder: Path, results: Path) -> None:
    shutil.copy(results / "run.h5", folder)
    line = f"set -o pipefail; {sys.executable} -m mfpde.{module} {' '.join(words)} {redirect}"
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=HANGS, check=False)
    assert done.returncode == 0 and "Error" not in done.stderr and "ERROR" not in done.stderr, done.stderr
    if module == "solve":
        with open_result(folder / "new.h5") as file:
            assert file.attrs["complete"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_unknown_petsc_options_are_refused_or_warned_about(ranks: int, folder: Path) -> None:
    refused = [("-ts_rk_type", "foo", "5dp"), ("-ts_type", "mimex", "rk")]
    for option, value, word in refused if ranks == 1 else refused[:1]:
        done = command("solve", "q.toml", "--", option, value, ranks=ranks, cwd=folder)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and option in done.stderr and word in done.stderr
    done = command("solve", "q.toml", "--", "-ts_rk_tpye", "3bs", ranks=ranks, cwd=folder)
    assert done.returncode == 0 and "-ts_rk_tpye was not used" in done.stderr and "Option left" not in done.stdout + done.stderr
