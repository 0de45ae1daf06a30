"""Signals in every phase end a command within seconds, with one line and their own status."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from support import clean_environment

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
MPIRUN = str(Path(sys.executable).with_name("mpirun"))
# A command that receives a signal where it says so.
LOADING = """
import os, signal, sys
sys.argv = ["-m"]
sys.orig_argv = ["python", "-m", "mfpde.solve"]
number, ours = {number}, {ours} in (None, os.environ.get("PMI_RANK"))
import mfpde
if ours and "{phase}" == "imports":
    os.kill(os.getpid(), number)
import mfpde.solve
sys.argv = ["solve", "--set", "input.dimension=100", "--output", "out.h5"]
import mfpde.command
if ours and "{phase}" == "mpi":
    import mpi4py.MPI
    os.kill(os.getpid(), number)
sys.exit(mfpde.solve.main())
"""


def ended(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("phase", ["imports", "mpi"])
def test_a_command_that_is_still_loading_ends_with_one_line(number: signal.Signals, phase: str, tmp_path: Path) -> None:
    done = ended([sys.executable, "-c", LOADING.format(number=int(number), ours=None, phase=phase)], tmp_path)
    assert done.returncode == STATUS[number] and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_one_rank_that_receives_a_signal_while_loading_ends_both(number: signal.Signals, tmp_path: Path) -> None:
    code = LOADING.format(number=int(number), ours="'1'", phase="imports")
    done = ended([MPIRUN, "-n", "2", sys.executable, "-c", code], tmp_path)
    assert done.returncode == STATUS[number] and done.stderr.count("mfpde: ") == 1, done.stderr


# Rank 0 takes two seconds to open the file, in which rank 1 alone receives a signal, or just before.
OPENING = """
import os, signal, sys, threading, time
from argparse import ArgumentParser
from pathlib import Path
from mfpde.command import run_command

def body(comm, arguments):
    from mfpde.interrupts import stop_together
    from mfpde.output.hdf5 import ResultFile
    create = ResultFile._create
    ResultFile._create = lambda file: (create(file), time.sleep(2))
    if comm.rank == 1:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    time.sleep({pause})
    with ResultFile(comm, Path("out.h5")):
        stop_together(comm)

sys.exit(run_command(ArgumentParser(), body))
"""


@pytest.mark.parametrize("pause", [0.0, 0.6])
def test_a_signal_while_the_file_is_opened_leaves_nothing(pause: float, tmp_path: Path) -> None:
    done = ended([MPIRUN, "-n", "2", sys.executable, "-c", OPENING.format(pause=pause)], tmp_path)
    assert done.returncode == 143 and done.stderr.count("\n") == 1 and not list(tmp_path.iterdir()), done.stderr


SLOW = ["accuracy=false", "a_nodes=8", "tolerance=1e-10"]


def test_a_hang_up_leaves_a_checkpoint(tmp_path: Path) -> None:
    words = [word for key in SLOW for word in ("--set", f"discretization.{key}")]
    words += ["--set", "training.final_time=1000", "--set", "output.plot=false", "--output", "out.h5"]
    run = subprocess.Popen(
        [sys.executable, "-m", "mfpde.solve", *words], cwd=tmp_path, env=clean_environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "out.h5").exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(signal.SIGHUP)
        said = run.communicate(timeout=15)[1]
    finally:
        run.kill()
    assert run.returncode == 129 and said.count("\n") == 1 and "hung up at t = " in said, said
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["checkpoint"].attrs["whole"]
    assert not list(tmp_path.glob(".out.h5.*"))


def test_control_c_in_a_program_leaves_the_file_and_raises_keyboard_interrupt(tmp_path: Path) -> None:
    code = """
import os, signal, mfpde
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
def told(when, loss, steps):
    if steps == 8:
        os.kill(os.getpid(), signal.SIGINT)
try:
    mfpde.run(save="out.h5", progress=told, accuracy=False, a_nodes=4, tolerance=1e-10, dimension=10)
except KeyboardInterrupt as error:
    print(error)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, mfpde.open("out.h5").time[-1] < 8)
"""
    done = ended([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.startswith("interrupted at t = ") and done.stdout.endswith("True True\n"), done.stdout


@pytest.mark.parametrize("launcher", [[], [MPIRUN, "-n", "2"]], ids=["serial", "mpirun"])
def test_a_reader_that_leaves_does_not_take_the_result(launcher: list[str], tmp_path: Path) -> None:
    words = [*launcher, sys.executable, "-m", "mfpde.solve", "--set", "discretization.accuracy=false"]
    words += ["--set", "discretization.a_nodes=4"]
    words += ["--set", "training.final_time=1", "--set", "output.plot=false", "--output", "out.h5"]
    read, write = os.pipe()
    run = subprocess.Popen(words, cwd=tmp_path, env=clean_environment(), stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    with os.fdopen(read) as lines:
        lines.readline()
    assert run.communicate(timeout=60)[1] == b""
    with h5py.File(tmp_path / "out.h5") as file:
        assert file.attrs["complete"]
