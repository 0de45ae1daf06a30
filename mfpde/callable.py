"""Modules that can be called: `mfpde.solve(...)` and `python -m mfpde.solve` are one name."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that is called like the function of its own name, or like another one."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        name = self.__dict__.get("FUNCTION", self.__name__.rpartition(".")[2])
        return getattr(import_module(self.__dict__.get("CALLS", self.__name__)), name)(*arguments, **options)


def make_callable(module: str, calls: str | None = None, function: str | None = None) -> None:
    """Lets a module be called.

    Args:
        module: Its name.
        calls: The module that holds the function, if it is another one.
        function: Its name, if it is not that of the module.
    """
    found = sys.modules[module]
    found.__class__ = CallableModule
    if calls is not None:
        found.__dict__["CALLS"] = calls
    if function is not None:
        found.__dict__["FUNCTION"] = function
