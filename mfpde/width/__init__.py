"""What a network of N neurons does: E[E_N(t)] = E(t) + c(t)/N, deviation s(t)/sqrt(N): `python -m mfpde.width`."""

from typing import Any

from mfpde.callable import make_callable

__all__ = ["Width", "width"]

make_callable(__name__, calls="mfpde.width.calculate")


def __getattr__(name: str) -> Any:
    """Loads the room when it is first entered."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mfpde.width import answer, calculate

    return {"Width": answer.Width, "width": calculate.width}[name]
