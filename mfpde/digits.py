"""Numbers as they are printed: with the digits that an error leaves."""

from math import floor, isfinite, log10
from sys import float_info


def credible(value: float, error: float) -> str:
    """The value with the digits that hold, and the error of the last one in brackets: 0.43545(2) for 0.435448 +- 1.6e-5.

    The error is rounded up to one digit, or to two where the first one is 1; it is at least the rounding of double precision.
    Small numbers have a power of ten, see `scientific`.
    """
    if not (isfinite(value) and isfinite(error)):
        return f"{value:g} +- {error:g}"
    if error <= 0:
        return f"{value:.10g}"
    if max(abs(value), error) < SMALL:
        return scientific(value, error)
    error = max(error, float_info.epsilon * abs(value))
    digits = -floor(log10(error))
    if error * 10**digits < 2:
        digits += 1
    shown = _up(error * 10.0**digits)
    if shown >= 100 or (shown >= 10 and not error * 10 ** (digits - 1) < 2):  # rounding up may add a digit
        digits -= 1
        shown = _up(error * 10.0**digits)
    if digits <= 0:
        return f"{round(value, digits):.0f}({shown * 10**-digits:.0f})"
    return f"{value:.{digits}f}({shown})"


def scientific(value: float, error: float) -> str:
    """The same with a power of ten: 2.953(2)e-10; without digits that hold, the error alone, rounded up: 0(3e-12)."""
    if not isfinite(error) or error <= 0:
        return f"{value:.6e}"
    if abs(value) <= error:
        power = floor(log10(error))
        first = _up(error / 10.0**power)
        return f"0({first}e{power})" if first < 10 else f"0(1e{power + 1})"
    power = floor(log10(abs(value)))
    shown = credible(value / 10.0**power, error / 10.0**power)
    if shown.lstrip("-").startswith("10"):  # rounded up to the next power
        power += 1
        shown = credible(value / 10.0**power, error / 10.0**power)
    return f"{shown}e{power}"


# Numbers below it have a power of ten.
SMALL = 1e-4


def _up(x: float) -> int:
    """Rounded up, but for rounding errors."""
    return floor(x) + (x - floor(x) > 1e-9)
