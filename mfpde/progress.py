"""What rank 0 says while a run goes on, a bar on a terminal and lines elsewhere, and the table that closes it."""

import logging
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from mfpde.early import launched
from mfpde.errors import InputError, one_line

# Said by a command that is not --quiet, and written to --log FILE; a program that uses the package may listen, too.
LOG = logging.getLogger("mfpde")
# Lines on how far a run is: a bar takes their place on a terminal.
PACE = logging.getLogger("mfpde.pace")
# Seconds between two of those.
EVERY = 30.0
Told = Callable[[float, float | None, int], None]


class _State:
    """What a command was told."""

    quiet = False
    log_failed = False


class Progress:
    """How far a run is, said by rank 0: a bar on a terminal, else a line every 30 s.

    Args:
        rank: Rank of this process.
        final_time: Final time of the run.
        shown: True for a bar wherever standard error goes, False for silence, a function of (time, loss or None, steps) that
            is told of every step instead; None for the usual.
    """

    def __init__(self, rank: int, final_time: float, shown: "bool | Told | None" = None) -> None:
        self._bar: Any = None
        self._told = shown if callable(shown) and rank == 0 else None
        self._speaks = rank == 0 and not callable(shown) and shown is not False
        self._final, self._started = final_time, time.monotonic()
        self._last, self._begun = self._started, (0.0, self._started)
        if self._speaks and (shown or (on_terminal() and not _State.quiet)):
            from tqdm import tqdm

            form = "t = {n:.4g}/{total:g} {bar} {percentage:3.0f}%{postfix}  {elapsed}<{remaining}"
            self._bar = tqdm(total=final_time, bar_format=form, ncols=LENGTH, mininterval=0.2)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, when: float, loss: float | None, steps: int) -> None:
        """The run has come to the time `when`."""
        if self._told is not None:
            self._told(when, loss, steps)
        if self._bar is not None:
            shown = "" if loss is None else f"E = {loss:.4g}, "
            self._bar.set_postfix_str(f"{shown}step {steps}", refresh=False)
            self._bar.update(when - self._bar.n)
        now = time.monotonic()
        if when < self._begun[0]:  # another run of the same training begins
            self._begun = (when, now)
        if self._speaks and now - self._last >= EVERY:
            self._last = now
            PACE.info(self._line(when, loss, steps, now))

    def _line(self, when: float, loss: float | None, steps: int, now: float) -> str:
        start, since = self._begun
        left = (now - since) * (self._final - when) / (when - start) if when > start else float("inf")
        shown = "" if loss is None else f", E = {loss:.6g}"
        remains = f"about {duration(left)} left" if left < float("inf") else "no end in sight"
        return f"t = {when:.4g} of {self._final:g}{shown}, step {steps}, {duration(now - self._started)} so far, {remains}"


class Heartbeat:
    """A line now and then from what has no progress of its own, such as studies."""

    last = 0.0

    @classmethod
    def beat(cls, text: Callable[[], str]) -> None:
        """Says `text` if nothing was said for 30 s."""
        now = time.monotonic()
        cls.last = cls.last or now
        if now - cls.last >= EVERY:
            cls.last = now
            PACE.info(text())


