"""Spans as a call's trace writes them, whatever exports them."""

from collections.abc import Mapping
from typing import Protocol

Value = str | bool | int | float | list[str]


class Span(Protocol):
    """One that was begun. Times are seconds since the call began."""

    def child(self, name: str, start_s: float, attributes: Mapping[str, Value]) -> "Span":
        """Begin one inside it."""

    def end(self, end_s: float, attributes: Mapping[str, Value], error: str = "") -> None:
        """End it, so that it is exported; ``error`` is the kind of it, if there was one."""
