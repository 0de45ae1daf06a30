"""Indicators of what a run may not resolve, one number each at every record: a table of modules.

A module of this package is one indicator: `compute(view)`, the LIMIT above which the resolution no longer fits, the ADVICE
what helps, and NEEDS, the members of a flow that it looks at: for a flow without them it is recorded as 0.  None of them is
an error bound; all of them grow before the solution goes wrong.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mfpde.features.features import Moments


@dataclass(frozen=True)
class View:
    """What an indicator looks at: a flow, one of its states, and the moments of that state."""

    flow: Any
    state: Any
    moments: Moments


@dataclass(frozen=True)
class Indicator:
    """One row of the table.

    Attributes:
        compute: Collective. The number, the same on all ranks.
        limit, advice: Above it, say this.
        needs: Members of the flows for which it means something.
    """

    compute: Callable[[View], float]
    limit: float
    advice: str
    needs: tuple[str, ...]


@cache
def indicators() -> dict[str, Indicator]:
    """All indicators by name."""
    modules = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    return {name: Indicator(module.compute, module.LIMIT, module.ADVICE, module.NEEDS) for name, module in modules.items()}


def seen(flow: Any, state: Any, moments: Moments) -> dict[str, float]:
    """Collective. All indicators of a state."""
    view = View(flow, state, moments)
    meant = {name: all(hasattr(flow, member) for member in row.needs) for name, row in indicators().items()}
    return {name: row.compute(view) if meant[name] else 0.0 for name, row in indicators().items()}


def warnings(values: Mapping[str, float]) -> dict[str, str]:
    """Advice for each indicator that is over its limit."""
    return {name: row.advice for name, row in indicators().items() if values.get(name, 0.0) > row.limit}
