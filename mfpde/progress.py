"""A progress bar on rank 0's terminal, and the table that closes a run."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any


class Progress:
    """A bar over the training time with the loss, the step and an estimate of what remains; silent if not a terminal."""

    def __init__(self, rank: int, final_time: float) -> None:
        self._bar: Any = None
        if rank == 0 and _on_terminal():
            from tqdm import tqdm

            form = "t = {n:.4g}/{total:g} {bar} {percentage:3.0f}%{postfix}  {elapsed}<{remaining}"
            self._bar = tqdm(total=final_time, bar_format=form, ncols=LENGTH, mininterval=0.2)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, time: float, loss: float | None, steps: int) -> None:
        """Moves the bar to `time`."""
        if self._bar is not None:
            shown = "" if loss is None else f"E = {loss:.4g}, "
            self._bar.set_postfix_str(f"{shown}step {steps}", refresh=False)
            self._bar.update(time - self._bar.n)


def counter(rank: int, total: int, unit: str) -> Any:
    """A bar that counts to `total` on rank 0, with `update(n)`; a context manager, silent if not a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, unit=f" {unit}", ncols=LENGTH, mininterval=0.2, disable=rank > 0 or not _on_terminal())


def _on_terminal() -> bool:
    """Whether standard error ends at a terminal, also through the pipe of the launcher that started this rank."""
    if sys.stderr.isatty():
        return True
    if "PMI_RANK" not in os.environ:
        return False
    process = os.getppid()
    try:
        for _ in range(4):
            status = Path(f"/proc/{process}/status").read_text()
            name = status.split(maxsplit=2)[1]
            if name.startswith(("mpirun", "mpiexec")):
                return os.readlink(f"/proc/{process}/fd/2").startswith(("/dev/pts/", "/dev/tty"))
            process = int(status.partition("PPid:")[2].split(maxsplit=1)[0])
    except (OSError, IndexError, ValueError):
        pass
    return False


# Characters of the bar's line.
LENGTH = 100


def table(rows: list[tuple[str, str]]) -> str:
    """Rows of names and values as an aligned text."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left and the others to the right."""
    width = [max(len(row[c]) for row in (head, *rows)) for c in range(len(head))]
    lines = [
        [row[0].ljust(width[0]), *(cell.rjust(w) for cell, w in zip(row[1:], width[1:], strict=True))] for row in (head, *rows)
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)
