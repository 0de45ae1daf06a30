"""C code compiled on first use, specialised to small sizes, and kept in a cache.

The sizes that inner loops run over (p, the nodes of a cell) are macros, so that the compiler sees their trip counts.  Vectors
are as wide as the processor's registers; ``MFPDE_LANES=4`` or ``8`` in the environment says otherwise, see lanes.h.  The
cache lies in ``$XDG_CACHE_HOME/mfpde`` (``~/.cache/mfpde``); its key is the source, the macros, the flags, the
interpreter and the processor.  A shared library appears under its final name by one rename, so ranks and jobs that
compile the same code at the same time cannot see half of one.  What is loaded runs with the user's rights: the
directory is the user's alone, and a library that another user could have written, or that does not end with the digest
of its name and content (truncated, foreign, of another key), is built again.
"""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from mfpde.errors import InputError
from mfpde.parallel import on_first
from mfpde.progress import LOG

# Contraction to fused multiply-adds and no errno: fast, and still free of reassociation, so sums keep their order.
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")


PACKAGE = Path(__file__).parent
# Our own headers stand in for their #include lines, so that they are part of the source that the cache is keyed by.
_INCLUDE = re.compile(r'^#include "([a-z_.]+)"$', re.MULTILINE)


def load_compiled(comm: MPI.Intracomm, source: Path, declarations: str, macros: Mapping[str, int]) -> Any:
    """Collective. The compiled code of a C file, as a cffi module with attributes ``ffi`` and ``lib``.

    Args:
        comm: Ranks that need it; the first one compiles if the cache has none.
        source: The C file.
        declarations: Its public structures and functions, in the subset of C that cffi reads.
        macros: Compile-time constants.

    Raises:
        InputError: On all ranks, when there is no working C compiler.
    """
    macros = {**macros, **_lanes()}
    found = on_first(comm, lambda: _library(source, declarations, macros), share=False)
    return _import(*(found or _library(source, declarations, macros)))  # a cache hit, unless the disk is not shared


def aligned(size: int) -> NDArray[np.float64]:
    """Memory for `size` doubles in vectors of compiled code, not set."""
    memory = np.empty(size + ALIGNMENT // 8)
    return memory[-(memory.ctypes.data // 8) % (ALIGNMENT // 8) :][:size]


# Bytes to which the widest vectors (lanes.h) are aligned.
ALIGNMENT = 64


def _lanes() -> dict[str, int]:
    """The width of vectors that the environment asks for, as a macro."""
    width = os.environ.get("MFPDE_LANES")
    if width not in (None, "", "4", "8"):
        raise InputError(f"MFPDE_LANES: {width!r}; allowed: 4, 8, or not set")
    return {"LANES": int(width)} if width else {}


def _library(source: Path, declarations: str, macros: Mapping[str, int]) -> tuple[Path, str]:
    code = _code(source)
    parts = (code, declarations, repr(sorted(macros.items())), repr(FLAGS), sys.version, _processor())
    name = f"_{source.stem}_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
    folder = _cache()
    path = folder / (name + str(sysconfig.get_config_var("EXT_SUFFIX")))
    _make_private(folder)
    if not _is_sound(path):
        _build(path, name, code, declarations, macros)
    return path, name


def _code(source: Path) -> str:
    """The source with our own headers in it."""
    return _INCLUDE.sub(lambda match: _header(PACKAGE, match.group(1)).read_text(), source.read_text())


@cache
def _header(package: Path, name: str) -> Path:
    """Where a header lies: looking for it takes longer than all the rest, and it does not move."""
    return next(package.rglob(name))


def _cache() -> Path:
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "mfpde"
    try:
        return Path.home() / ".cache" / "mfpde"
    except RuntimeError:  # a user without a name, as in containers
        raise InputError("there is no home directory for the cache of compiled code; set XDG_CACHE_HOME") from None


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        if status.st_uid == os.getuid() and status.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as exception:
        raise InputError(f"cannot use the cache of compiled code {folder}: {exception.strerror}; set XDG_CACHE_HOME") from None
    if status.st_uid != os.getuid():
        raise InputError(
            f"the cache of compiled code {folder} belongs to another user; set XDG_CACHE_HOME to a directory of your own"
        )


def _is_sound(path: Path) -> bool:
    """Whether a library is there as this user has built it."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            return False
        content = path.read_bytes()
    except OSError:
        return False
    return content[-DIGEST:] == _digest(path, content[:-DIGEST])


def _digest(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + content).digest()


# Bytes of the digest behind a library; the loader does not mind them.
DIGEST = 32


def _build(path: Path, name: str, code: str, declarations: str, macros: Mapping[str, int]) -> None:
    from cffi import FFI, VerificationError

    given = ((os.environ.get("CC") or "").split(), (sysconfig.get_config_var("CC") or "").split(), ["cc"])
    compiler = next(words for words in given if words)[0]
    if shutil.which(compiler) is None:
        raise InputError(f"the C compiler {compiler!r} was not found: install one (Debian: apt-get install gcc), or set CC")
    sizes = " for " * bool(macros) + ", ".join(f"{name} = {value}" for name, value in sorted(macros.items()))
    LOG.info(f"compiling {name.rpartition('_')[0].lstrip('_')}.c{sizes}: some seconds, once")
    ffi = FFI()
    ffi.cdef(declarations)
    ffi.set_source(name, code, define_macros=sorted(macros.items()), extra_compile_args=list(FLAGS))
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            with _without_blank_compiler(), _errors_to(Path(folder) / "said") as said:
                built = Path(ffi.compile(tmpdir=folder))
            if not built.is_file():
                raise InputError(f"the C compiler {compiler!r} ended well and wrote nothing: is it one? Set CC")
            content = built.read_bytes()
            built.write_bytes(content + _digest(path, content))
            built.chmod(0o700)
            os.replace(built, path)
    except VerificationError as exception:
        flags = ", ".join(f"{name} = {os.environ[name]!r}" for name in ("CC", "CFLAGS", "LDFLAGS") if os.environ.get(name))
        hint = f"is it the setting {flags}?" if flags else "are the Python headers installed?"
        reason = next((line for line in said if "error" in line), str(exception))
        raise InputError(f"the C compiler {compiler!r} failed ({hint}): {reason.strip()}") from None
    except OSError as exception:
        raise InputError(
            f"cannot write the cache of compiled code {path.parent}: {exception.strerror}; set XDG_CACHE_HOME"
        ) from None


@contextmanager
def _without_blank_compiler() -> Iterator[None]:
    """A CC of blanks is none: within the block it is not set."""
    blank = os.environ.pop("CC") if os.environ.get("CC", "").isspace() else None
    try:
        yield
    finally:
        if blank is not None:
            os.environ["CC"] = blank


@contextmanager
def _errors_to(place: Path) -> Iterator[list[str]]:
    """What programs that are called within the block say on standard error, as a list of lines that is filled at its end."""
    said: list[str] = []
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with place.open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield said
    finally:
        os.dup2(before, 2)
        os.close(before)
        said += place.read_text(errors="replace").splitlines()


def _import(path: Path, name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@cache
def _processor() -> str:
    """What ``-march=native`` depends on: a cache on a shared disk may serve several kinds of machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
