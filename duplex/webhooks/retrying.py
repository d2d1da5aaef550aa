"""What becomes of an event after a try to deliver it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Literal

from engine.remote.retries import retry_after_s

_PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_DOUBLINGS = 20  # more than any pause is short for


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries: twice as long each time."""

    first_s: float = 1.0
    most_s: float = 300.0

    def pause_s(self, tries: int, chance: float) -> float:
        """The wait after ``tries`` tries; ``chance`` in [0, 1) takes up to half of it away, so that
        many events do not return together."""
        longest = min(self.most_s, self.first_s * 2.0 ** min(tries - 1, _DOUBLINGS))
        return longest * (1 - chance / 2)


BACKOFF = Backoff()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of one try: a status and headers with names in lower case, or, if nothing
    came, why."""

    status: int | None = None
    headers: Mapping[str, str] | None = None
    failure: str = ""


Verdict = Literal["delivered", "again", "refused", "gone"]


def verdict(answer: Answer) -> Verdict:
    """``again``: it may pass. ``refused``: the receiver does not want this event, or has moved.
    ``gone``: it wants none any more."""
    status = answer.status
    if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        return "again"
    if status == HTTPStatus.GONE:
        return "gone"
    return "delivered" if 200 <= status < 300 else "refused"


def wait_s(
    answer: Answer, tries: int, left_s: float, backoff: Backoff, chance: float, now: datetime
) -> float | None:
    """How long to wait before the next try: by ``backoff``, and not less than the receiver asks for
    (``Retry-After``). None: that would be later than ``left_s`` from now, and the event is given
    up."""
    asked = retry_after_s(answer.headers, now) if answer.headers is not None else None
    pause = max(backoff.pause_s(tries, chance), asked or 0.0)
    return pause if pause <= left_s else None
