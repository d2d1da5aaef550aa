"""Reads what a SIP caller offers, and answers it: G.711 in plain RTP (RFC 3264).

A caller may leave the offer to us: its answer then comes in the ACK, and is read in the same way.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aiosipua import SdpMessage, SdpNegotiationError, SipRequest, negotiate_sdp, parse_sdp

from duplex.phone.sip.rtp import FRAME_MS, PAYLOAD_TYPES, Address

_PLAIN = ("RTP/AVP", "RTP/AVPF")
_SILENT = ("sendonly", "inactive")  # its maker does not want to hear us
KEY_TYPE = 101  # of telephone events, where the offer is ours


@dataclass(frozen=True, slots=True)
class Offer:
    """What a caller offers, or answers to our offer, as far as it concerns us."""

    sdp: SdpMessage
    payload_type: int  # the first that both know
    key_type: int | None  # of telephone events
    remote: Address | None  # where sound is to go; None: to wherever it comes from
    is_hold: bool


def has_body(request: SipRequest) -> bool:
    """Whether anything is described; an INVITE without a body leaves the offer to us."""
    return bool(request.body.strip())


def read_offer(request: SipRequest, only: int | None = None) -> Offer:
    """Read the offer of an INVITE or the answer of an ACK; with ``only`` no other payload type will
    do.

    Raises:
        SdpNegotiationError: there is none that can be accepted.
    """
    kind = (request.content_type or "").partition(";")[0].strip().lower()
    if kind != "application/sdp" or not has_body(request):
        raise SdpNegotiationError("no description of the sound")
    try:
        sdp = parse_sdp(request.text)
    except ValueError as error:
        raise SdpNegotiationError(f"it cannot be read: {error}") from error
    audio = sdp.audio
    if audio is None or audio.proto not in _PLAIN:  # RTP/SAVP is encrypted
        raise SdpNegotiationError("no unencrypted audio")
    known = PAYLOAD_TYPES if only is None else (only,)
    payload_type = next((c.payload_type for c in audio.codecs if c.payload_type in known), None)
    if payload_type is None:
        raise SdpNegotiationError("no G.711")
    keys = (c.payload_type for c in audio.codecs if c.encoding_name.lower() == "telephone-event")
    remote, is_muted = _remote(sdp)
    return Offer(
        sdp, payload_type, next(keys, None), remote, is_muted or audio.direction in _SILENT
    )


def _remote(sdp: SdpMessage) -> tuple[Address | None, bool]:
    """Where sound goes, and whether 0.0.0.0 says that none is wanted, as it did before RFC 3264.

    Raises:
        SdpNegotiationError: nowhere.
    """
    address = sdp.rtp_address
    if address is None or not 0 < address[1] < 65536:
        raise SdpNegotiationError("no address")
    try:
        host = ipaddress.ip_address(address[0])
    except ValueError:
        return None, False  # a name: it is not looked up
    if host.is_multicast:
        raise SdpNegotiationError("a multicast address")
    return (None, True) if host.is_unspecified else ((str(host), address[1]), False)


def answer(offer: Offer, host: str, port: int, session_id: int, version: int) -> SdpMessage:
    """Return the answer: one codec, the caller's keys, frames of 20 ms."""
    sdp, _ = negotiate_sdp(
        offer.sdp,
        host,
        port,
        [offer.payload_type],
        dtmf_payload_type=offer.key_type or 0,
        session_id=str(session_id),
    )
    if sdp.audio is not None:
        sdp.audio.attributes["ptime"] = [str(FRAME_MS)]
    sdp.origin = replace(sdp.origin, session_version=str(version))
    return sdp


def own_offer(
    host: str, port: int, payload_types: Iterable[int], key_type: int, session_id: int, version: int
) -> SdpMessage:
    """Return what we offer to a caller that has offered nothing, with frames of 20 ms."""
    kinds = [(number, PAYLOAD_TYPES[number].name.upper()) for number in payload_types]
    return parse_sdp(
        "\r\n".join(
            (
                "v=0",
                f"o=- {session_id} {version} IN IP4 {host}",
                "s=-",
                f"c=IN IP4 {host}",
                "t=0 0",
                f"m=audio {port} RTP/AVP {' '.join(str(n) for n, _ in kinds)} {key_type}",
                *(f"a=rtpmap:{number} {name}/8000" for number, name in kinds),
                f"a=rtpmap:{key_type} telephone-event/8000",
                f"a=fmtp:{key_type} 0-15",
                f"a=ptime:{FRAME_MS}",
                "a=sendrecv",
                "",
            )
        )
    )
