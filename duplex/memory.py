"""Memory that was used goes back to the system."""

import ctypes
from collections.abc import Callable


def _no_trim(_: int) -> int:
    return 0


_TRIM: Callable[[int], int] = getattr(ctypes.CDLL(None), "malloc_trim", _no_trim)


def give_back() -> None:
    """Have glibc return the pages that nothing lies in any more; it keeps them otherwise, and a
    process stays as large as its most demanding callers have made it. Takes milliseconds. Does
    nothing where the C library is another."""
    _TRIM(0)
