"""Outputs that a configuration names: `output.also = ["csv"]`.

A module of this package holds one class derived from `mfpde.output.protocol.Output`, made without arguments; the module's name
is its name in a configuration.  A folder of one's own serves as well, once it is in `mfpde.formats.__path__`.
"""

import importlib
import pkgutil

from mfpde.errors import InputError, did_you_mean
from mfpde.output.protocol import Output
from mfpde.problem.sections import Config


def formats() -> dict[str, type[Output]]:
    """The outputs by the names of their modules."""
    found = {}
    for name in (module.name for module in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        kinds = (x for x in vars(module).values() if isinstance(x, type) and x.__module__ == module.__name__)
        found[name] = next(kind for kind in kinds if issubclass(kind, Output))
    return found


def names(config: Config) -> list[str]:
    """The outputs that a configuration asks for, each once.

    Raises:
        InputError: If there is none of such a name.
    """
    output = config.output
    wanted = [*(["plot"] if output.plot else []), *(["paraview"] if output.paraview else []), *output.also]
    for name in wanted:
        if name not in formats():
            hint = did_you_mean(name, formats())
            raise InputError(f"output.also: unknown output {name!r}{hint}; allowed: {', '.join(formats())}")
    return list(dict.fromkeys(wanted))


def outputs(config: Config) -> dict[str, Output]:
    """Those outputs, by name.

    Raises:
        InputError: If there is none of such a name.
    """
    return {name: formats()[name]() for name in names(config)}
