"""From Python: runs, results, parameters; files that explain themselves; comparisons with someone's own curve; log lines."""

import copy
import json
import logging
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from mpi4py import MPI
from support import HANGS, command, run_here

import mfpde
from mfpde import progress
from mfpde.digits import credible
from mfpde.errors import InputError
from mfpde.output.history import difference, read_history, read_text
from mfpde.problem.config import config_of, section_with
from mfpde.problem.sections import Config
from mfpde.progress import Progress, duration, report, speak

SELF = MPI.COMM_SELF
# One neuron for each label, at a resolution that is given.
SMALL: dict[str, Any] = {"dimension": np.inf, "accuracy": False, "a_nodes": 4, "final_time": 1.0, "times": 5}
WORDS = ["--set", "input.dimension=inf", "--set", "discretization.accuracy=false", "--set", "discretization.a_nodes=4"]
WORDS += ["--set", "training.final_time=1.0", "--set", "output.times=5", "--set", "output.plot=false"]


@pytest.fixture(scope="module")
def small() -> mfpde.Result:
    """The result of that."""
    return mfpde.run(comm=SELF, **SMALL)


@pytest.fixture(scope="module")
def accurate() -> mfpde.Result:
    """The same to an accuracy."""
    return mfpde.run(comm=SELF, **{**SMALL, "a_nodes": None, "accuracy": 1e-2})


def test_a_run_from_a_dict_is_the_run_of_the_command_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = mfpde.run({"target": {"polynomial": "z1 + z1*z2"}}, comm=SELF, **SMALL)
    assert list(tmp_path.iterdir()) == []
    assert run_here(tmp_path, "solve", *WORDS, "--output", "out.h5") == 0
    other = mfpde.open("out.h5")
    assert np.array_equal(result.time, other.time) and np.array_equal(result.loss, other.loss)
    assert result.coefficients.shape == (5, len(result.modes)) == (5, len(result.target)) and result.error is None
    assert np.abs(0.5 * ((result.coefficients - result.target) ** 2).sum(axis=1) - result.loss).max() < 1e-14
    assert set(result.columns) >= {"loss", "mass", "steps", "wall_time", "time"} and "[target]" in result.config
    assert result.summary is not None and result.summary.loss == result.loss[-1]
    result.save("saved.h5")
    assert np.array_equal(mfpde.open("saved.h5").coefficients, result.coefficients)
    assert result.plot("loss.png").axes and (tmp_path / "loss.png").stat().st_size > 0


def test_a_run_to_an_accuracy_has_its_error_at_every_record(accurate: mfpde.Result) -> None:
    assert accurate.error is not None and accurate.error.shape == accurate.loss.shape and 0 < accurate.error.max() < 1e-2
    with accurate._opened() as file:
        assert file["error/estimate"].dims[0][0].name == "/error/record_time"
        assert np.array_equal(file["error/record_time"][:], accurate.time)


def test_progress_goes_to_a_function() -> None:
    seen: list[float] = []
    mfpde.run(comm=SELF, progress=lambda when, loss, steps: seen.append(when), **SMALL)
    assert seen[-1] == 1.0 and sorted(seen) == seen


@pytest.mark.parametrize("changes", [{}, {"a_nodes": None, "accuracy": 1e-2}])
def test_progress_shows_the_loss_at_the_end_of_the_step(changes: dict[str, Any]) -> None:
    """A step may be as long as the run; what was shown was E at the last record before it."""
    seen: list[tuple[float, float | None]] = []
    result = mfpde.run(comm=SELF, progress=lambda when, loss, steps: seen.append((when, loss)), **{**SMALL, **changes})
    when, shown = seen[-1]
    assert when == 1.0 and shown is not None and abs(shown - result.loss[-1]) < 1e-12


