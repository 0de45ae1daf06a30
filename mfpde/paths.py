"""Where results and pictures may go: checked before anything runs, so that nothing is replaced that is no result."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import h5py

from mfpde.errors import InputError

Kind = Literal["result", "study", "sweep", "density"]
# The attribute that tells a file from the result of one run.
MARKS: dict[Kind, str] = {"study": "vary", "sweep": "sweep", "density": "axes"}
# Pictures that matplotlib draws, as pixels or as lines.
PICTURES = (".png", ".pdf", ".svg")
NEW_FILE = "allowed: a file name in an existing, writable directory"


def check_output(path: Path, key: str, kind: Kind = "result") -> None:
    """Checks that a result may be written to `path`: a new file, or one that holds such a result (an empty one, too).

    Args:
        path: The result file; links are followed.
        key: What the user calls it.
        kind: Kind of a file, that of one run, of a convergence study, of a sweep, or a density: none replaces another.

    Raises:
        InputError: If it cannot be written, or holds something else.
    """
    mode = check_place(path, key)
    if mode is not None and path.stat().st_size and not _is_result(path, kind):
        raise InputError(f"{key}: {str(path)!r} holds something else than a {kind} of mfpde; {NEW_FILE}, or such a file")


def check_series(output: Path, kind: Kind) -> None:
    """Checks the file of many runs given by --output: it, its picture and the folder of its members are three.

    Raises:
        InputError: If they are not, or cannot be written.
    """
    if output.suffix in ("", ".png"):
        raise InputError(
            f"--output: {str(output)!r} has no suffix of its own, as the members lie in a directory of that name and the "
            f"picture in a .png file; allowed: a file name such as {kind}.h5"
        )
    check_output(output, "--output", kind)
    check_picture(output.with_suffix(".png"), "--output")


def make_folder(output: Path, members: Iterable[Path]) -> None:
    """Makes the folder of the members of --output, and checks their files.

    Raises:
        InputError: If it cannot be made, or one of them not be written.
    """
    folder = output.with_suffix("")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"--output: cannot make {str(folder)!r}: {error.strerror}") from None
    for path in members:
        check_output(path, "--output")


def check_picture(path: Path, key: str) -> None:
    """Checks that a picture may be written to `path`.

    Raises:
        InputError: If it cannot be written.
    """
    if path.suffix not in PICTURES:
        allowed = f"{', '.join(PICTURES[:-1])} or {PICTURES[-1]}"
        raise InputError(f"{key}: {str(path)!r}; allowed: a {allowed} file in an existing, writable directory")
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


def _is_result(path: Path, kind: Kind) -> bool:
    try:
        with h5py.File(path) as file:
            found = next((name for name, mark in MARKS.items() if mark in file.attrs), "result")
            ours = str(file.attrs.get("program")) == "mfpde" and ("complete" in file.attrs or found == "density")
            return ours and found == kind
    except Exception:  # whatever it is, it is not ours
        return False
