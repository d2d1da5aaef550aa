"""Reads what a SIP caller offers, and answers it: G.711 in plain RTP (RFC 3264)."""

import ipaddress
from dataclasses import dataclass, replace

from aiosipua import SdpMessage, SdpNegotiationError, SipRequest, negotiate_sdp, parse_sdp

from duplex.phone.sip.rtp import FRAME_MS, PAYLOAD_TYPES, Address

_PLAIN = ("RTP/AVP", "RTP/AVPF")
_SILENT = ("sendonly", "inactive")  # of an offer: its maker does not want to hear us


@dataclass(frozen=True, slots=True)
class Offer:
    """What a caller offers, as far as it concerns us."""

    sdp: SdpMessage
    payload_type: int  # the first that both know
    key_type: int | None  # of telephone events
    remote: Address | None  # where sound is to go; None: to wherever it comes from
    is_hold: bool


def read_offer(invite: SipRequest, only: int | None = None) -> Offer:
    """Read the offer of an INVITE; with ``only`` no other payload type will do.

    Raises:
        SdpNegotiationError: there is none that can be accepted.
    """
    if invite.content_type != "application/sdp" or not invite.body:
        raise SdpNegotiationError("no offer")
    try:
        sdp = parse_sdp(invite.text)
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
