"""The two exceptions that mean: the user can mend this.  Their messages are one line of printable ASCII."""

from typing import Any

LONGEST_QUOTE, LONGEST_LINE = 80, 1200


class _OneLine(Exception):
    """An error whose message is one line, whatever was quoted in it."""

    def __init__(self, message: str) -> None:
        line = "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in message[: LONGEST_LINE + 1])
        super().__init__(line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 4] + " ...")


class InputError(_OneLine):
    """Bad input, said in one line that names the key and what is allowed; the exit status is 2."""


class RunError(_OneLine):
    """The run cannot go on (blow-up, step size underflow): one line with the time and advice; the exit status is 1."""


def quoted(value: Any) -> str:
    """What the user wrote, for a message: its repr in ASCII, shortened in the middle."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # integers of more than 4,300 digits
        return f"a value of type {type(value).__name__} that is too long to print"
    half = LONGEST_QUOTE // 2 - 3
    return text if len(text) <= LONGEST_QUOTE else f"{text[:half]} ... {text[-half:]}"
