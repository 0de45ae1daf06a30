"""The compiler and its cache: what goes wrong there is one line that says what to do."""

import os
from pathlib import Path

import pytest
from mpi4py import MPI

from mfpde import compile as compiler
from mfpde.compile import load_compiled
from mfpde.errors import InputError

SELF = MPI.COMM_SELF
DECLARATION = "int answer(void);"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C file, with a cache of its own that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "answer.c"
    path.write_text("int answer(void) { return SIZE; }\n")
    return path


def test_code_is_compiled_once_for_each_set_of_sizes(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [load_compiled(SELF, source, DECLARATION, {"SIZE": n}).lib.answer() for n in (3, 7)] == [3, 7]
    monkeypatch.setenv("CC", "/nonexistent/cc")  # what is in the cache needs no compiler
    assert load_compiled(SELF, source, DECLARATION, {"SIZE": 7}).lib.answer() == 7
    monkeypatch.delenv("CC")
    source.write_text("int answer(void) { return SIZE + 1; }\n")  # another source is another library
    assert load_compiled(SELF, source, DECLARATION, {"SIZE": 7}).lib.answer() == 8


def test_what_is_compiled_is_said_with_its_sizes_if_it_has_any(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    source.write_text("int answer(void) { return 1; }\n")
    with caplog.at_level("INFO", "mfpde"):
        for sizes in ({}, {"SIZE": 2}):
            load_compiled(SELF, source, DECLARATION, sizes)
    said = [record.getMessage().partition("compiling ")[2] for record in caplog.records]
    assert said == ["answer.c: some seconds, once", "answer.c for SIZE = 2: some seconds, once"]


def test_our_headers_are_part_of_the_source(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiler, "PACKAGE", tmp_path)
    source.write_text('#include "value.h"\nint answer(void) { return VALUE + SIZE; }\n')
    for value in (10, 20):
        (tmp_path / "value.h").write_text(f"#define VALUE {value}\n")
        assert load_compiled(SELF, source, DECLARATION, {"SIZE": 1}).lib.answer() == value + 1


def refused(source: Path) -> str:
    with pytest.raises(InputError) as error:
        load_compiled(SELF, source, DECLARATION, {"SIZE": 3})
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_compiler_is_one_line(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc -O2")
    message = refused(source)
    assert "'/nonexistent/cc' was not found" in message and "apt-get install gcc" in message and "CC" in message


def test_a_compiler_that_fails_is_one_line(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source.write_text("int answer(void) { return MISSING; }\n")
    message = refused(source)
    assert "failed" in message and "headers" in message and "MISSING" in message  # what the compiler itself has to say
    assert list((source.parent / "cache" / "mfpde").iterdir()) == []  # nothing half made stays
    assert not capfd.readouterr().err


def test_a_cache_that_cannot_be_written_is_one_line(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    message = refused(source)
    assert "cannot use" in message and str(tmp_path / "file" / "mfpde") in message and "XDG_CACHE_HOME" in message


SOURCE = "int twice(int x) { return FACTOR * x; }\n"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mfpde"


def twice(folder: Path, factor: int = 2) -> int:
    """2 * 3 by compiled code."""
    source = folder / "twice.c"
    source.write_text(SOURCE)
    return int(load_compiled(SELF, source, "int twice(int x);", {"FACTOR": factor}).lib.twice(3))


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
