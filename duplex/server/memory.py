"""Keeps garbage collection short, and gives memory that is not used back to the system."""

import ctypes
import gc
from collections.abc import Callable


def _no_trim(_: int) -> int:
    return 0


_TRIM: Callable[[int], int] = getattr(ctypes.CDLL(None), "malloc_trim", _no_trim)


def settle() -> None:
    """Have garbage collections pass over all that is loaded now. Call it once, when all that stays
    is loaded: collections that look at the models hold up every call
    (docs/decisions/0045-measured-bounds.md)."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Free what ended calls have left behind in cycles, and have glibc return empty pages to the
    system; otherwise a process stays as large as it ever was. Takes milliseconds after `settle`.
    Another C library returns no pages."""
    gc.collect()
    _TRIM(0)
