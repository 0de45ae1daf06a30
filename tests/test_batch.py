"""Under the launchers of batch systems."""

import pytest

from mfpde.command import _parse, config_parser
from mfpde.early import RANK


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