@pytest.mark.parametrize(
    "keywords,word",
    [
        ({"dimensoin": 10}, "did you mean 'dimension'"),
        ({"target": 3}, "dict"),
        ({"accuracy": "good"}, "discretization.accuracy"),
        ({"polynomial": "z1 + d"}, "unknown name 'd'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(keywords: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        mfpde.run(comm=SELF, **keywords)


def test_parameters_stand_in_every_expression() -> None:
    sections = {
        "parameters": {"c": 0.25, "s": "sqrt(1 - c**2)", "b": 2},
        "target": {"polynomial": "c*z1 + s*z1*z2"},
        "network": {"activation": "tanh(b*u + c)"},
        "initial": {"a": "uniform(-b/2, b/2)"},
        "training": {"stages": [{"duration": 1.0, "xi_w": "1 + c*t"}]},
    }
    problem = mfpde.build_problem(config_of(sections))
    assert np.allclose(problem.target.coefficients, [0.25, np.sqrt(1 - 0.25**2)], rtol=1e-14)
    assert problem.a.support == (-1, 1) and problem.stages[0].xi_w(2.0) == 1.5
    assert abs(float(problem.stages[0].activation(np.array(0.5))) - np.tanh(1.25)) < 1e-14
    again = mfpde.build_problem(config_of(sections, ["parameters.c=0.5"]))
    assert again.target.coefficients[0] == 0.5
    text = config_of(sections).to_toml()
    assert "[parameters]\nc = 0.25\n" in text and "(0.25)*z1" in text


@pytest.mark.parametrize("wrong", [{"u": 1}, {"c": True}, {"c": "d + 1"}, {"tanh": 1}, {"c": np.inf}, {"z1": 1}, {"c-d": 1}])
def test_parameters_with_other_names_or_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="parameters"):
        config_of({"parameters": wrong})


def test_datasets_say_what_they_are_and_files_how_they_came_about(small: mfpde.Result) -> None:
    with small._opened() as file:
        for name in file["history"]:
            data = file[f"history/{name}"]
            assert data.attrs["units"] and data.attrs["long_name"]
            assert data.is_scale or data.dims[0][0].name == "/history/time"
        moments = file["history/coefficients"]
        assert moments.dims[1][0].name == "/history/mode" and "m_i" in moments.attrs["formula"]
        alpha = file["modes/alpha"][:]
        names = file["history/mode"].asstr()[:]
        assert names[1] == ",".join(map(str, alpha[1])) and file["modes/alpha"].dims[0][0].name == "/modes/mode"
        assert {"date", "command", "ranks", "version", "version_dolfinx", "version_petsc4py", "version_mpi4py"} <= set(file.attrs)


def test_xarray_opens_files_with_coordinates(tmp_path: Path, small: mfpde.Result) -> None:
    import xarray

    data = xarray.open_dataset(small.save(tmp_path / "out.h5"), group="history", engine="h5netcdf")
    assert data.loss.dims == ("time",) and data.coefficients.sel(mode="1,1").shape == (5,)
    assert np.array_equal(data.time, small.time)
    own = small.to_xarray()
    assert own.loss.dims == ("time",) and np.isnan(own.error).all() and own.target.sel(mode="1,1") == 1
    own.to_netcdf(tmp_path / "own.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "own.nc", engine="h5netcdf") as again:
        assert again.equals(own) and again.attrs["complete"] == 1


def test_a_result_says_in_a_line_what_it_is(small: mfpde.Result, accurate: mfpde.Result, tmp_path: Path) -> None:
    assert accurate.error is not None
    shown, silent = repr(accurate), repr(small)
    assert "\n" not in shown and len(shown) < 300 and credible(accurate.loss[-1], accurate.error[-1]) in shown
    assert "z1 + z1*z2" in shown and "in memory" in shown and "error not estimated" in silent
    path = small.save(tmp_path / "<b>.h5")
    assert "<td>5</td>" in small._repr_html_() and "&lt;b&gt;.h5" in mfpde.open(path)._repr_html_()


def test_a_result_of_a_communicator_of_its_own_can_be_pickled(small: mfpde.Result) -> None:
    comm = SELF.Dup()
    try:
        own = replace(small, comm=comm)
        for again in (pickle.loads(pickle.dumps(own)), copy.deepcopy(own)):
            assert again.comm == SELF and again.plot().axes and np.array_equal(again.columns["mass"], small.columns["mass"])
        assert own.comm == comm
    finally:
        comm.Free()


def test_without_xarray_one_line_says_what_to_install(small: mfpde.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match="pip install"):
        small.to_xarray()


def test_particles_and_kernels_are_computed_by_their_names(tmp_path: Path) -> None:
    """With `mfpde.load` and `mfpde.build_problem`, as `mfpde.solve`."""
    words = [*WORDS[1::2], "particles.particles=16", f"output.file={tmp_path / 'out.h5'}"]
    config = mfpde.load(None, words)
    found = mfpde.particles(SELF, config, mfpde.build_problem(config))
    assert found.loss == mfpde.open(tmp_path / "out.h5").loss[-1]
    config = mfpde.load(None, [word for word in words if "final_time" not in word] + ["training.strategy=chen-ge"])
    study = mfpde.kernel(SELF, config, mfpde.build_problem(config), measure=False)
    assert study is not None and (tmp_path / "out.h5").is_file()


def test_compare_reads_two_columns_and_knows_the_errors(
    tmp_path: Path, accurate: mfpde.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accurate.error is not None
    accurate.save(tmp_path / "out.h5")
    rows = [f"{t:.17g}, {e + 0.5 * d:.17g}" for t, e, d in zip(accurate.time, accurate.loss, accurate.error, strict=True)]
    (tmp_path / "near.csv").write_text("time, loss\n" + "\n".join(rows) + "\n")
    (tmp_path / "far.txt").write_text("# mine\n0 1.5 1e-3\n1 1.4 1e-3\n")
    (tmp_path / "known.csv").write_text("\n".join(f"{row}, 0" for row in rows))
    near, far = (difference(read_text(tmp_path / name), read_history(tmp_path / "out.h5")) for name in ("near.csv", "far.txt"))
    assert 0.49 < near.excess < 0.51 and far.excess > 10 and np.isnan(near.max_coefficients)
    assert run_here(tmp_path, "compare", "out.h5", "near.csv", "known.csv", "far.txt") == 0
    said = capsys.readouterr().out
    assert "known.csv agrees with out.h5" in said and "far.txt differs from out.h5" in said
    worst = accurate.error.argmax()
    most = f"differ by at most {accurate.error[worst] / 2:.2g}, at t = {accurate.time[worst]:.4g}"
    assert mfpde.compare(tmp_path / "near.csv", accurate).max_loss == near.max_loss > 0
    assert f"near.csv and out.h5 {most}; no verdict, as near.csv says nothing of its error" in said
    (tmp_path / "bad.txt").write_text("0 1 2 3\n")
    assert run_here(tmp_path, "compare", "out.h5", "bad.txt") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_inspect_prints_the_digits_that_hold(tmp_path: Path, accurate: mfpde.Result, capsys: pytest.CaptureFixture[str]) -> None:
    assert accurate.error is not None
    accurate.save(tmp_path / "out.h5")
    assert run_here(tmp_path, "inspect", "out.h5") == 0
    assert credible(accurate.loss[-1], accurate.error[-1]) in capsys.readouterr().out


def test_inspect_tells_programs(tmp_path: Path, accurate: mfpde.Result, capsys: pytest.CaptureFixture[str]) -> None:
    assert accurate.error is not None
    accurate.save(tmp_path / "out.h5")
    assert run_here(tmp_path, "inspect", "out.h5", "--json") == 0

    def refuse(name: str) -> None:
        raise AssertionError(name)

    told = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert told["history"]["loss"] == accurate.loss[[0, -1]].tolist() and told["error"] == accurate.error[[0, -1]].tolist()
    assert told["config"]["input"]["dimension"] == told["attributes"]["dimension"] == "inf" and told["attributes"]["complete"]
    assert told["coefficients"]["1,1"]["target"] == 1 and told["datasets"]["/history/loss"]["shape"] == [len(accurate.time)]


@pytest.mark.parametrize("word", ["polynomial=z1 + z1*z2*z3", "target.polynomial=z1 + z1*z2*z3"])
def test_a_key_is_set_without_its_section(word: str) -> None:
    assert mfpde.load(None, [word]).target.polynomial == "z1 + z1*z2*z3"


@pytest.mark.parametrize(
    "word,said",
    [
        ("polynomail=z1", "did you mean 'polynomial'"),
        ("target=z1", "allowed: section.key=value"),
        ("polynomial", "allowed: section.key=value"),
        ("a_nodes.=3", "allowed: section.key=value"),
    ],
)
def test_what_cannot_be_set_is_refused(word: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        mfpde.load(None, [word])


def test_every_key_is_that_of_one_section() -> None:
    for field in msgspec.structs.fields(Config):
        for key in getattr(field.type, "__struct_fields__", ()):
            assert section_with(key) == field.name


def test_the_seconds_of_a_run_are_also_those_of_its_studies(accurate: mfpde.Result, tmp_path: Path) -> None:
    assert accurate.summary is not None and accurate.summary.answer is not None
    passes = accurate.summary.answer.passes
    studies = sum(run.study_seconds + run.main_seconds + run.check_seconds for run in passes) - passes[-1].main_seconds
    seconds = accurate.history.seconds
    assert studies > 0 and abs(seconds - studies - accurate.columns["wall_time"][-1]) < 1e-9
    assert seconds <= accurate.summary.wall_time


def test_without_a_terminal_a_line_says_now_and_then_how_far_the_run_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.02)
    path = tmp_path / "log.txt"
    speak(0, True, path)
    try:
        with Progress(0, 8.0) as bar:
            for step in range(1, 5):
                time.sleep(0.03)
                bar.update(float(step), 0.5, step)
        report("the end")
    finally:
        speak(0, False, None)
        logging.getLogger("mfpde").setLevel(logging.NOTSET)
    lines = path.read_text().splitlines()
    assert len(lines) == 5 and "t = 4 of 8, E = 0.5, step 4" in lines[3] and "left" in lines[3] and lines[4] == "the end"
    assert duration(45) == "45 s" and duration(720) == "12 min" and duration(12000) == "3 h 20 min"


def test_a_batch_run_says_its_size(tmp_path: Path) -> None:
    done = command("solve", *WORDS, "--output", "out.h5", "--log", "log.txt", cwd=tmp_path)
    assert done.returncode == 0 and "4 unknowns" not in done.stderr
    assert "16 unknowns, about" in done.stdout and "MB on 1 rank" in done.stdout and "K = " in done.stdout
    assert "unknowns, about" in (tmp_path / "log.txt").read_text()
    bad = command("solve", *WORDS, "--output", "out.h5", "--log", "nowhere/log.txt", cwd=tmp_path)
    assert bad.returncode == 2 and bad.stderr.count("\n") == 1 and "--log" in bad.stderr


@pytest.mark.parametrize(
    "module,words,closing,remarks",
    [
        ("solve", [], "wall time", 0),
        ("kernel", ["--once"], "condition number", 0),
        ("particles", ["--set", "particles.particles=16"], "wall time", 0),
        ("converge", ["--vary", "hermite_degree", "--values", "4", "6"], "written to", 2),
        ("sweep", ["--vary", "network.activation=['tanh', 'erf']"], "written to", 2),
    ],
)
def test_quiet_says_warnings_alone_and_a_log_takes_everything(
    module: str, words: list[str], closing: str, remarks: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The law is one that the theory does not cover: where a problem is solved for itself, a line says so."""
    unbounded = ["--set", "initial.a=normal(0, 1)", "--output", "out.h5"]
    assert run_here(tmp_path, module, *WORDS, *unbounded, *words, "--log", "log.txt") == 0
    said, log = capsys.readouterr(), (tmp_path / "log.txt").read_text()
    assert closing in said.out and closing in log and all(line in log for line in said.err.splitlines())
    warned = [line for line in said.err.splitlines() if line.startswith("mfpde: warning: ")]
    assert len(said.err.splitlines()) == len(warned) + remarks
    assert any("not of bounded support" in line for line in warned) == (not remarks)
    assert run_here(tmp_path, module, *WORDS, *unbounded, *words, "--quiet") == 0
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines() == warned


def test_one_command_runs_the_others_and_copies_the_examples(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mfpde"]
    done = subprocess.run([*words, "examples", "here"], cwd=tmp_path, capture_output=True, text=True, timeout=HANGS, check=False)
    assert done.returncode == 0 and (tmp_path / "here/examples/staircase.toml").is_file(), done.stderr
    assert (tmp_path / "here/meshes/skewed_square.xdmf").is_file()
    for arguments, status, word in (
        (["--help"], 0, "learnability"),
        (["inspect", "--help"], 0, "usage: mfpde inspect "),
        (["solev"], 2, "solve"),
        (["inspect", "no.h5"], 2, "no.h5"),
    ):
        done = subprocess.run([*words, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=HANGS, check=False)
        assert done.returncode == status and word in done.stdout + done.stderr


def test_a_result_in_memory_has_its_density_and_both_are_drawn(tmp_path: Path) -> None:
    result = mfpde.run(comm=SELF, dimension=100, polynomial="z1", accuracy=False, a_nodes=4, r_nodes=1, cells=4, final_time=0.5)
    found = result.density(("a", "v1"), bins=20)
    assert "(a, v1)" in str(found)
    for picture, begins in (("x.pdf", b"%PDF"), ("x.svg", b"<?xml"), ("x.png", b"\x89PNG")):
        for drawn in (found, result):
            assert drawn.plot(tmp_path / picture).axes and (tmp_path / picture).read_bytes().startswith(begins)
            (tmp_path / picture).unlink()
    assert result.density(("v1",), bins=20).plot().axes[0].get_ylabel() == "density"
    with pytest.raises(InputError, match=r"x\.jpg.*allowed: a \.png, \.pdf or \.svg file"):
        found.plot(tmp_path / "x.jpg")
