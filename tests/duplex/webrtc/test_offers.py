"""The requests that begin calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplex.webrtc.offers import OfferError, read_offer

SDP = "\r\n".join(
    (
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=candidate:1 1 udp 2113937151 192.0.2.1 50000 typ host",
        "a=candidate:2 1 udp 2113937151 0b5c.local 50001 typ host",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "",
    )
)


def form(**fields: str) -> bytes:
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return ("".join(parts) + "--edge--\r\n").encode()


def test_an_offer_comes_alone() -> None:
    offer = read_offer("application/sdp; charset=utf-8", SDP.encode())
    assert offer.session == {}
    assert "192.0.2.1" in offer.sdp
    assert ".local" not in offer.sdp
    assert offer.sdp.endswith("webrtc-datachannel\r\n")


def test_or_in_a_form_with_a_session() -> None:
    body = form(sdp=SDP, session='{"type": "realtime", "instructions": "Hi"}')
    offer = read_offer("multipart/form-data; boundary=edge", body)
    assert offer.session == {"type": "realtime", "instructions": "Hi"}
    assert offer.sdp == read_offer("application/sdp", SDP.encode()).sdp


@pytest.mark.parametrize(
    ("content_type", "body", "why"),
    [
        ("", SDP.encode(), "application/sdp"),
        ("application/json", b"{}", "application/sdp"),
        ("application/sdp", b"", "v=0"),
        ("application/sdp", b"\xff\xfe", "not text"),
        ("application/sdp", b"v=0\r\n", "of: nothing"),
        ("application/sdp", SDP.encode() + b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "video"),
        ("application/sdp", SDP.encode() * 2, "one audio track"),
        ("application/sdp", (SDP + SDP.split("\r\n")[3] + "\r\n").encode() * 1, None),
        (
            "application/sdp",
            (SDP + f"{SDP.split(chr(13))[3].strip()}\r\n" * 40).encode(),
            "more than 40 candidates",
        ),
        ("multipart/form-data; boundary=edge", form(session="{}"), "no field 'sdp'"),
        ("multipart/form-data; boundary=edge", form(sdp=SDP, session="[1]"), "not a JSON object"),
        ("multipart/form-data; boundary=other", form(sdp=SDP), "no field 'sdp'"),
        ("multipart/form-data", form(sdp=SDP), "no field 'sdp'"),
    ],
)
def test_what_cannot_be_used_is_told(content_type: str, body: bytes, why: str | None) -> None:
    if why is None:
        read_offer(content_type, body)
        return
    with pytest.raises(OfferError, match=why):
        read_offer(content_type, body)


@given(st.text(max_size=80), st.binary(max_size=300))
def test_nothing_else_is_raised(content_type: str, body: bytes) -> None:
    for kind in (content_type, "application/sdp", "multipart/form-data; boundary=edge"):
        for content in (body, b"--edge\r\n" + body, b"v=0\r\n" + body):
            try:
                read_offer(kind, content)
            except OfferError:
                continue
