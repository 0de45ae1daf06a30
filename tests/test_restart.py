"""A run that goes on from a checkpoint is the run that was never interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI
from restarts import CLOSE, PROBLEMS, SMALL, STAGES, assert_same, contents, go, read
from support import HANGS, clean_environment, command

import mfpde
from mfpde.errors import InputError
from mfpde.output.checkpoint import read_checkpoint
from mfpde.output.restart import check_restart, stored
from mfpde.problem.config import config_of, load

SELF = MPI.COMM_SELF


def steps_of(path: Path) -> int:
    with h5py.File(path) as file:
        return int(file["history/steps"][-1])


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_run_that_was_interrupted_at_any_step_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    """Bit for bit but for the rates at the checkpoint, which another sum of the same step gave: 1e-12."""
    config = read(*PROBLEMS[name])
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    go(SELF, config, whole)
    count = steps_of(whole)
    for step in (int(np.random.default_rng(len(name)).integers(1, count - 1)), count - 1):
        part.unlink(missing_ok=True)
        go(SELF, config, part, steps=step)
        assert read_checkpoint(part).count >= min(step, count - 1) - 1
        go(SELF, config, part, restart=part)
        assert_same(whole, part)


def test_interrupted_again_and_again(tmp_path: Path) -> None:
    config, whole, part = read("discretization.tolerance=1e-6"), tmp_path / "whole.h5", tmp_path / "part.h5"
    go(SELF, config, whole)
    go(SELF, config, part, steps=1)
    for step in range(2, steps_of(whole)):
        go(SELF, config, part, restart=part, steps=step)
    go(SELF, config, part, restart=part)
    assert_same(whole, part)


@pytest.mark.parametrize("name", ["one stage", "jumps", "stages", "affine"])
def test_a_longer_run_is_the_one_that_was_long_from_the_start(name: str, tmp_path: Path) -> None:
    """A step that the end has shortened is taken again; in the affine frame both have the same records up to there."""
    longer, shorter = tmp_path / "long.h5", tmp_path / "short.h5"
    last = STAGES.replace("duration = 50.0", "duration = 20.0")
    times = {"stages": [0.5, 1.7, 2.4, 10.0, 20.0, 50.0], "jumps": [0.4, 1.2, 2.0, 2.9, 3.0]}.get(name, [0.0, 0.7, 1.5, 2.0, 3.0])
    ends = {"stages": (22.5, [last]), "jumps": (2.2, ["training.final_time=2.2"])}
    end, short = ends.get(name, (2.0, ["training.final_time=2.0"]))
    shared = [*PROBLEMS[name], "output.snapshots=[0.0]"]
    go(SELF, read(*shared, f"output.times={times}"), longer)
    go(SELF, read(*shared, *short, f"output.times={[t for t in times if t <= end]}"), shorter)
    go(SELF, read(*shared, f"output.times={times}"), shorter, restart=shorter)
    assert_same(longer, shorter)


def test_records_and_snapshots_ahead_may_be_others(tmp_path: Path) -> None:
    """What is done stays; what is ahead is as asked for; both are on the same curve."""
    part, dense = tmp_path / "part.h5", tmp_path / "dense.h5"
    go(SELF, read(), part, steps=6)
    kept = read_checkpoint(part)
    go(SELF, read("output.times=301", "output.snapshots=[0.5, 2.5, 3.0]"), part, restart=part)
    go(SELF, read("output.times=301", "output.snapshots=[0.5, 2.5, 3.0]"), dense)
    one, other = contents(part), contents(dense)
    times = one["history/time"]
    assert (np.diff(times) > 0).all() and times[: len(kept.told)].tolist() == list(kept.told)
    assert np.isclose(np.diff(times[times > kept.time]), 0.01).all()
    both = np.searchsorted(other["history/time"], times - 1e-9)
    np.testing.assert_allclose(other["history/loss"][both], one["history/loss"], **CLOSE)
    with h5py.File(part) as file:
        taken = [float(group["time"][()]) for group in file["slices/snapshots"].values()]
    assert taken == [t for t in (0.0, 1.0, 2.0) if t <= kept.time] + [2.5, 3.0]


ACCURATE = ["discretization.accuracy=1e-3", "training.final_time=3.0", "output.times=9", "output.plot=false"]
ACCURATE += ["input.dimension=inf"]


def test_a_run_to_an_accuracy_goes_on_at_its_resolution_and_has_the_same_error(tmp_path: Path) -> None:
    config, whole, part = load(None, ACCURATE), tmp_path / "whole.h5", tmp_path / "part.h5"
    go(SELF, config, whole)
    go(SELF, config, part, steps=2)
    go(SELF, config, part, restart=part)
    assert_same(whole, part)
    with h5py.File(whole) as one, h5py.File(part) as other:
        assert list(one["error"].attrs["resolutions"]) == list(other["error"].attrs["resolutions"])


def test_a_longer_run_keeps_the_resolution_and_estimates_its_error_anew(tmp_path: Path) -> None:
    """The estimate holds: it is above the distance from a run that is ten times more accurate, up to the new end."""
    part, reference = tmp_path / "part.h5", tmp_path / "reference.h5"
    go(SELF, load(None, ACCURATE), part)
    before = contents(part)
    go(SELF, load(None, [*ACCURATE, "training.final_time=6.0"]), part, restart=part)
    go(SELF, load(None, [*ACCURATE, "training.final_time=6.0", "discretization.accuracy=1e-4", "output.times=33"]), reference)
    after, exact = contents(part), contents(reference)
    for name in before:
        if name.startswith("resolution/"):
            assert np.array_equal(before[name], after[name])
    at = np.searchsorted(exact["history/time"], after["history/time"] - 1e-9)
    assert after["history/time"][-1] == 6.0 and after["error/estimate"].shape == after["history/time"].shape
    distance = np.abs(after["history/loss"] - exact["history/loss"][at])
    assert (distance <= after["error/estimate"] + exact["error/estimate"][at]).all()


def test_a_further_stage_may_follow(tmp_path: Path) -> None:
    """With columns that the run so far has not had, and without a checkpoint of its own."""
    plain = "{duration = 1.5, xi_a = 1.0, xi_w = 1.0}"
    stages = f"training.stages=[{plain}, {{duration = 1.0, xi_a = 1.0, decay_a = 0.1, interaction = false}}]"
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    go(SELF, read("training.final_time=1.5", "output.snapshots=0"), part)
    go(SELF, read(stages, "output.snapshots=0"), whole)
    go(SELF, read(stages, "output.snapshots=0", "output.checkpoint=false"), part, restart=part)
    assert_same(whole, part)
    with pytest.raises(InputError, match="holds no checkpoint"):
        read_checkpoint(part)


def test_from_python_a_result_in_memory_goes_on(tmp_path: Path) -> None:
    small = {"dimension": np.inf, "accuracy": False, "a_nodes": 4, "snapshots": 0}
    mfpde.run(comm=SELF, final_time=2.0, times=[0.0, 1.0, 2.0], **small).save(tmp_path / "short.h5")
    longer = mfpde.run(comm=SELF, restart=tmp_path / "short.h5", final_time=4.0, times=[0.0, 1.0, 2.0, 4.0])
    whole = mfpde.run(comm=SELF, final_time=4.0, times=[0.0, 1.0, 2.0, 4.0], **small)
    assert longer.time.tolist() == [0.0, 1.0, 2.0, 4.0]
    np.testing.assert_allclose(longer.loss, whole.loss, **CLOSE)
    longer.save(tmp_path / "long.h5")
    assert read_checkpoint(tmp_path / "long.h5").time > 2.0


REFUSED: list[tuple[list[str], str]] = [
    (["training.xi_w=0.5"], "training.xi_w (was 1.0, is 0.5)"),
    (["input.dimension=100", "target.polynomial=z1"], "target.polynomial"),
    (["discretization.tolerance=1e-9"], "discretization.tolerance"),
    (["discretization.accuracy=1e-4"], "discretization.accuracy"),
    (["training.final_time=0.1"], "before the checkpoint"),
    (["parameters.b=1"], "parameters.b"),
]


@pytest.mark.parametrize("changes,word", REFUSED)
def test_another_run_is_refused_by_its_keys(changes: list[str], word: str, part: Path) -> None:
    kept = read_checkpoint(part)
    with pytest.raises(InputError) as error:
        check_restart(kept, config_of(stored(kept.config, part), changes))
    assert word in str(error.value) and "allowed" in str(error.value)


def test_what_lies_ahead_and_what_changes_no_number_may_differ(part: Path) -> None:
    kept = read_checkpoint(part)
    free = ["output.times=5", "output.snapshots=0", "output.checkpoint=1", "parallel.mesh_ranks=1", "particles.seed=7"]
    check_restart(kept, config_of(stored(kept.config, part), [*free, "training.final_time=100.0"]))
    data = stored(kept.config, part)
    plain = {key: data["training"].pop(key) for key in ("xi_a", "xi_w", "interaction", "decay_a", "decay_w")}
    data["training"] = {"stages": [{"duration": data["training"]["final_time"], **plain}, {"duration": 2.0, "xi_a": 1.0}]}
    check_restart(kept, config_of(data))


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted."""
    path: Path = tmp_path_factory.mktemp("part") / "part.h5"
    go(SELF, read(), path, steps=6)
    return path


