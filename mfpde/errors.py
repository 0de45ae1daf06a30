"""The exceptions that mean: the user can mend this.  Their messages are one line of printable ASCII."""

import difflib
from collections.abc import Iterable
from typing import Any, Literal, TypedDict

# Characters of what the user wrote in a message, and of a message.
LONGEST_QUOTE, LONGEST_LINE = 80, 1200
# Characters of a name that is compared with others.
LONGEST_NAME = 40


class _Treated(TypedDict):
    """Of each kind of floating point error."""

    divide: Literal["ignore", "warn"]
    over: Literal["ignore", "warn"]
    under: Literal["ignore", "warn"]
    invalid: Literal["ignore", "warn"]


# How numpy treats floating point errors unless told otherwise: a program's own `np.seterr` is not for what runs within ours.
USUAL = _Treated(divide="warn", over="warn", under="ignore", invalid="warn")


class InputError(Exception):
    """Bad input, said in one line that names the key and what is allowed; the exit status is 2."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class RunError(Exception):
    """The run cannot go on (blow-up, step size underflow): one line with the time and advice; the exit status is 1."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(message: str) -> str:
    """A message as one line that can be read: printable ASCII, without the middle of very long ones."""
    words = " ".join(message.split())
    line = "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in _shortened(words, LONGEST_LINE))
    return _shortened(line, LONGEST_LINE)


def quoted(value: Any) -> str:
    """What the user wrote, for a message: its repr in ASCII, shortened in the middle."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # integers of more than 4,300 digits
        return f"a value of type {type(value).__name__} that is too long to print"
    return _shortened(text, LONGEST_QUOTE)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint at the nearest of the names, for a message; empty if none is near."""
    near = difflib.get_close_matches(name[:LONGEST_NAME], list(names), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _shortened(text: str, longest: int) -> str:
    half = longest // 2 - 3
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"
