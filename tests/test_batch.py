"""Under the launchers of batch systems."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import clean_environment

from mfpde.command import _parse, config_parser
from mfpde.parallel import RANK

PAIRS = [("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID")]


@pytest.mark.parametrize("variable", RANK)
def test_a_usage_error_is_said_by_the_first_rank_alone(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before MPI starts the launcher's variable is all that tells the ranks apart."""
    for name in RANK:
        monkeypatch.delenv(name, raising=False)
    for rank in ("0", "3"):
        monkeypatch.setenv(variable, rank)
        with pytest.raises(SystemExit) as ended:
            _parse(config_parser("solve", ""), ["--no-such-option"])
        assert ended.value.code == 2 and ("--no-such-option" in capsys.readouterr().err) == (rank == "0")


@pytest.mark.parametrize("size,rank", PAIRS)
def test_processes_of_another_mpi_are_told_that_they_are_alone(size: str, rank: str, tmp_path: Path) -> None:
    plain = {k: v for k, v in clean_environment().items() if not k.startswith(("OMPI", "MV2", "SLURM"))}
    words = [sys.executable, "-m", "mfpde.solve", "--set", "training.xi_w=-1"]
    for number, lines in (("0", 2), ("1", 1)):
        environment = {**plain, size: "4", rank: number}
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 2 and done.stderr.count("\n") == lines, done.stderr
        assert ("4 processes were started" in done.stderr) == (number == "0")
