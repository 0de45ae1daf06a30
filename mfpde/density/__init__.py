"""The density of the neurons: push-forward of the initial law, marginals on bins, entropy: `python -m mfpde.density`."""

from typing import Any

from mfpde.callable import make_callable

__all__ = ["Density", "density"]

make_callable(__name__, calls="mfpde.density.marginal")


def __getattr__(name: str) -> Any:
    """Loads the room when it is first entered."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mfpde.density import marginal

    return getattr(marginal, name)
