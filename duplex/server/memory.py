"""Memory that was used goes back to the system."""

import ctypes
import gc
from collections.abc import Callable


def _no_trim(_: int) -> int:
    return 0


_TRIM: Callable[[int], int] = getattr(ctypes.CDLL(None), "malloc_trim", _no_trim)


def settle() -> None:
    """Call it when all that stays is loaded. Collections of garbage pass over it from then on:
    with it they hold up every call for a tenth of a second."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Free what ended calls have left behind in cycles, and have glibc return the pages that
    nothing lies in any more; a process stays as large as its most demanding callers have made it
    otherwise. Takes milliseconds after `settle`. Where the C library is another, it returns
    nothing."""
    gc.collect()
    _TRIM(0)
