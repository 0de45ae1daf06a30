"""Where results and pictures may go: checked before anything runs, so that nothing is replaced that is no result."""

import os
import stat
from pathlib import Path
from typing import Literal

import h5py

from mfpde.errors import InputError

# What a file is: a run (False), a convergence study (True) or a sweep.
Kind = Literal[False, True, "sweep"]
NEW_FILE = "allowed: a file name in an existing, writable directory"


def check_output(path: Path, key: str, study: Kind = False) -> None:
    """Checks that a result may be written to `path`: a new file, or one that holds such a result (an empty one, too).

    Args:
        path: The result file; links are followed.
        key: What the user calls it.
        study: Whether it is of a convergence study, or of a sweep: a study does not replace a run, nor a run a study.

    Raises:
        InputError: If it cannot be written, or holds something else.
    """
    mode = check_place(path, key)
    if mode is not None and path.stat().st_size and not _is_result(path, study):
        what = "a sweep" if study == "sweep" else "a study" if study else "a result"
        raise InputError(f"{key}: {str(path)!r} holds something else than {what} of mfpde; {NEW_FILE}, or such a file")


def check_picture(path: Path, key: str) -> None:
    """Checks that a picture may be written to `path`.

    Raises:
        InputError: If it cannot be written.
    """
    if path.suffix != ".png":
        raise InputError(f"{key}: {str(path)!r}; allowed: a .png file in an existing, writable directory")
    check_place(path, key)


def check_place(path: Path, key: str) -> int | None:
    """Checks that `path` is a regular file that may be written, or may become one; its mode, None if it is new.

    Raises:
        InputError: If not.
    """
    if "\0" in str(path) or path.name in ("", ".."):
        raise InputError(f"{key}: {str(path)!r} is no file name; {NEW_FILE}")
    try:
        real = Path(os.path.realpath(path))
        folder = real.parent
        mode = real.stat().st_mode if real.exists() or real.is_symlink() else None
        if not folder.is_dir():
            raise InputError(f"{key}: {str(path)!r} has no directory {str(folder)!r}; {NEW_FILE}")
    except OSError as error:
        raise InputError(f"{key}: {str(path)!r}: {error.strerror}; {NEW_FILE}") from None
    if mode is not None and not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise InputError(f"{key}: {str(path)!r} is {kind}; {NEW_FILE}")
    # Its owner has protected it, though root and the owner of the directory could replace it.
    if mode is not None and not (mode & 0o222 and os.access(real, os.W_OK)):
        raise InputError(f"{key}: {str(path)!r} is read-only; {NEW_FILE}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{key}: {str(path)!r}: the directory is read-only; {NEW_FILE}")
    return mode


def _is_result(path: Path, study: Kind) -> bool:
    try:
        with h5py.File(path) as file:
            ours = str(file.attrs.get("program")) == "mfpde" and "complete" in file.attrs
            return ours and ("sweep" if "sweep" in file.attrs else "vary" in file.attrs) == study
    except Exception:  # whatever it is, it is not ours
        return False
