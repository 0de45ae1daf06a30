"""Outputs: all of the registry, and a user's, hear the same of a run and of its abandoned passes, in a sweep, on all ranks."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from outputs import GIVEN, QUICK, TOLD, Rows, assert_table_of
from support import HANGS, clean_environment, command, first_flow, run_here, two_passes

import mfpde
from mfpde import formats
from mfpde.errors import InputError
from mfpde.evolution.flow import Observation, StageFlow, Step
from mfpde.output.hdf5 import ResultFile
from mfpde.output.history import open_result
from mfpde.output.protocol import Output, Run, Summary
from mfpde.output.recorder import Recorder
from mfpde.output.sink import MemoryFile
from mfpde.problem.config import config_of
from mfpde.solving import solve

SELF = MPI.COMM_SELF
WORDS = ["input.dimension=inf", "discretization.accuracy=false", "discretization.a_nodes=4", "training.final_time=1.0"]
OPTIONS = [word for key in [*WORDS, "output.times=5"] for word in ("--set", key)]


def heard(kind: type[Output], events: list[str]) -> type[Output]:
    """The output, which says besides what it hears."""

    class Heard(kind):  # type: ignore[misc, valid-type]
        def begin(self, run: Run) -> None:
            events.append("begin")
            super().begin(run)

        def enter(self, flow: StageFlow) -> None:
            events.append("enter")
            super().enter(flow)

        def record(self, flow: StageFlow, step: Step, vector: np.ndarray) -> None:
            events.append("record")
            super().record(flow, step, vector)

        def abandon(self) -> None:
            events.append("abandon")
            super().abandon()

        def finish(self, summary: Summary) -> Path | None:
            events.append(f"finish {summary.time:g}")
            return super().finish(summary)

    return Heard


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.mark.parametrize("passes", TOLD)
@pytest.mark.parametrize("name", formats.known())
def test_every_output_hears_a_run_in_the_same_order_and_leaves_its_file(
    name: str, passes: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of the user's: 5 records of 5, whichever passes were given up."""
    events: list[str] = []
    kind = heard(formats.find(name), events)
    monkeypatch.setattr(formats, "find", lambda name: kind)
    mine = Rows()
    snapshots = {"snapshots": 1 if name == "paraview" else 0}
    with two_passes() if passes == "two" else nullcontext():
        result = mfpde.run(comm=SELF, save="out.h5", also=[name], outputs=[mine], **QUICK, **snapshots)
    assert result.summary is not None and result.summary.answer is not None
    assert len(result.summary.answer.passes) == len(mine.runs) == TOLD[passes].count("begin")
    assert events == mine.events == TOLD[passes]
    assert mine.times == result.time.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert result.summary.files[name].stat().st_size > 0 and list(result.summary.files) == [name]
    if name == "csv":
        assert (assert_table_of("out")["error"] == result.error).all()


def test_keys_that_are_switches_name_the_same_outputs() -> None:
    config = config_of({"output": {"plot": True, "paraview": True, "also": ["csv", "plot"]}})
    assert formats.names(config) == ["plot", "paraview", "csv"]


def test_a_run_that_goes_on_tells_what_follows_and_its_table_is_whole(here: Path) -> None:
    mfpde.run(comm=SELF, save="out.h5", also=["csv"], **GIVEN)
    mine = Rows()
    longer = {"final_time": 2.0, "times": [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0]}
    result = mfpde.run(comm=SELF, restart="out.h5", save="out.h5", outputs=[mine], **longer)
    (run,) = mine.runs
    assert run.restart is not None and run.times == result.time.tolist()
    assert [*run.restart.told, *mine.times] == result.time.tolist() and 0 < len(mine.times) < 7
    assert len(assert_table_of("out")) == 7
    again = command("solve", "--restart", "out.h5", "--set", "training.final_time=3.0", cwd=here)
    assert again.returncode == 0 and "csv" in again.stdout and "out_history.csv" in again.stdout, again.stderr
    assert_table_of("out")


def test_a_sweep_writes_the_outputs_of_its_members_and_keeps_those_that_have_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*OPTIONS, "--vary", "initial.w=['zero', 'gaussian']", "--output", "s.h5"]
    for also, kept in ((["--set", 'output.also=["csv"]'], 0), ([], 2), (["--set", 'output.also=["csv"]'], 2)):
        assert run_here(here, "sweep", *words, *also) == 0 and capsys.readouterr().err.count("kept") == kept
        assert all(len(assert_table_of(f"s/w={w}")) == 5 for w in ("zero", "gaussian"))
    for path in here.glob("s/*.csv"):
        path.unlink()
    assert run_here(here, "sweep", *words, "--set", "output.paraview=true", "--set", "output.snapshots=1") == 0
    assert capsys.readouterr().err.count("kept") == 0 and len(list(here.glob("s/*.pvd"))) == 2


