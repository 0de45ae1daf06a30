"""The code of examples/EXTEND.md, for the tests that run it."""

import re
import tomllib
from pathlib import Path
from typing import Any

from mpi4py import MPI

import mfpde

PAGE = Path(__file__).parents[1] / "examples" / "EXTEND.md"
SELF = MPI.COMM_SELF


def blocks() -> dict[str, str]:
    """The page's pieces of code by their first line."""
    found = re.findall(r"^```python\n# ([^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(found)


def run(*names: str, **known: Any) -> dict[str, Any]:
    """The names that pieces of code define, one after another."""
    space = {"__name__": "extension", **known}
    for name in names:
        exec(compile(blocks()[name], name, "exec"), space)
    return space


def dropped(name: str, folder: Path) -> Path:
    """The module of the page, as a file in a folder of its own."""
    folder.mkdir(exist_ok=True)
    (folder / Path(name).name).write_text(blocks()[name])
    return folder


# Neurons do not see one another, nor the target 0: a term alone moves them.


ALONE = ["target.polynomial=0*z1*z2", "training.interaction=false", "training.xi_a=2.0", "training.xi_w=1.0"]
SMALL = [*(f"discretization.{key}" for key in ("a_nodes=4", "r_nodes=2", "cells=4", "accuracy=false")), "input.dimension=20"]


def sections_of(overrides: list[str], *more: str) -> dict[str, Any]:
    """The sections of a configuration, as `mfpde.run` takes them."""
    return tomllib.loads(mfpde.load(None, [*overrides, *more]).to_toml())
