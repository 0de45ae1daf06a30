"""One way to integrate a flow, by any of the time integrators: each can check the others.

petsc    PETSc TS with the user's -ts_* options, by default the Dormand-Prince pair of order 5(4); steps end at the records
dop853   Dormand and Prince's pair of order 8 (SciPy); records come from its interpolant and do not shorten the steps
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Literal

from mfpde.evolution.flow import Flow, Step, Watch

Method = Literal["petsc", "dop853"]


def has_stepper_options() -> bool:
    """Whether the user has given PETSc options of a time integrator."""
    from petsc4py import PETSc

    return any(name.startswith("ts_") for name in PETSc.Options().getAll())


def integrate(
    flow: Flow,
    times: Sequence[float],
    tolerance: float,
    watch: Watch,
    method: Method | None = None,
) -> Step:
    """Collective. Integrates the flow from t = 0 and tells `watch` the state at each of `times` (ascending).

    Args:
        flow: The right-hand side.
        times: Record times in [0, final time]; the last one ends the run.
        tolerance: Error of one step, relative and absolute (in units of `flow.scales`).
        watch: Told of each record and each step, on all ranks.
        method: See the module; by default dop853, or petsc if the user has given any -ts_* option.

    Raises:
        RunError: On all ranks, when values are no longer finite or the step size underflows.
    """
    if method is None:
        method = "petsc" if has_stepper_options() else "dop853"
    step: Step = import_module(f"mfpde.evolution.{method}").integrate(flow, times, tolerance, watch)
    return step
