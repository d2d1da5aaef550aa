"""Who calls whom, in the words of the providers, as parameters of the call."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec

from duplex.phone.events import CALLED, CALLER
from duplex.server.http import HttpRequest

_NAMES = {CALLER: ("From", "from"), CALLED: ("To", "to")}


def numbers_in(request: HttpRequest, form: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the numbers that a provider tells when it asks what to do with a call: in the query,
    in a ``form``, or, as Vonage may, in JSON."""
    told: dict[str, Any] = {**parse_qs(request.query), **form}
    told = {name: values[0] for name, values in told.items() if values}
    if request.headers.get("content-type", "").startswith("application/json"):
        with contextlib.suppress(msgspec.DecodeError, UnicodeError):  # then it tells none
            told |= msgspec.json.decode(request.body, type=dict[str, Any])
    return numbers_of(told)


def numbers_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the numbers among the ``fields`` of a provider's message."""
    found = {}
    for parameter, names in _NAMES.items():
        for name in names:
            if isinstance(value := fields.get(name), str) and value:
                found[parameter] = value
    return found
