"""What all ranks do together: rank 0 acts and the others learn how it went; agreement at the end; shares of things."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, overload

from mfpde.errors import InputError, RunError

if TYPE_CHECKING:
    from mpi4py import MPI


@overload
def on_first[T](comm: MPI.Intracomm, action: Callable[[], T]) -> T: ...
@overload
def on_first[T](comm: MPI.Intracomm, action: Callable[[], T], share: bool) -> T | None: ...
def on_first(comm: MPI.Intracomm, action: Callable[[], object], share: bool = True) -> object:
    """Collective. The value of `action` on rank 0; what it raises is raised on all ranks.

    Args:
        comm: All ranks that call.
        action: Called on rank 0 alone.
        share: Whether the value is broadcast; otherwise it is None on the other ranks.

    Raises:
        InputError, RunError: On all ranks, if `action` raises one.
        RunError: On the other ranks, if `action` raises any other Exception, which rank 0 raises.
    """
    value = reason = None
    error: Exception | None = None
    if comm.rank == 0:
        try:
            value = action()
        except Exception as exception:
            error, reason = exception, _reason(exception)
    reason, shared = from_first(comm, (reason, value if share else None))
    if error is not None:
        raise error
    if reason is not None:
        raise reason[0](reason[1])
    return shared if share else value


def from_first[T](comm: MPI.Intracomm, value: T | None) -> T:
    """Collective. The value that rank 0 has found.

    The others sleep until then: MPI's own waiting keeps a core busy, which rank 0 may need.
    """
    if comm.size > 1:
        request, begin = comm.Ibcast(bytearray(1)), time.monotonic()
        while not request.Test():
            waited = time.monotonic() - begin
            if waited > BUSY:
                time.sleep(min(waited / 10, 0.01))
    found: T = comm.bcast(value)
    return found


# Seconds that a rank waits without sleeping.
BUSY = 1e-3


def _reason(error: Exception) -> tuple[type[InputError | RunError], str]:
    """What other ranks raise where this one raises `error`."""
    known = isinstance(error, InputError | RunError)
    return (InputError if isinstance(error, InputError) else RunError), str(error) if known else repr(error)


def together[T](comm: MPI.Intracomm, action: Callable[[], T]) -> T:
    """Collective. The value of `action` on each rank; what it raises on any of them is raised on all.

    A rank on which it fails while the others wait for it within the action raises alone, after a few seconds.

    Raises:
        Exception: What `action` raises on this rank.
        InputError, RunError: On the other ranks, with the reason of the first one on which it failed.
    """
    global _apart
    if comm.size == 1:
        return action()
    import numpy as np
    from mpi4py import MPI

    from mfpde.interrupts import GRACE

    error: Exception | None = None
    try:
        value = action()
    except Exception as exception:
        error = exception
    failed = np.array([error is not None])
    request = comm.Iallreduce(MPI.IN_PLACE, failed, op=MPI.LOR)
    if error is None:
        request.Wait()
    elif not _done(request, GRACE):
        _apart = True
        raise error
    if not failed[0]:
        return value
    reasons = comm.allgather(None if error is None else _reason(error))
    if error is not None:
        raise error
    kind, text = next(reason for reason in reasons if reason is not None)
    raise kind(text)


def _done(request: MPI.Request, seconds: float) -> bool:
    """Whether a request comes to its end within some time."""
    deadline = time.monotonic() + seconds
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def any_failed(comm: MPI.Intracomm, failed: bool, seconds: float) -> bool | None:
    """Collective where all is well. Whether any rank failed; None on one that did, if the others do not come here.

    Args:
        comm: All ranks.
        failed: Whether this one did, which the others may not know: it waits for them no longer than `seconds`, once.
    """
    global _apart
    if _apart:
        return None
    request = comm.Ibarrier()
    deadline = time.monotonic() + seconds
    while not request.Test():
        if failed and time.monotonic() > deadline:
            _apart = True
            return None
        time.sleep(0.001)
    return bool(any(comm.allgather(failed)))


# Whether this rank has waited for the others in vain.
_apart = False


def share(comm: MPI.Intracomm, count: int) -> tuple[int, int]:
    """The first and the last + 1 of this rank's part of `count` things, divided evenly and in order."""
    return count * comm.rank // comm.size, count * (comm.rank + 1) // comm.size
