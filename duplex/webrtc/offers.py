"""Reads the request that begins a call: an SDP offer, and maybe a session, as the Realtime API has
them. Sans-IO."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from duplex.errors import ProtocolError
from duplex.server.forms import read_form

_MOST_CANDIDATES = 40  # addresses that we are to try
_MDNS = ".local"


class OfferError(ValueError):
    """The request cannot be obeyed; the message says why."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An SDP offer, with lines ended as they have to be, and the JSON of the session wanted."""

    sdp: str
    session: Mapping[str, Any]


def read_offer(content_type: str, body: bytes) -> Offer:
    """Read a request's body.

    Raises:
        OfferError: it is of neither form.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/sdp":
        return Offer(_checked(body), {})
    if kind != "multipart/form-data":
        raise OfferError(
            "Send the SDP offer as application/sdp, or as the field 'sdp' of multipart/form-data."
        )
    try:
        form = read_form(content_type, body)
    except ProtocolError as error:
        raise OfferError(f"The form has no field 'sdp': {error}") from error
    sdp = form.content("sdp")
    if sdp is None:
        raise OfferError("The form has no field 'sdp'.")
    try:
        session = msgspec.json.decode(form.content("session") or b"{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise OfferError(f"The field 'session' is not a JSON object: {error}") from error
    return Offer(_checked(sdp), session)


def _checked(body: bytes) -> str:
    """The offer, if it is of one sound and at most one data channel. Names of the local network
    are left out of it: nobody there answers to us, and the caller finds us. So is that there are no
    more candidates: one without any would be given up at once."""
    try:
        lines = body.decode().strip().splitlines()
    except UnicodeDecodeError as error:
        raise OfferError("The SDP offer is not text.") from error
    if not lines or lines[0] != "v=0":
        raise OfferError("The body is no SDP offer: it does not begin with v=0.")
    media = [line[2:].partition(" ")[0] for line in lines if line.startswith("m=")]
    if media.count("audio") != 1 or not set(media) <= {"audio", "application"}:
        raise OfferError(
            "The SDP offer must be of one audio track and a data channel, nothing else; it is of: "
            f"{', '.join(media)[:100] or 'nothing'}."
        )
    if media.count("application") > 1:
        raise OfferError("The SDP offer has more than one section of data channels.")
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    if len(candidates) > _MOST_CANDIDATES:
        raise OfferError(f"The SDP offer has more than {_MOST_CANDIDATES} candidates.")
    left_out = {line for line in candidates if _names_local(line)} | {"a=end-of-candidates"}
    return "".join(f"{line}\r\n" for line in lines if line not in left_out)


def _names_local(candidate: str) -> bool:
    words = candidate.split(" ")
    return len(words) > 4 and words[4].lower().endswith(_MDNS)
