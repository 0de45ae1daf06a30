"""The cache of compiled kernels."""

import os
from pathlib import Path

import pytest
from mpi4py import MPI

from mfpde.compile import load_compiled

SOURCE = "int twice(int x) { return FACTOR * x; }\n"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mfpde"


def twice(folder: Path, factor: int = 2) -> int:
    """2 * 3 by a compiled kernel."""
    source = folder / "twice.c"
    source.write_text(SOURCE)
    return int(load_compiled(MPI.COMM_SELF, source, "int twice(int x);", {"FACTOR": factor}).lib.twice(3))


def test_a_damaged_or_foreign_library_is_built_again(cache: Path, tmp_path: Path) -> None:
    assert twice(tmp_path) == 6
    (library,) = cache.glob("*.so")
    good, changed = library.read_bytes(), library.stat().st_mtime_ns
    assert cache.stat().st_mode & 0o777 == 0o700 and library.stat().st_mode & 0o077 == 0
    assert twice(tmp_path) == 6 and library.stat().st_mtime_ns == changed
    assert twice(tmp_path, 5) == 15
    (other,) = set(cache.glob("*.so")) - {library}
    for bad in (good[: len(good) // 2], b"", b"not a library", other.read_bytes(), good[:-1]):
        library.unlink()
        library.write_bytes(bad)
        library.chmod(0o600)
        assert twice(tmp_path) == 6
        assert library.read_bytes()[-32:] == good[-32:] or len(library.read_bytes()) > 1000
    assert len(list(cache.iterdir())) == 2


def test_a_library_that_others_can_write_is_built_again(cache: Path, tmp_path: Path) -> None:
    assert twice(tmp_path) == 6
    (library,) = cache.glob("*.so")
    library.chmod(0o666)
    cache.chmod(0o777)
    assert twice(tmp_path) == 6
    assert library.stat().st_mode & 0o022 == 0 and cache.stat().st_mode & 0o777 == 0o700
    target = tmp_path / "elsewhere.so"
    os.replace(library, target)
    library.symlink_to(target)
    assert twice(tmp_path) == 6 and not library.is_symlink()
