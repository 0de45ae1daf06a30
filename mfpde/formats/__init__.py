"""Outputs that a configuration names: `output.also = ["csv"]`.

A module of this package holds one class derived from `mfpde.output.protocol.Output`, made without arguments; the module's name
is its name in a configuration.  A folder of one's own serves as well, once it is in `mfpde.formats.__path__`.
"""

import importlib
import pkgutil

from mfpde.errors import InputError, did_you_mean
from mfpde.output.protocol import Output
from mfpde.problem.sections import Config


def known() -> list[str]:
    """The names of all outputs, ascending."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> type[Output]:
    """The output of a name.

    Raises:
        InputError: If its module has none.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, Output) and kind.__module__ == module.__name__:
            return kind
    raise InputError(f"output.also: {module.__file__} has no output; allowed: a class derived from mfpde.Output")


def names(config: Config) -> list[str]:
    """The outputs that a configuration asks for, each once.

    Raises:
        InputError: If there is none of such a name.
    """
    output = config.output
    wanted = [*(["plot"] if output.plot else []), *(["paraview"] if output.paraview else []), *output.also]
    for name in wanted:
        if name not in known():
            hint = did_you_mean(name, known())
            raise InputError(f"output.also: unknown output {name!r}{hint}; allowed: {', '.join(known())}")
    return list(dict.fromkeys(wanted))


def outputs(config: Config) -> dict[str, Output]:
    """Those outputs, by name.

    Raises:
        InputError: If there is none of such a name.
    """
    return {name: find(name)() for name in names(config)}
