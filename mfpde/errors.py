"""The exceptions that mean: the user can mend this."""


class InputError(Exception):
    """Bad input, said in one line that names the key and what is allowed; the exit status is 2."""


class RunError(Exception):
    """The run cannot go on (blow-up, step size underflow): one line with the time and advice; the exit status is 1."""


def one_line(message: str) -> str:
    """A message as one line that can be read: without line breaks, and without the middle of very long ones."""
    words = " ".join(message.split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST // 2]} ... {words[-LONGEST // 2 :]}"


# Characters of a message.
LONGEST = 1000
