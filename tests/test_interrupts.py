"""What ends a run before its time: signals, kills, full disks, errors on one rank."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from support import HANGS, clean_environment

# A small run: PETSc integrates u' = 1, a record follows every step of the given number of seconds, and is then announced with
# the moment before it and the seconds that it took.  A machine may be busy: launchers get seconds to pass a line on, and where
# the ranks are to agree, they have all the time that they need.
RUN = """
import argparse, os, sys, time
import numpy as np
from mfpde import interrupts
interrupts.FORWARDED = float(os.environ.get("FORWARDED", 2.0))
interrupts.GRACE = float(os.environ.get("GRACE", interrupts.GRACE))
from mfpde.command import run_command

def body(comm, arguments):
    from pathlib import Path
    from petsc4py import PETSc
    from mfpde.interrupts import real_reason, stop_together
    from mfpde.output.hdf5 import ResultFile
    seconds, bulk, fault = float(arguments.seconds), int(arguments.bulk), arguments.fault
    with ResultFile(comm, Path("out.h5")) as file:
        if bulk:
            file.dataset("/bulk", np.ones(bulk))
        ts, vector = PETSc.TS().create(comm=comm), PETSc.Vec().createMPI((1, PETSc.DETERMINE), comm=comm)
        steps = 0
        def rates(ts, time, vector, out):
            if fault == "rates" and steps == 5 and comm.rank == comm.size - 1:
                raise MemoryError("one rank has no room")
            out.set(1.0)
        def after(ts):
            nonlocal steps
            time.sleep(seconds)
            if fault == "stuck" and steps == 5:
                if comm.rank == 0:
                    print("stuck", flush=True)
                comm.Barrier() if comm.rank == 0 and comm.size > 1 else time.sleep(3600)
            before = time.monotonic()
            file.record({"/history/time": ts.getTime(), "/history/loss": 0.0, "/history/coefficients": np.ones(100)})
            steps += 1
            if comm.rank == 0:
                print(before, time.monotonic() - before, flush=True)
            stop_together(comm, ts.getTime())
        ts.setType("rk"); ts.setRHSFunction(rates, vector.duplicate()); ts.setPostStep(after)
        ts.setTimeStep(1e-3); ts.setMaxTime(1e3); ts.setMaxSteps(10**6)
        PETSc.Options().setValue("ts_adapt_type", "none"); ts.setFromOptions()
        with real_reason():
            ts.solve(vector)

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", default="0.01"); parser.add_argument("--bulk", default="0"); parser.add_argument("--fault")
if os.environ.get("LIMIT"):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LIMIT"]),) * 2)
sys.exit(run_command(parser, body))
"""


@contextmanager
def running(folder: Path, *words: str, ranks: int = 1, **more: str) -> Iterator[subprocess.Popen[str]]:
    """The small run, once it has announced its first records."""
    launcher = [str(Path(sys.executable).with_name("mpirun")), "-n", str(ranks)] if ranks > 1 else []
    run = subprocess.Popen(
        [*launcher, sys.executable, "-c", RUN, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean_environment(), **more},
    )
    try:
        yield run
    finally:
        run.kill()
        run.communicate()


def announced(run: subprocess.Popen[str], count: int) -> list[str]:
    """Waits for `count` records, and returns their lines."""
    assert run.stdout is not None
    return [run.stdout.readline() for _ in range(count)]


def end(run: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    """Exit status, announced records that were not read, and what mfpde said, of a run that ends."""
    out, errors = ([line for line in text.splitlines() if "[mpiexec" not in line] for text in run.communicate(timeout=HANGS))
    return run.returncode, out, errors


def ranks_of(run: subprocess.Popen[str]) -> list[int]:
    """Process numbers of the ranks that mpirun started, rank 0 first."""
    found, parents = [], [run.pid]
    while parents:
        parent = parents.pop()
        children = [int(x) for x in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
        for child in children:
            (found if "python" in os.readlink(f"/proc/{child}/exe") else parents).append(child)
    return sorted(found)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("number,status,word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
@pytest.mark.parametrize("alone", [False, True])
def test_a_signal_ends_all_ranks_in_order(
    ranks: int, number: signal.Signals, status: int, word: str, alone: bool, tmp_path: Path
) -> None:
    """Sent to mpirun, or to the last rank alone: one line, and all records up to its t, with every announced one, are kept."""
    with running(tmp_path, ranks=ranks, GRACE="60") as run:
        announced(run, 20)
        os.kill(ranks_of(run)[-1] if alone and ranks > 1 else run.pid, number)
        code, rest, said = end(run)
    assert code == status and len(said) == 1 and word in said[0] and "t = " in said[0], said
    with h5py.File(tmp_path / "out.h5") as file:
        times = file["history/time"][:]
        assert len(times) >= 20 + len(rest) and not file.attrs["complete"]
    assert f"t = {times[-1]:.6g}:" in said[0] and np.allclose(np.diff(times), 1e-3), said
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_rank_that_is_stuck_ends_all_the_same(ranks: int, tmp_path: Path) -> None:
    """Rank 0 waits in MPI, the other one is asleep: nobody comes to the end of the step.  One of them speaks, but where the
    machine is so busy that half a second is too short to end the other."""
    with running(tmp_path, "--fault", "stuck", ranks=ranks, FORWARDED="0.3") as run:
        assert announced(run, 6)[-1] == "stuck\n"
        run.send_signal(signal.SIGTERM)
        code, _, said = end(run)
    assert code in (143, 255) and set(said) == {"mfpde: terminated"}, said
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["history/time"]) >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_an_error_in_a_callback_on_one_rank_is_said_and_ends_all(ranks: int, tmp_path: Path) -> None:
    with running(tmp_path, "--fault", "rates", ranks=ranks) as run:
        announced(run, 5)
        code, _, said = end(run)
    assert code == 1 and len(said) == 1 and "no room" in said[0], said


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_full_disk_in_a_callback_is_said_as_it_is(ranks: int, tmp_path: Path) -> None:
    with running(tmp_path, ranks=ranks, LIMIT="200000") as run:
        code, _, said = end(run)
    assert code == 2 and len(said) == 1 and "output.file" in said[0] and "File too large" in said[0], said
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["history/time"]) >= 1


@pytest.mark.parametrize("seconds,bulk", [(0.002, 0), (0.002, 12_000_000), (0.4, 0)])
def test_a_killed_run_loses_one_record_or_those_of_one_second(seconds: float, bulk: int, tmp_path: Path) -> None:
    """The promise of ResultFile, by kill -9: quick records, quick records in a file of 100 MB, slow ones.

    Where the disk takes longer than a second to write the file, it is the records of that time.
    """
    lines: list[str] = []
    with running(tmp_path, "--seconds", str(seconds), "--bulk", str(bulk)) as run:
        for _ in range(4):
            lines += announced(run, 2 if seconds > 0.1 else 150)
            time.sleep(0.1)
        run.kill()
        lines += run.communicate()[0].splitlines(keepends=True)
    when, took = np.array([line.split() for line in lines if line.endswith("\n")], float).T
    with h5py.File(tmp_path / "out.h5") as file:
        kept = len(file["history/time"])
        assert (file["history/coefficients"][:] == 1).all()
    assert len(when) - kept <= max(1, (when[-1] - when < max(1.0, took.max())).sum())


def test_a_reader_that_holds_a_large_file_open_sees_no_change(tmp_path: Path) -> None:
    with running(tmp_path, "--seconds", "0.002", "--bulk", "5000000") as run:
        announced(run, 300)
        with h5py.File(tmp_path / "out.h5") as file:
            count = len(file["history/time"])
            announced(run, 1500)
            assert len(file["history/time"]) == count and (file["history/coefficients"][:] == 1).all()
        run.send_signal(signal.SIGINT)
        code, _, _ = end(run)
    assert code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]
