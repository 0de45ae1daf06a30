"""Copies the shipped examples and meshes: `python -m mfpde.examples DIR`."""

import argparse
import shutil
import sys
import sysconfig
from pathlib import Path

from mfpde.command import outcome, prepare_streams, program, say
from mfpde.errors import InputError
from mfpde.version import __version__

FOLDERS = ("examples", "meshes")


def main() -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(prog=program("examples"), description="Copy the shipped examples and meshes.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to; it is made, and nothing in it is replaced")
    parser.add_argument("--version", action="version", version=__version__)
    arguments = parser.parse_args()
    prepare_streams()
    status, message = outcome(lambda: _copy(arguments.directory))
    if message:
        say(message)
    return status


def source() -> Path:
    """The directory that holds them: that of the sources, or where the package was installed.

    Raises:
        InputError: If they were not installed.
    """
    own, shared = Path(__file__).parent.parent, Path(sysconfig.get_path("data")) / "share" / "mfpde"
    for folder in (shared, own):
        if (folder / "examples" / "staircase.toml").is_file():
            return folder
    raise InputError("the examples were not installed with this package; allowed: an installation from a wheel or the sources")


def _copy(directory: Path) -> None:
    found, count = source(), 0
    for folder in FOLDERS:
        for file in sorted((found / folder).iterdir()):
            place = directory / folder / file.name
            if not file.is_file() or place.exists():
                continue
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
            except OSError as error:
                raise InputError(f"cannot write {str(place)!r}: {error.strerror}; allowed: a writable directory") from None
            count += 1
    print(f"{count} files copied to {directory}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
