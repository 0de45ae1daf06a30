"""Time and memory of averaging and of the kernel matrix against the number of copies and the degree n of (1 + u)^n.

`python tests/benchmarks/averaging.py [LARGEST DEGREE]`: moments of one copy's law are taken once (393,216 nodes at p = 2),
then the n-fold convolution and the spectrum; peak memory is what Python allocates in each.
"""

import sys
import time
import tracemalloc
from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
from mpi4py import MPI

from mfpde.discretisations import build_problem, start_flow
from mfpde.moments.averaging import law_moments
from mfpde.moments.spectrum import kernel_modes, spectrum
from mfpde.problem.activation import parse_activation
from mfpde.problem.config import load


def cost(action: Callable[[], Any]) -> tuple[Any, str]:
    """The value, and seconds and peak memory of two runs."""
    start = time.perf_counter()
    action()
    seconds = time.perf_counter() - start
    tracemalloc.start()
    value = action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return value, f"{seconds:8.3f} s {peak / 1e6:6.2f} MB"


def main(most: int = 6) -> None:
    """Prints the tables, up to the degree `most`."""
    d = 1e4
    for p, degrees, options in (
        (1, (1, 2, 3, 4, 6), ["target.polynomial=z1 + z1**2/2", "discretization.cells=16"]),
        (2, (1, 2, 3, 4, 6), ["discretization.cells=16"]),
        (3, (1, 2, 3, 4), ["target.polynomial=z1 + z1*z2*z3", "discretization.cells=6", "discretization.a_nodes=12"]),
    ):
        config = load(None, ["discretization.r_nodes=3", f"input.dimension={d}", *options])
        flow = start_flow(MPI.COMM_SELF, build_problem(config), config.discretization)
        vector = np.empty(flow.size)
        flow.pack(vector)
        nodes = flow.nodes(vector)
        for n in (n for n in degrees if n <= most):
            law_moments(MPI.COMM_SELF, nodes, d - p, 2 * n)  # compiles the kernel
            law, one = cost(lambda: law_moments(MPI.COMM_SELF, nodes, d - p, 2 * n))  # noqa: B023
            print(f"p = {p}, n = {n}: {len(law.values):5d} moments of {nodes.a.size} nodes {one}", flush=True)
            activation = parse_activation(f"(1 + u)**{n}").polynomial
            assert activation is not None
            modes = kernel_modes(p, n, d, True)
            for copies in (2, 3, 4, 6):
                average, convolution = cost(lambda: law.average(copies))  # noqa: B023
                tuples = comb(nodes.a.size + copies - 1, copies)
                print(f"    {copies} copies {convolution}   ({tuples:.1e} tuples of nodes)", flush=True)
            _, eigen = cost(lambda: spectrum(average, activation, modes))  # noqa: B023
            print(f"    K and its spectrum, {len(modes)} modes {eigen}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