def duration(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class _LogFile(logging.FileHandler):
    """A log that cannot be written any more says so once, and the run goes on."""

    def handleError(self, record: logging.LogRecord) -> None:
        self.fail(sys.exception())

    def write(self, text: str) -> None:
        """Lines as they are."""
        try:
            if self.stream is not None:
                self.stream.write(f"{text}\n")
                self.flush()
        except (OSError, ValueError) as error:
            self.fail(error)

    def close(self) -> None:
        with suppress(OSError, ValueError):
            super().close()

    def fail(self, error: BaseException | None) -> None:
        if not _State.log_failed:
            _State.log_failed = True
            reason = getattr(error, "strerror", None) or error
            warn(f"--log: cannot write {self.baseFilename!r}: {reason}; what follows is not in it")


def log_failed() -> bool:
    """Whether the log of this process lacks something."""
    return _State.log_failed


class _Lines(logging.Handler):
    """Writes lines to standard output, above the bar if there is one; a reader that has left is no error."""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"mfpde: {record.getMessage()}"
        with suppress(OSError, ValueError):
            if not is_read():
                return
            if "tqdm" in sys.modules:
                sys.modules["tqdm"].tqdm.write(text, file=sys.stdout)
            else:
                print(text)
            sys.stdout.flush()


def speak(rank: int, quiet: bool, log: Path | None) -> None:
    """What a command says while it runs, from now on and by rank 0: on standard output, and in a file.

    Args:
        rank: Rank of this process.
        quiet: Whether nothing is said on standard output.
        log: File of all lines, with their dates; appended to.

    Raises:
        InputError: If the file cannot be written.
    """
    _State.quiet, _State.log_failed = quiet, False
    for handler in list(LOG.handlers):
        LOG.removeHandler(handler)
        handler.close()
    if rank > 0 or (quiet and log is None):
        LOG.setLevel(logging.CRITICAL)
        return
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    if not quiet:
        lines = _Lines()
        lines.addFilter(lambda record: record.name != PACE.name or not on_terminal())
        LOG.addHandler(lines)
    if log is not None:
        try:
            to_file = _LogFile(log, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise InputError(f"--log: cannot write {str(log)!r}: {error.strerror}; allowed: a file that can be written") from None
        to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        LOG.addHandler(to_file)


def is_read() -> bool:
    """Whether anybody reads standard output: a launcher whose reader has left, such as head, would take its ranks with it."""
    process = launcher() if launched() is not None else None
    if process is None:
        return True
    try:
        place = f"/proc/{process}/fd/1"
        if stat.S_ISFIFO(os.stat(place).st_mode):
            pipe = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
            poll = select.poll()
            poll.register(pipe, 0)
            left = any(seen & select.POLLERR for _, seen in poll.poll(0))
            os.close(pipe)
            return not left
    except OSError:
        pass
    return True


def report(text: str) -> None:
    """The lines that close a command: on standard output unless it is to be quiet, and in its log."""
    if not _State.quiet and is_read():
        print(text, flush=True)
    _log(text)


def warn(text: str) -> None:
    """One line of advice: on standard error, also where a command is to be quiet, and in its log."""
    line = f"mfpde: warning: {one_line(text)}"
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
    _log(line)


def remark(text: str) -> None:
    """One line on what a command has done so far: on standard error unless it is to be quiet, and in its log."""
    line = f"mfpde: {one_line(text)}"
    if not _State.quiet:
        print(line, file=sys.stderr, flush=True)
    _log(line)


def _log(text: str) -> None:
    for handler in LOG.handlers:
        if isinstance(handler, _LogFile) and not _State.log_failed:
            handler.write(text)


def counter(rank: int, total: int, unit: str) -> Any:
    """A bar that counts to `total` on rank 0, with `update(n)`; a context manager, silent if not a terminal."""
    from tqdm import tqdm

    return tqdm(
        total=total, unit=f" {unit}", ncols=LENGTH, mininterval=0.2, disable=rank > 0 or _State.quiet or not on_terminal()
    )


def on_terminal() -> bool:
    """Whether standard error ends at a terminal, also through the pipe of the launcher that started this rank."""
    if sys.stderr.isatty():
        return True
    process = launcher() if launched() is not None else None
    try:
        return process is not None and os.readlink(f"/proc/{process}/fd/2").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False


def launcher() -> int | None:
    """The process of the mpirun that started this rank, if it runs on the same machine."""
    process = os.getppid()
    try:
        for _ in range(4):
            status = Path(f"/proc/{process}/status").read_text()
            name = status.split(maxsplit=2)[1]
            if name.startswith(("mpirun", "mpiexec")):
                return process
            process = int(status.partition("PPid:")[2].split(maxsplit=1)[0])
    except (OSError, IndexError, ValueError):
        pass
    return None


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
