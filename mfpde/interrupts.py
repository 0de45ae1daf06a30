"""Interrupts: a signal is noted, and the ranks agree on it at the end of a step.

SIGINT, SIGTERM and SIGHUP reach the ranks at different moments, or one of them alone; a rank that left by itself would keep the
others waiting in a collective call for ever.  So while a result file is open a signal only sets a flag, and
`stop_together`, which time integrators call after each step, raises Interrupted on all ranks at the same step.  Without
an open file nothing is lost by ending at once.  A thread watches: a rank that does not come to the end of its step
within GRACE seconds ends the job hard, and leaves a file that is whole all the same.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mfpde.early import LISTENED, SIGNALS, State
from mfpde.errors import one_line

# Seconds in which all ranks have to come to an agreement.
GRACE = 3.0
# Seconds that the launcher has to pass a line on: what it has not read when a rank aborts, it drops; and in which another rank
# that has received the same signal has spoken.
FORWARDED, SPOKEN = 0.3, 1.0


class Interrupted(BaseException):
    """A signal ends the run; the exit status is 128 and its number. Not an Exception: nobody handles it on the way."""

    def __init__(self, number: int, time: float | None = None, when: str = "") -> None:
        if time is not None:
            when = f" at t = {time:.6g}: the records up to then are kept"
        super().__init__(SIGNALS[signal.Signals(number)] + when)
        self.number, self.status = number, 128 + number


class _State:
    """What the signal handler, the watching thread and the steps share. One per process, as signals are."""

    pending = 0
    leftovers: tuple[Path, ...] | None = None
    settled = threading.Event()


def pending() -> int:
    """The number of the signal that this rank has received, or 0: to be carried, by its maximum, in another reduction."""
    return _State.pending


def agreed_signal(comm: Any) -> int:
    """Collective. The number of the signal that any of the ranks has received, or 0; from then on they come to an end by
    themselves, which may take as long as a checkpoint does."""
    number = np.array([_State.pending])
    if comm.size > 1:
        from mpi4py import MPI

        comm.Allreduce(MPI.IN_PLACE, number, op=MPI.MAX)
    if number[0]:
        _State.settled.set()
    return int(number[0])


def stop_together(comm: Any, time: float | None = None, agreed: int | None = None) -> None:
    """Collective. Raises Interrupted on all ranks alike if any of them has received a signal; once a step.

    Args:
        comm: All ranks of the run.
        time: Of the step, for the message.
        agreed: What `agreed_signal` has said, where it was asked already.
    """
    if agreed is None:
        agreed = agreed_signal(comm)
    if agreed:
        raise Interrupted(agreed, time)


@contextmanager
def deferred(*leftovers: Path) -> Iterator[None]:
    """Within the block signals wait for `stop_together`. `leftovers` are removed if the job has to end hard."""
    before, _State.leftovers = _State.leftovers, leftovers
    try:
        yield
    finally:
        _State.leftovers = before


@contextmanager
def signals_noted(comm: Any) -> Iterator[None]:
    """Within the block SIGINT, SIGTERM and SIGHUP are handled as this module says. In the main thread only."""
    _State.pending, _State.settled = 0, threading.Event()
    read, write = os.pipe()
    os.set_blocking(write, False)

    def note(number: int, frame: Any) -> None:
        _State.pending = max(_State.pending, number)
        if _State.leftovers is None and comm.size == 1:
            raise Interrupted(number)

    handlers = {number: signal.signal(number, note) for number in LISTENED}
    # The C part of the handler writes there even while this thread waits in MPI and cannot run Python's part.
    descriptor = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(comm, read, _State.settled), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _State.settled.set()
        os.close(write)  # ends the thread


def stop_early(comm: Any) -> None:
    """Collective. Raises Interrupted on all ranks alike if any of them has received a signal before MPI was there."""
    number = comm.allreduce(State.noted, op=max)
    State.noted = 0
    if number:
        raise Interrupted(number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block Ctrl-C waits for the end of a step, in the main thread of a program; a second one waits for nothing.

    Raises:
        KeyboardInterrupt: At the end of that step, or of the block.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours:
        yield
        return

    def note(number: int, frame: Any) -> None:
        if _State.pending:
            raise KeyboardInterrupt
        _State.pending = number

    _State.pending = 0
    signal.signal(signal.SIGINT, note)
    try:
        yield
        if _State.pending:
            raise KeyboardInterrupt("interrupted when the run was done")
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _State.pending = 0


def _watch(comm: Any, read: int, settled: threading.Event) -> None:
    received = os.read(read, 1)
    while received and received[0] not in SIGNALS:  # a timer's
        received = os.read(read, 1)
    if received:
        number = received[0]
        _State.pending = max(_State.pending, number)
        before = _State.leftovers is None and comm.size > 1
        # One of them speaks: rank 0 if it knows.
        agreed = settled.wait((0.0 if before else GRACE) + SPOKEN * (comm.rank > 0))
        if not agreed and before and _State.leftovers is not None:  # a file has been opened meanwhile: now the ranks can agree
            agreed = settled.wait(GRACE)
        if not agreed:
            for path in _State.leftovers or ():
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            abort(comm, 128 + number, SIGNALS[signal.Signals(number)])
    os.close(read)


def abort(comm: Any, status: int, message: str) -> None:
    """Ends all ranks at once, without their consent."""
    with suppress(OSError):
        print(f"mfpde: {one_line(message)}", file=sys.stderr, flush=True)
    if comm.size > 1:
        time.sleep(FORWARDED)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the line that matters is ours, not MPI's
        comm.Abort(status)
    os._exit(status)


@contextmanager
def real_reason() -> Iterator[None]:
    """What a callback of PETSc raised leaves the block as it was: PETSc itself says only which of its lines failed."""
    from petsc4py import PETSc

    try:
        yield
    except PETSc.Error as error:
        reason: BaseException = error
        while isinstance(reason, PETSc.Error) and reason.__cause__ is not None:
            reason = reason.__cause__
        if reason is error:
            raise
        raise reason from None
