"""The density of the neurons: push-forward of the initial law, marginals on bins, entropy."""

from typing import Any

__all__ = ["Density", "density"]


def __getattr__(name: str) -> Any:
    """Loads the room when it is first entered."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mfpde.density import marginal

    return getattr(marginal, name)
