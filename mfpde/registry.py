"""Things that a configuration names, each a class in a module of its own: laws, terms, outputs.

A text such as "uniform(-1, 1)" names the module `uniform` of a package and gives its class its numbers.  Nothing is listed by
hand: a module that lies in the package, or in a folder that was added to its `__path__`, is found.
"""

import importlib
import pkgutil
import re
import sys
from abc import ABC
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import ClassVar, Self

from mfpde.errors import InputError, did_you_mean, quoted


class Named(ABC):
    """A frozen dataclass that a text of the configuration names; its fields are what stands between the brackets.

    A kind of them, such as laws, is a subclass in the `__init__` of a package; each module of the package holds one of the kind.

    Attributes:
        usage: How the configuration writes it, e.g. "uniform(b, c)".
    """

    usage: ClassVar[str]

    @classmethod
    def read(cls, arguments: str) -> Self:
        """The object of what stands between the brackets of its text: by default its fields, one number each.

        Raises:
            ValueError: If that is not what the class takes; with a message that begins with "has" if it is of the right form.
        """
        assert is_dataclass(cls)
        numbers = [float(x) for x in arguments.split(",")] if arguments.strip() else []
        if len(numbers) != len(fields(cls)) or not all(map(isfinite, numbers)):
            raise ValueError
        return cls(*numbers)

    @classmethod
    def classes(cls) -> dict[str, type[Self]]:
        """All of this kind, by the names of their modules.

        Raises:
            InputError: If a module cannot be loaded, holds none, or one that cannot be made from a text.
        """
        package = sys.modules[cls.__module__]
        found: dict[str, type[Self]] = {}
        for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
            try:
                module = importlib.import_module(f"{package.__name__}.{name}")
            except Exception as error:  # a user's module may fail in any way
                raise InputError(f"the module {name!r} of {package.__name__} cannot be loaded: {error!r}") from None
            members = (x for x in vars(module).values() if isinstance(x, type) and issubclass(x, cls))
            own = [x for x in members if x.__module__ == module.__name__]
            if not own:
                raise InputError(f"the module {name!r} of {package.__name__} holds no {cls.__name__}; allowed: one class of it")
            if wrong := _unfit(own[-1]):
                raise InputError(f"the module {name!r} of {package.__name__}: {own[-1].__name__} {wrong}")
            found[name] = own[-1]
        return found

    @classmethod
    def parse(cls, text: str, key: str, what: str) -> Self:
        """The object that a text such as "uniform(-1, 1)" names.

        Args:
            text: What the user wrote.
            key: Where, for messages.
            what: What it was to be, e.g. "law of a".

        Raises:
            InputError: If there is no such class, or its numbers are out of range.
        """
        classes = cls.classes()
        allowed = f"allowed: {', '.join(each.usage for each in classes.values())}"
        match = re.fullmatch(r"\s*([a-z_][a-z_0-9]*)\s*(?:\((.*)\))?\s*", text)
        chosen = classes.get(match.group(1)) if match else None
        hint = did_you_mean(match.group(1), classes) if match and chosen is None else ""
        try:
            if match is None or chosen is None:
                raise ValueError
            return chosen.read(match.group(2) or "")
        except ValueError as error:
            reason = str(error) if str(error).startswith("has ") else f"is no {what}"
            raise InputError(f"{key}: {quoted(text)} {reason}{hint}; {allowed}") from None


def _unfit(found: type[Named]) -> str:
    """What keeps a class from being made from a text; "" if nothing does."""
    if missing := sorted(found.__abstractmethods__):
        return f"has no {' and no '.join(missing)}"
    if not isinstance(getattr(found, "usage", None), str):
        return 'has no usage; allowed: a text, such as usage = "uniform(b, c)"'
    return "" if is_dataclass(found) else "is no dataclass"
