"""What mfpde asks of PETSc beside its solvers: options checked, limits explained, events for -log_view."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from mfpde.errors import InputError

# Methods that integrate du/dt = f(t, u) from f alone; those that are implicit find its Jacobian by differences.
METHODS = ("rk", "euler", "ssp", "glee", "beuler", "cn", "theta", "bdf", "alpha", "dirk", "rosw", "arkimex", "pseudo")


def check_options(words: Sequence[str]) -> None:
    """Checks the names of time integrators among PETSc's options.

    Args:
        words: What stands behind -- on the command line.

    Raises:
        InputError: For an unknown one.
    """
    if not words:
        return
    from petsc4py import PETSc

    pairs = sorted(value for name, value in vars(PETSc.TS.RKType).items() if not name.startswith("_"))
    options = PETSc.Options()
    for name, allowed in (("ts_type", METHODS), ("ts_rk_type", pairs)):
        if options.hasName(name) and (value := options.getString(name, "")) not in allowed:
            raise InputError(f"-{name}: {value!r}; allowed: {', '.join(allowed)}")


def unused_options(words: Sequence[str]) -> list[str]:
    """Advice for each of the given options that nothing has asked for; PETSc itself then says nothing about them."""
    from petsc4py import PETSc

    options = PETSc.Options()
    if not options.hasName("options_left"):
        options.setValue("options_left", "no")
    names = [word.lstrip("-") for word in words if word.startswith("-") and not word.lstrip("-")[:1].isdigit()]
    alone = [name for name in names if name not in AT_END and not options.used(name)]
    return [f"the PETSc option -{name} was not used: is it misspelt?" for name in alone]


# Asked for when PETSc ends.
AT_END = ("log_view", "log_trace", "log_summary", "options_left", "options_view", "malloc_dump", "malloc_view", "objects_dump")


def limit_reached(ts: Any, final_time: float) -> str | None:
    """Which limit of the user's ended the time integration before `final_time`, in words; None if none did."""
    from petsc4py import PETSc

    reason = ts.getConvergedReason()
    if reason == PETSc.TS.ConvergedReason.CONVERGED_ITS:
        return f"-ts_max_steps {ts.getMaxSteps()} was reached at t = {ts.getTime():.6g}"
    if reason == PETSc.TS.ConvergedReason.CONVERGED_TIME and ts.getMaxTime() < final_time:
        return f"-ts_max_time {ts.getMaxTime():g} was reached, before training.final_time = {final_time:g}"
    return None


@cache
def event(name: str) -> Any:
    """An event of -log_view: `with event("moments"): ...` counts and times the block."""
    from petsc4py import PETSc

    return PETSc.Log.Event(f"mfpde {name}")
