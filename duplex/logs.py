"""Logs: lines for people, or JSON objects for machines. Never words or audio of a call.

A message about a call is logged with `call_logger`: the call's id stands in front of the message,
and in the record, where it becomes the field ``call`` of the object.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class CallLogger(_Adapter):
    """A module's logger for the messages about one call. Make one with `call_logger`."""

    def __init__(self, logger: logging.Logger, call_id: str) -> None:
        super().__init__(logger)
        self._call_id = call_id

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the call's id in front of the message and into the record."""
        extra = {**(kwargs.get("extra") or {}), "call": self._call_id}
        return f"{self._call_id} {msg}", {**kwargs, "extra": extra}


AnyLogger = logging.Logger | CallLogger
"""What logs: with a call's id, or for what belongs to no call."""


def call_logger(logger: logging.Logger, call_id: str) -> CallLogger:
    """Return ``logger`` for the messages about the call ``call_id``."""
    return CallLogger(logger, call_id)


def iso(at_s: float) -> str:
    """Unix time as ISO 8601, in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, the call if it is about one, and the traceback if there is."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (call := getattr(record, "call", None)) is not None:
            line["call"] = call
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(style: Literal["text", "json"], *, verbose: bool) -> None:
    """Log to standard error from now on, in this style. A later call replaces an earlier one."""
    handler = logging.StreamHandler(sys.stderr)
    handler.name = "duplex"
    if style == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if each.name == handler.name]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    # At DEBUG they write what passes; at INFO, each health check and each request of a turn.
    for library in ("websockets", "httpx2", "httpcore2"):
        logging.getLogger(library).setLevel(logging.INFO if verbose else logging.WARNING)
