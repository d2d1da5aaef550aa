"""Names of events, items and responses. Injected, so that a test's ids are predictable."""

import secrets
from collections.abc import Callable
from itertools import count

NewId = Callable[[str], str]
"""Prefix in (``event``, ``item``, ``resp``, ...), an id never given before out."""


def random_id(prefix: str) -> str:
    """Return ``<prefix>_<16 hex digits>``: at most 32 characters for our prefixes, which is the
    longest that clients accept, and not guessable."""
    return f"{prefix}_{secrets.token_hex(8)}"


def counting_ids() -> NewId:
    """Return a source of ``item_1``, ``event_2``, ...: one count for all prefixes."""
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"
