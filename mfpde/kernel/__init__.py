"""The kernel matrix with which the outer weights learn, its spectrum and its rate: `python -m mfpde.kernel`."""

from mfpde.callable import make_callable

make_callable(__name__, calls="mfpde.kernel.study", function="solve_kernel")
