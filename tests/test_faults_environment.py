"""What lies around a run, and is not as it should be: it runs, or says in one line what is wrong."""

import copy
import fcntl
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from support import clean_environment, first_flow, run_here

import mfpde
from mfpde import compile as compiling
from mfpde import memory
from mfpde.errors import InputError, RunError
from mfpde.evolution.pace import patience
from mfpde.output.plot import figure
from mfpde.problem.config import load, read_data
from mfpde.problem.laws import parse_law

SELF = MPI.COMM_SELF
CONFIG = """
[input]
dimension = inf
[training]
final_time = 0.5
[discretization]
accuracy = false
[output]
plot = false
times = 3
"""
QUICK: dict[str, Any] = {"dimension": np.inf, "accuracy": False, "times": 3, "final_time": 0.5}


def run_python(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**clean_environment(), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "q.toml").write_text(CONFIG)
    return tmp_path


def test_a_byte_order_mark_is_read_over(folder: Path) -> None:
    (folder / "bom.toml").write_bytes(b"\xef\xbb\xbf" + CONFIG.encode())
    assert read_data(folder / "bom.toml") == read_data(folder / "q.toml")


def test_names_that_are_no_utf8(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"b\xff.toml")
    (folder / name).write_text(CONFIG)
    assert load(folder / name).output.file == "b_.h5"
    assert run_here(folder, "solve", "q.toml", "--output", os.fsdecode(b"o\xff.h5")) == 2
    line = capfd.readouterr().err
    assert line.count("\n") == 1 and "--output" in line and "UTF-8" in line


def test_tables_within_tables_without_end_are_refused(folder: Path) -> None:
    (folder / "deep.toml").write_text(f"[output{'.a' * 2000}]\n")
    with pytest.raises(InputError, match="tables within each other"):
        load(folder / "deep.toml")


@pytest.mark.parametrize("text", ["normal(0, 1e-320)", "uniform(0, 1e-200)", "normal(1e200, 1)"])
def test_laws_whose_squares_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"initial\.a.*quartiles"):
        parse_law(text)


