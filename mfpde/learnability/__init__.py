"""What a network can learn of a polynomial, exactly and before any run: `python -m mfpde.learnability`."""

from mfpde.callable import make_callable

make_callable(__name__, calls="mfpde.learnability.report")
