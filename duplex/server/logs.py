"""Logs: lines for people, or JSON objects for machines. Never words or audio of a call."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

_CALL = re.compile(r"call-\d+\b")  # our messages about a call begin with its id


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, the call if it is about one, and the traceback if there is."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        if call := _CALL.match(message):
            line["call"] = call[0]
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(style: Literal["text", "json"], *, verbose: bool) -> None:
    """Log to standard error from now on, in this style; takes the place of an earlier call."""
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
    # At DEBUG it writes the frames themselves; at INFO, each health check.
    logging.getLogger("websockets").setLevel(logging.INFO if verbose else logging.WARNING)
