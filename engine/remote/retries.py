"""When a refused request is made again: soon, or not at all, because a caller waits in silence."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

PATIENCE_S = 3.0  # for all waits of one request; longer silence is worse than an error
MAX_TRIES = 3
_PAUSES_S = (0.25, 0.75)  # before the second and third try, where the service names none
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})


def pause_s(status: int, headers: Mapping[str, str], tries: int, now: datetime) -> float | None:
    """Seconds to wait before trying again after ``tries`` tries; None: it is of no use.

    ``headers`` have names in lower case. ``Retry-After`` is read in both its forms (RFC 9110,
    section 10.2.3), and OpenAI's ``retry-after-ms`` and ``x-should-retry``.
    """
    if status not in _PASSING or tries >= MAX_TRIES or headers.get("x-should-retry") == "false":
        return None
    asked = retry_after_s(headers, now)
    return _PAUSES_S[tries - 1] if asked is None else asked


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """After how long the service wants to be asked again; None if it does not say."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    seconds = _number(asked)
    if seconds is not None or asked is None:
        return seconds
    try:
        date = parsedate_to_datetime(asked)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
