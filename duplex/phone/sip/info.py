"""Keys of the telephone that come as SIP INFO (RFC 6086) in place of the sound's stream. Sans-IO.

No standard describes the two bodies. They are read as gateways write them: Cisco's
``application/dtmf-relay`` has lines such as ``Signal=5`` and ``Duration=160``, and
``application/dtmf`` has the key alone. Keys may be numbered as in RFC 4733 (10 is ``*``).
"""

import re
from typing import Literal

from duplex.phone.events import KEYS

RELAY, BARE = "application/dtmf-relay", "application/dtmf"
_NUMBERED = {"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}
_FLASH = frozenset({"16", "!", "FLASH"})  # the hook was tapped, which is no key
_SIGNAL = re.compile(r"^[ \t]*signal[ \t]*[=:](.*)$", re.IGNORECASE | re.MULTILINE)
_ALIKE_S = 2.0  # between two reports of one press; INFO is sent again after 0.5 s and 1.5 s

Way = Literal["info", "sound"]


class UnknownBody(Exception):
    """An INFO is about something else than keys."""


def read_key(content_type: str | None, body: str) -> str | None:
    """Return the key that an INFO reports; None if it reports none.

    Raises:
        UnknownBody: its body is of another kind.
        ValueError: its body cannot be read.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    text = body.strip("\0 \t\r\n")
    if not kind and not text:
        return None  # it asks whether the call is still there
    if kind not in (RELAY, BARE):
        raise UnknownBody(kind)
    found = _SIGNAL.search(body)
    if found is None and kind == RELAY:
        raise ValueError("no signal")
    key = (found[1] if found else text).strip("\0 \t\r\"'").upper()
    if key.isdecimal():
        key = key.lstrip("0") or "0"
        key = _NUMBERED.get(key, key)
    if key in _FLASH:
        return None
    if key not in KEYS:
        raise ValueError(f"no such key: {key[:20]!r}")
    return key


class KeyWays:
    """Some phones report a key both ways, in the sound's stream and as INFO: it was pressed once.

    A report is the echo of the oldest one of the same key that came the other way a moment ago
    and has had no echo yet, so that a key that is pressed twice is two.
    """

    def __init__(self) -> None:
        self._alone: dict[Way, list[tuple[str, float]]] = {"info": [], "sound": []}

    def is_new(self, key: str, way: Way, now_s: float) -> bool:
        """Whether ``key`` was pressed, and not merely reported the other way as well."""
        other: Way = "sound" if way == "info" else "info"
        waiting = self._alone[other] = [
            report for report in self._alone[other] if now_s - report[1] <= _ALIKE_S
        ]
        echoed = next((report for report in waiting if report[0] == key), None)
        if echoed is not None:
            waiting.remove(echoed)
            return False
        recent = [report for report in self._alone[way] if now_s - report[1] <= _ALIKE_S]
        self._alone[way] = [*recent, (key, now_s)]
        return True