def _without(group: str) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        with h5py.File(path, "a") as file:
            del file[group]

    return cut


def _attribute(group: str, name: str, value: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            file[group].attrs[name] = value

    return change


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "no file": Path.unlink,
    "not an HDF5 file": lambda path: path.write_text("hello"),
    "damaged": lambda path: os.truncate(path, 3000),
    "no checkpoint": _without("checkpoint"),
    "checkpoint was written": _attribute("checkpoint", "whole", False),
    "records are missing": _attribute("checkpoint", "records", 1000),
    "is of version": _attribute("/", "version", "0.0.1"),
    "is a sweep": _attribute("/", "sweep", "[]"),
    "is a study": _attribute("/", "vary", "[]"),
    "mfpde.particles": _attribute("/", "method", "reduced"),
    "is complete": _attribute("/", "complete", True),
}


@pytest.mark.parametrize("word", DAMAGE)
def test_a_file_that_cannot_serve_is_refused_in_one_line(word: str, part: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes(part.read_bytes())
    DAMAGE[word](path)
    with pytest.raises(InputError, match=word.replace(".", r"\.")):
        kept = read_checkpoint(path)
        check_restart(kept, config_of(stored(kept.config, path), ["output.times=5", "training.final_time=0.5"]))


WORDS = [word for pair in (("--set", word) for word in SMALL) for word in pair]
# Takes long enough to be ended, however late a busy machine comes to that.
SLOW = [*WORDS, "--set", "training.final_time=2000", "--set", "output.times=20001"]


def started(folder: Path, *words: str, ranks: int = 1) -> subprocess.Popen[str]:
    """A run, once its file holds a checkpoint."""
    launcher = [str(Path(sys.executable).with_name("mpirun")), "-n", str(ranks)] if ranks > 1 else []
    run = subprocess.Popen(
        [*launcher, sys.executable, "-m", "mfpde.solve", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    deadline = time.monotonic() + HANGS
    while time.monotonic() < deadline and run.poll() is None:
        try:
            with h5py.File(folder / "out.h5") as file:
                if file["checkpoint"].attrs["whole"]:
                    return run
        except (OSError, KeyError):
            pass
        time.sleep(0.05)
    raise AssertionError(run.communicate()[1])


@pytest.mark.parametrize("ranks,number", [(1, signal.SIGKILL), (2, signal.SIGTERM)])
def test_a_run_that_a_signal_has_ended_goes_on_on_another_number_of_ranks(
    ranks: int, number: signal.Signals, tmp_path: Path
) -> None:
    """kill -9 after a checkpoint as well."""
    every = ["--set", "output.checkpoint=0.1"]
    run = started(tmp_path, *SLOW, *every, "--output", "out.h5", ranks=ranks)
    time.sleep(0.2)
    run.send_signal(number)
    said = run.communicate(timeout=HANGS)[1]
    assert run.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143}[number], said
    kept = read_checkpoint(tmp_path / "out.h5")
    assert 0 < kept.time < 1900
    end = ["--set", f"training.final_time={kept.time + 3.0:.1f}", "--set", "output.times=21"]
    done = command("solve", "--restart", "out.h5", *end, ranks=3 - ranks, cwd=tmp_path)
    assert done.returncode == 0 and "continued   out.h5" in done.stdout, done.stderr
    assert command("solve", *SLOW, *end, "--output", "whole.h5", cwd=tmp_path).returncode == 0
    one, other = contents(tmp_path / "whole.h5"), contents(tmp_path / "out.h5")
    # The records before the checkpoint are those of the first configuration, of another spacing.
    assert one["history/time"][-1] == other["history/time"][-1] and one["history/steps"][-1] == other["history/steps"][-1]
    np.testing.assert_allclose(one["history/coefficients"][-1], other["history/coefficients"][-1], **CLOSE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "whole.h5"]
