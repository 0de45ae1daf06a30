"""What all ranks do together: rank 0 acts and the others learn how it went; shares of a number of things."""

from collections.abc import Callable
from typing import Any

from mfpde.errors import InputError


def on_first(comm: Any, action: Callable[[], Any], share: bool = True) -> Any:
    """Collective. The value of `action` on rank 0; its InputError is raised on all ranks.

    Args:
        comm: All ranks that call.
        action: Called on rank 0 alone.
        share: Whether the value is broadcast; otherwise it is None on the other ranks.

    Raises:
        InputError: On all ranks, if `action` raises one.
    """
    value = error = None
    if comm.rank == 0:
        try:
            value = action()
        except InputError as exception:
            error = str(exception)
    error, shared = comm.bcast((error, value if share else None))
    if error is not None:
        raise InputError(error)
    return shared if share else value


def share(comm: Any, count: int) -> tuple[int, int]:
    """The first and the last + 1 of this rank's part of `count` things, divided evenly and in order."""
    return count * comm.rank // comm.size, count * (comm.rank + 1) // comm.size