@pytest.mark.parametrize("words", [["solve"], ["sweep", "--vary", "input.dimension=[10]"]])
def test_an_unknown_output_is_refused_in_one_line_that_names_the_key(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for value, word in (('["cvs"]', "did you mean 'csv'"), ("3", "a list of outputs")):
        assert run_here(here, *words, "--set", f"output.also={value}") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "output.also" in error and word in error and list(here.iterdir()) == []


def test_what_python_cannot_write_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"output\.also: unknown output 'cvs'"):
        mfpde.run(comm=SELF, save="out.h5", also=["cvs"], **GIVEN)
    with pytest.raises(InputError, match=r"output\.also: .* allowed: with save"):
        mfpde.run(comm=SELF, also=["csv"], **GIVEN)
    with pytest.raises(InputError, match="in memory alone"):
        mfpde.run(comm=SELF, outputs=[formats.find("csv")()], **GIVEN)
    with pytest.raises(InputError, match=r"list is no output; allowed: .*mfpde\.Output"):
        mfpde.run(comm=SELF, outputs=[[]], **GIVEN)  # type: ignore[list-item]
    (here / "mine").mkdir()
    (here / "mine" / "empty.py").write_text("")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(here / "mine")])
    with pytest.raises(InputError, match=r"output\.also: .*empty\.py has no output"):
        mfpde.run(comm=SELF, save="out.h5", also=["empty"], **GIVEN)
    shutil.rmtree(here / "mine")
    (here / "out_history.csv").mkdir()
    with pytest.raises(InputError, match=r"output\.also: 'out_history.csv' is a directory"):
        mfpde.run(comm=SELF, save="out.h5", also=["csv"], **GIVEN)
    assert [path.name for path in here.iterdir()] == ["out_history.csv"]
    heard: list[float] = []
    assert mfpde.run({"output": {"also": ["csv"]}}, comm=SELF, progress=lambda *_: heard.append(0.0), **GIVEN).path is None


def test_what_a_later_stage_does_not_have_is_nan_there(here: Path) -> None:
    """The indicators of elements do not exist where moments alone are known; of E nothing is missing."""
    linear = {"duration": 0.5, "xi_a": 1.0, "activation": "(1 + u)**2", "average": 2, "reset_a": True}
    base = {"input": {"dimension": np.inf}, "training": {"stages": [{"duration": 0.5, "xi_w": 1.0}, linear]}}
    result = mfpde.run(base, comm=SELF, accuracy=False, a_nodes=4, times=3, save="out.h5", also=["csv"])
    missing = np.isnan(result.columns["label_error"])
    assert missing.tolist() == [False] * 3 + [True] * 3
    assert (result.columns["mass"] == 1).all() and np.isfinite(result.loss).all()
    assert_table_of("out")


@pytest.mark.parametrize("kind", [MemoryFile, ResultFile])
def test_what_a_later_stage_is_the_first_to_have_is_nan_before(kind: Any, here: Path) -> None:
    flow, problem, config = first_flow("input.dimension=inf", "discretization.accuracy=false", "discretization.a_nodes=4")
    sink: Any = kind(SELF, {"program": "mfpde"} if kind is MemoryFile else here / "out.h5")
    with sink as file:
        recorder = Recorder(file)
        recorder.begin(Run(SELF, problem, config, None, flow, config.history_times))
        for time, columns in enumerate(({}, {}, {"/history/late": 2.0, "/slices/late": np.ones((2, 3))}, {})):
            recorder.write(Step(float(time)), Observation(flow.target, columns))
    with open_result(here / "out.h5") if kind is ResultFile else h5py.File(BytesIO(sink.image)) as found:
        assert np.array_equal(found["history/late"][:], [np.nan, np.nan, 2.0, np.nan], equal_nan=True)
        assert found["slices/late"].shape == (4, 2, 3) and np.isnan(found["slices/late"][:]).sum() == 18
        assert found["history/late"].dims[0][0].name == "/history/time" and len(found["history/time"]) == 4


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_failing_output_ends_the_command_on_all_ranks_with_its_reason(ranks: int, here: Path) -> None:
    """Also where the others wait for it in a collective call: then the job is ended hard, and its last second may be lost."""
    code = (
        "from mfpde.output.protocol import Output\n"
        "class Fails(Output):\n"
        "    def record(self, flow, step, vector):\n"
        "        if step.time >= 0.5 and flow.comm.rank == flow.comm.size - 1:\n"
        "            raise ValueError('the plotter has no ink')\n"
        "        flow.comm.Barrier()\n"
    )
    (here / "mine").mkdir()
    (here / "mine" / "fails.py").write_text(code)
    start = "import mfpde.formats, sys; mfpde.formats.__path__.append('mine'); from mfpde.solve import main; sys.exit(main())"
    launcher = [] if ranks == 1 else [str(Path(sys.executable).with_name("mpirun")), "-n", str(ranks)]
    words = [*launcher, sys.executable, "-c", start, *OPTIONS, "--set", 'output.also=["fails"]', "--output", "out.h5"]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, timeout=HANGS, env=clean_environment(), check=False)
    assert done.returncode == 1 and "the plotter has no ink" in done.stderr, done.stderr
    with open_result(here / "out.h5") as file:
        assert not file.attrs["complete"] and (ranks > 1 or file["history/time"][-1] == 0.5)


def test_mfpde_solve_writes_what_the_command_writes(here: Path) -> None:
    config = config_of({"output": {"file": "out.h5", "also": ["csv"], "times": 5}}, WORDS)
    summary = solve(SELF, config, mfpde.build_problem(config))
    assert summary.files == {"plot": Path("out_loss.png"), "csv": Path("out_history.csv")}
    assert sorted(path.name for path in here.iterdir()) == ["out.h5", "out_history.csv", "out_loss.png"]
