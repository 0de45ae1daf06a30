"""Under the launchers of batch systems."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import clean_environment

from mfpde.parallel import RANK


def said(folder: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    """Exit status and output of mfpde.solve."""
    plain = {k: v for k, v in clean_environment().items() if not k.startswith(("OMPI", "MV2", "SLURM"))}
    words = (sys.executable, "-m", "mfpde.solve", *words)
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, env={**plain, **environment})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("variable", RANK)
def test_a_usage_error_is_said_by_the_first_rank_alone(variable: str, tmp_path: Path) -> None:
    """Before MPI starts, which a wrong word prevents, the launcher's variable is all that tells the ranks apart."""
    status, _, first = said(tmp_path, "--no-such-option", **{variable: "0"})
    assert status == 2 and "--no-such-option" in first
    assert said(tmp_path, "--no-such-option", **{variable: "3"}) == (2, "", "")


@pytest.mark.parametrize(
    "size,rank", [("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID")]
)
def test_processes_of_another_mpi_are_told_that_they_are_alone(size: str, rank: str, tmp_path: Path) -> None:
    for number, lines in (("0", 2), ("1", 1)):
        status, _, text = said(tmp_path, "--set", "training.xi_w=-1", **{size: "4", rank: number})
        assert status == 2 and text.count("\n") == lines and ("4 processes were started" in text) == (number == "0"), text
