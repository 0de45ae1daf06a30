"""The result file and the command lines, as a user meets them."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from support import AFFINE, HANGS, command, run_here

from mfpde.errors import InputError
from mfpde.output.hdf5 import ResultFile

SMALL = [
    "--set", "discretization.a_nodes=4", "--set", "discretization.r_nodes=1", "--set", "discretization.cells=6", "--set", AFFINE,
    "--set", "training.final_time=1.0",
]  # fmt: skip


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of that."""
    folder = tmp_path_factory.mktemp("solved")
    assert run_here(folder, "solve", *SMALL, "--output", "out.h5", "--quiet") == 0
    return folder / "out.h5"


@pytest.mark.parametrize("ranks", [1, 2])
def test_solve_writes_the_contract(ranks: int, tmp_path: Path) -> None:
    done = command("solve", *SMALL, "--output", "out.h5", ranks=ranks, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "loss" in done.stdout and "mass error" in done.stdout
    with h5py.File(tmp_path / "out.h5") as file:
        n, modes = len(file["history/time"]), len(file["modes/radial"])
        assert n == 81 and file["history/coefficients"].shape == (n, modes) and file["modes/alpha"].shape == (modes, 2)
        loss = 0.5 * ((file["history/coefficients"][:] - file["target/coefficients"][:]) ** 2).sum(axis=1)
        assert np.abs(loss - file["history/loss"][:]).max() < 1e-14
        snapshot, weight = file["slices/snapshots/0001"], file["slices/y_weight"][:]
        assert snapshot["q"].shape == (4, 36, 16) and snapshot["q"][:].min() >= 0
        assert np.abs((snapshot["q"][:] * weight).sum(axis=(1, 2)) - 1).max() < 1e-12
        assert file.attrs["complete"] and file.attrs["dimension"] == 10000 and "[target]" in file.attrs["config"]
    assert (tmp_path / "out_loss.png").stat().st_size > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "out_loss.png"]


def test_inspect_reports_and_draws(solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(solved, tmp_path)
    assert run_here(tmp_path, "inspect", "out.h5", "--plot") == 0 and "/slices/snapshots/0001/q" in capsys.readouterr().out
    assert all((tmp_path / f"out_{name}.png").stat().st_size > 0 for name in ("loss", "coefficients", "density"))
    (tmp_path / "text.h5").write_text("no")
    for name in ("text.h5", "missing.h5"):
        assert run_here(tmp_path, "inspect", name) == 2 and capsys.readouterr().err.count("\n") == 1


BAD = [
    (["missing.toml"], "missing.toml"),
    (["--set", "network.activatoin=relu"], "'activation'"),
    (["--output", "nowhere/out.h5"], "output.file"),
    (["--set", "parallel.mesh_ranks=7"], "parallel.mesh_ranks"),
    (["--set", AFFINE, "--set", "discretization.mesh=missing.xdmf"], "discretization.mesh"),
]


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("arguments,word", BAD)
def test_bad_input_ends_all_ranks_with_status_2_and_one_line(ranks: int, arguments: list[str], word: str, tmp_path: Path) -> None:
    """One of them says it; `command` finds that all have the same status."""
    done = command("solve", *arguments, ranks=ranks, cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1 and word in lines[0], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_run_writes_is_refused(tmp_path: Path) -> None:
    with ResultFile(MPI.COMM_SELF, tmp_path / "out.h5"), pytest.raises(InputError, match="another run"):
        ResultFile(MPI.COMM_SELF, tmp_path / "out.h5")


@pytest.mark.parametrize("limit", [200_000, 230_000])
def test_a_full_disk_is_one_line_and_leaves_the_last_result(limit: int, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the run ends, and what was published stays whole."""
    code = (
        "import mfpde; from mpi4py import MPI; import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "sys.argv = ['solve', '--output', 'out.h5', '--set', 'discretization.a_nodes=4', '--set', 'output.snapshots=20'];"
        f"sys.argv += ['--set', '{AFFINE}', '--set', 'training.final_time=1.0'];"
        "from mfpde.solve import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=HANGS, check=False)
    assert done.returncode == 2 and "output.file" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".h5"] == []


def test_a_killed_run_leaves_a_file_that_can_be_read_throughout(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mfpde.solve", "--output", "out.h5", "--set", "training.final_time=2000.0"]
    words += ["--set", "discretization.accuracy=false", "--set", "output.times=20001"]
    run = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        records, deadline = 0, time.monotonic() + HANGS
        while records < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
            if (tmp_path / "out.h5").exists():
                with h5py.File(tmp_path / "out.h5", locking=False) as file:
                    records = len(file["history/time"])
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["history/time"]) >= 2 and not file.attrs["complete"]
    again = command("solve", *SMALL, "--output", "out.h5", cwd=tmp_path)  # what the killed run left is no obstacle
    assert again.returncode == 0, again.stderr


def test_petsc_options_reach_the_time_stepper(tmp_path: Path) -> None:
    done = command("solve", *SMALL, "--output", "out.h5", "--", "-ts_rk_type", "3bs", "-ts_view", cwd=tmp_path)
    assert done.returncode == 0 and "3bs" in done.stdout


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_that_blows_up_says_when_and_where_and_keeps_its_records(ranks: int, tmp_path: Path) -> None:
    rates = ["--set", "training.xi_w=exp(30*t)", "--set", "training.xi_a=exp(30*t)", "--set", "network.activation=exp"]
    done = command("solve", *SMALL, *rates, "--output", "out.h5", ranks=ranks, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "t = " in done.stderr and "slice" in done.stderr and "lower" in done.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["history/time"]) >= 1 and np.isfinite(file["history/loss"][:]).all()
        assert not file.attrs["complete"]
