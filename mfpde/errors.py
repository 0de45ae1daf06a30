"""The one exception that means: the user can mend this."""


class InputError(Exception):
    """Bad input, said in one line that names the key and what is allowed; the exit status is 2."""


class RunError(Exception):
    """The run cannot go on (blow-up, step size underflow): one line with the time and advice; the exit status is 1."""
