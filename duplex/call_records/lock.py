"""Tells the recordings of living processes from those that were left behind: each holds a lock on
its journal, which ends with the process. Where there are no such locks nothing is held."""

import importlib.util
from typing import BinaryIO

_HAS_LOCKS = importlib.util.find_spec("fcntl") is not None


def lock(file: BinaryIO) -> None:
    """Hold ``file`` until it is closed."""
    if _HAS_LOCKS:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(file: BinaryIO) -> bool:
    """Whether somebody else holds it."""
    try:
        lock(file)
    except BlockingIOError:
        return True
    return False
