"""Signals before there is a run: a command that is still loading ends at once, with one line and the status of the signal;
on many ranks as soon as they know of each other.

The package imports this first, and installs the handlers where Python was started for one of its commands; a program that
imports the package keeps its own.  `mfpde.interrupts` takes over when MPI is there.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
# What Open MPI, PMIx, MPICH and Intel MPI, MVAPICH and SLURM's srun call the rank of a process.
RANK = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
# Under nohup a hang-up is ignored, and is to stay so.
LISTENED = tuple(number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN)


def launched() -> int | None:
    """This process's rank as its launcher says before MPI starts; None without a launcher."""
    return next((int(os.environ[name]) for name in RANK if os.environ.get(name, "").isdigit()), None)


def is_command() -> bool:
    """Whether Python was started for a command of this package, as a module or by its script."""
    words = sys.orig_argv[1:]
    if sys.argv[:1] == ["-m"]:
        return any(word.partition(".")[0] in ("mfpde", "-mmfpde") for word in words)
    return os.path.basename(sys.argv[0] if sys.argv else "") == "mfpde"


def listen() -> None:
    """Installs the handlers; once more where a library has put its own in their place."""
    for number in SIGNALS:
        signal.signal(number, _end if number in LISTENED else signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    if launched() is not None:  # the other ranks would wait for this one: it ends with them, once MPI is there
        State.noted = max(State.noted, number)
        return
    with suppress(OSError):
        os.write(2, f"mfpde: {SIGNALS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


class State:
    """The signal that a rank has received before MPI was there, or 0."""

    noted = 0