@pytest.mark.parametrize("value,word", [("true", "wrote nothing"), ("gcc -nonsense", "CC = 'gcc -nonsense'"), (" ", "")])
def test_a_compiler_that_does_not_work_is_named(value: str, word: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", value)
    (folder / "one.c").write_text("int one(void) { return 1; }")

    def build() -> Any:
        return compiling._build(folder / "cache" / "_one.so", "_one", "int one(void) { return 1; }", "int one(void);", {})

    (folder / "cache").mkdir()
    if word:
        with pytest.raises(InputError, match="compiler") as error:
            build()
        assert word in str(error.value) and "cache" not in str(error.value)
    else:
        build()
        assert (folder / "cache" / "_one.so").is_file()


def test_without_a_home_the_cache_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        compiling._cache()


def test_a_deleted_working_directory_is_said_in_one_line(folder: Path) -> None:
    code = "import os, sys; os.mkdir('d'); os.chdir('d'); os.rmdir('../d')\n"
    code += "import mfpde.solve; sys.argv = ['solve']; sys.exit(mfpde.solve.main())"
    done = run_python(code, folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "working directory" in done.stderr


def test_a_log_on_a_full_disk_leaves_the_result(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_here(folder, "solve", "q.toml", "--log", "/dev/full") == 1
    lines = capfd.readouterr().err
    assert lines.count("\n") == 1 and "--log" in lines and "No space left" in lines
    with h5py.File(folder / "q.h5") as file:
        assert file.attrs["complete"]


@pytest.mark.parametrize("name", ["q.toml", "other.h5"])
def test_a_log_does_not_grow_into_other_files(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_here(folder, "solve", "q.toml", "--log", name) == 2
    assert "--log" in capfd.readouterr().err and (folder / "q.toml").read_text() == CONFIG


def test_what_a_program_asks_of_numpy_is_not_asked_of_a_run() -> None:
    with np.errstate(all="raise"):
        assert np.isfinite(mfpde.run(comm=SELF, **QUICK).loss).all()


def test_a_fresh_result_can_be_copied_and_pickled() -> None:
    found = mfpde.run(comm=SELF, **{**QUICK, "accuracy": 1e-2})
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again.loss, found.loss) and np.array_equal(copy.deepcopy(found).loss, found.loss)
    assert again.summary.answer.estimate.reached == found.summary.answer.estimate.reached


def test_runs_of_threads_follow_one_another() -> None:
    with ThreadPoolExecutor(2) as pool:
        losses = list(pool.map(lambda end: mfpde.run(comm=SELF, **{**QUICK, "final_time": end}).loss[-1], [0.5, 0.25, 0.5]))
    assert losses[0] == losses[2] != losses[1]


def test_a_picture_that_matplotlib_cannot_draw_is_not_blamed_on_the_file(folder: Path) -> None:
    import matplotlib as mpl

    settings = mpl.rc_context({"text.usetex": True, "text.latex.preamble": r"\nonsense{"})
    with settings, pytest.raises(RunError, match="matplotlib"), figure(folder / "p.png", 1) as (_, axes):
        axes[0].set_title("$x$")


@pytest.mark.parametrize("module", ["inspect", "compare", "density", "learnability", "examples"])
def test_every_command_says_its_version(module: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_here(folder, module, "--version")
    assert ended.value.code == 0 and capfd.readouterr().out.strip() == mfpde.__version__


def test_a_run_of_millions_of_steps_says_so_at_its_beginning() -> None:
    with pytest.raises(RunError, match="steps would be needed"):
        mfpde.run(comm=SELF, **{**QUICK, "xi_a": 1e100, "accuracy": False, "a_nodes": 2})


def test_many_steps_within_a_budget_or_a_line() -> None:
    """(1 + t)^6 takes 6000 steps: seconds with few neurons, and too long where the patience is none."""
    with pytest.raises(RunError, match="raise --budget, or take an earlier"), patience(0.0):
        flow, _, config = first_flow("training.xi_a=(1+t)**6", "discretization.a_nodes=2", "discretization.accuracy=false")
        flow.follow(config.record_times, 1e-6, lambda step, vector: None)


def test_a_program_ends_by_a_signal_without_a_banner(folder: Path) -> None:
    code = "import os, signal, mfpde.results; os.kill(os.getpid(), signal.SIGTERM)"
    done = run_python(code, folder)
    assert done.returncode == -signal.SIGTERM and not done.stderr, done.stderr


# What the system says of memory, and the bytes that are left.
V2 = {"memory.max": "5000", "memory.current": "4000", "memory.stat": "inactive_file 64"}
V1 = {"memory.limit_in_bytes": "5000", "memory.usage_in_bytes": "4000", "memory.stat": "total_inactive_file 64"}
LIMITS = [
    ({"self/cgroup": "0::/job/step"}, {f"job/{name}": text for name, text in V2.items()}, 1064),
    ({"self/cgroup": "4:cpu,memory:/job\n0::/"}, {f"cpu,memory/job/{name}": text for name, text in V1.items()}, 1064),
    ({"meminfo": "MemTotal:  9 kB\nMemAvailable:  1 kB\n", "self/cgroup": "0::/none"}, {"memory.max": "max"}, 1024),
]


@pytest.mark.parametrize("proc,groups,left", LIMITS, ids=["version 2", "version 1", "machine"])
def test_a_run_larger_than_the_memory_is_refused(
    proc: dict[str, str], groups: dict[str, str], left: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, files in ((folder / "proc", proc), (folder / "group", groups)):
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
    monkeypatch.setattr(memory, "PROC", folder / "proc")
    monkeypatch.setattr(memory, "CGROUP", folder / "group")
    assert memory.left() == left
    with pytest.raises(RunError, match="out of memory: 4 nodes"):
        mfpde.run(comm=SELF, **{**QUICK, "a_nodes": 4, "a_panels": 1})
    with pytest.raises(RunError, match="out of memory: 16 nodes"):
        mfpde.run(comm=SELF, **{**QUICK, "net_points": 16})


def test_the_top_modes_of_moments_that_vanish_have_no_share() -> None:
    found = mfpde.run(comm=SELF, **QUICK)
    assert found.columns["top_modes"][0] == 0.0 < found.columns["top_modes"][-1]


SWEEP = ("q.toml", "--vary", "input.dimension=[10, inf]", "--output", "s.h5")


def test_a_second_sweep_of_the_same_output_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "s").mkdir()
    with (folder / "s" / ".lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        assert run_here(folder, "sweep", *SWEEP) == 2
        line = capfd.readouterr().err
    assert line.count("\n") == 1 and "another sweep" in line and not list((folder / "s").glob("*.h5"))


def test_what_a_sweep_shows_is_checked_before_it_runs(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_here(folder, "sweep", *SWEEP, "--show", "final_los") == 2
    line = capfd.readouterr().err
    assert line.count("\n") == 1 and "did you mean 'final_loss'" in line and not (folder / "s").exists()


def test_the_image_for_paraview_has_the_bins_that_are_asked_for(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_here(folder, "solve", "q.toml") == 0
    assert run_here(folder, "density", "q.h5", "--paraview", "--bins", "20") == 0
    assert b'Extent="0 20 0 20 0 0"' in (folder / "q_density_0000.vti").read_bytes()


def test_a_density_on_a_full_disk_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mfpde.density import report

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    found = mfpde.run(comm=SELF, **QUICK).density(("a",), bins=10)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match="No space left on device; allowed"):
        report.write(found, folder / "d.h5")
    assert not (folder / "d.h5").exists()
