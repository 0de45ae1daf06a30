"""Speed of the right-hand side on one core, by part, and against the same formulas in numpy.

Run by `make benchmark`. An unknown-update is one evaluation of the time derivative of one of q, A, R at one node.
"""

import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from mfpde.affine.flow import AffineFlow
from mfpde.discretisations import build_problem, start_flow
from mfpde.features.hermite.table import evaluate
from mfpde.problem.config import load


def best(action: Callable[[], object], repeat: int = 7) -> float:
    """The shortest of several times: the least disturbed one."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def numpy_moments(flow: AffineFlow, state) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The moments by whole-array operations, slice by slice."""
    total = np.zeros(len(flow.modes))
    y = flow.slices.y.reshape(flow.problem.p, -1).T
    for s, label in enumerate(flow.slices.label_weight):
        v = y @ flow.frames(state)[s].T + state.M[s]
        r, w = state.r[s].ravel(), (flow.slices.weight * state.q[s] * state.a[s]).ravel()
        G = evaluate(flow.features.table, (v**2).sum(axis=1) + r**2)
        for i in range(len(flow.modes)):
            mu = np.prod(v ** flow.modes.alpha[i], axis=1) * r ** (2 * flow.modes.radial[i])
            total[i] += label * flow.modes.normalization[i] * (w @ (mu * G[:, flow.modes.degree[i]]))
    return total


def main() -> None:
    for p, polynomial, options in (
        (1, "z1 + z1**2/2", ["discretization.a_nodes=32"]),
        (2, "z1 + z1*z2", ["discretization.a_nodes=12"]),
        (3, "z1 + z1*z2*z3", ["discretization.a_nodes=6", "discretization.r_nodes=1", "discretization.cells=8"]),
    ):
        config = load(None, ["discretization.frame=affine", f"target.polynomial={polynomial}", *options])
        flow = start_flow(MPI.COMM_SELF, build_problem(config), config.discretization)
        assert isinstance(flow, AffineFlow)
        vector, out = np.empty(flow.layout.size), np.empty(flow.layout.size)
        flow.layout.pack(vector)
        state = flow.layout.views(vector)
        flow.rates(0.0, vector, out)
        whole = best(lambda: flow.rates(0.0, vector, out))  # noqa: B023
        moments = best(lambda: flow.evaluate(state, 0.0))  # noqa: B023
        fields, rates = (state.q, state.a, state.r), flow.layout.blocks(out)
        into = rates["q"], rates["a"], rates["r"]
        transport = best(lambda: flow.slices.transport.apply(flow._beta, fields, into))  # noqa: B023
        plain = best(lambda: numpy_moments(flow, state), 1)  # noqa: B023
        velocity = whole - moments - transport
        print(
            f"p = {p}: {flow.layout.size / whole / 1e6:6.1f} million unknown-updates/s;  moments {moments / whole:4.0%}, "
            f"velocity and frame {velocity / whole:4.0%}, transport {transport / whole:4.0%};  "
            f"moments {plain / moments:5.1f} times as fast as numpy"
        )


if __name__ == "__main__":
    main()
