"""Offers of phones, and what is answered."""

import pytest

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from aiosipua import SdpNegotiationError, SipRequest, parse_sdp, serialize_sdp

from duplex.phone.sip.sdp import answer, read_offer

PHONE = """v=0
o=- 1 2 IN IP4 192.0.2.7
s=-
c=IN IP4 192.0.2.7
t=0 0
m=audio 4000 RTP/AVP 96 8 0 110
a=rtpmap:96 opus/48000/2
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:110 telephone-event/8000
a=ptime:30
a=sendrecv
"""


def invite(sdp: str = PHONE, kind: str = "application/sdp") -> SipRequest:
    request = SipRequest(method="INVITE", uri="sip:bot@198.51.100.1")
    request.headers.append("Content-Type", kind)
    request.text = sdp.replace("\n", "\r\n")
    return request


def test_the_first_codec_that_both_know_is_taken_and_the_phone_s_keys():
    offer = read_offer(invite())
    assert (offer.payload_type, offer.key_type) == (8, 110)
    assert offer.remote == ("192.0.2.7", 4000)
    assert not offer.is_hold


def test_the_answer_is_one_codec_at_20_ms_where_we_are():
    sdp = parse_sdp(serialize_sdp(answer(read_offer(invite()), "198.51.100.1", 16384, 77, 78)))
    assert sdp.rtp_address == ("198.51.100.1", 16384)
    assert sdp.audio is not None
    assert sdp.audio.formats == ["8", "110"]
    assert sdp.audio.attributes["ptime"] == ["20"]
    assert (sdp.origin.session_id, sdp.origin.session_version) == ("77", "78")


def test_a_phone_without_keys_is_answered_without():
    sdp = PHONE.replace(" 110\n", "\n").replace("a=rtpmap:110 telephone-event/8000\n", "")
    offer = read_offer(invite(sdp))
    assert offer.key_type is None
    audio = answer(offer, "198.51.100.1", 16384, 1, 1).audio
    assert audio is not None
    assert audio.formats == ["8"]


def test_a_picture_is_declined_and_the_sound_taken():
    sdp = answer(
        read_offer(invite(PHONE + "m=video 4002 RTP/AVP 97\n")), "198.51.100.1", 9000, 1, 1
    )
    assert [(media.media, media.port) for media in sdp.media] == [("audio", 9000), ("video", 0)]


@pytest.mark.parametrize(
    "sdp",
    [
        PHONE.replace("sendrecv", "sendonly"),
        PHONE.replace("sendrecv", "inactive"),
        PHONE.replace("c=IN IP4 192.0.2.7", "c=IN IP4 0.0.0.0"),
    ],
)
def test_a_phone_that_does_not_want_to_hear_us_holds(sdp):
    assert read_offer(invite(sdp)).is_hold


def test_a_name_is_not_looked_up():
    offer = read_offer(invite(PHONE.replace("c=IN IP4 192.0.2.7", "c=IN IP4 phone.example")))
    assert offer.remote is None


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "nonsense",
        PHONE.replace(" 96 8 0 ", " 96 "),
        PHONE.replace("RTP/AVP", "RTP/SAVP"),
        PHONE.replace("m=audio", "m=video"),
        PHONE.replace("4000", "0"),
        PHONE.replace("4000", "70000"),
        PHONE.replace("4000", "x"),
        PHONE.replace("c=IN IP4 192.0.2.7\n", ""),
        PHONE.replace("c=IN IP4 192.0.2.7", "c=IN IP4 224.0.0.1"),
        PHONE.replace("rtpmap:8 PCMA/8000", "rtpmap:x PCMA/y"),
    ],
)
def test_what_cannot_be_accepted_says_so(sdp):
    with pytest.raises(SdpNegotiationError):
        read_offer(invite(sdp))


def test_what_is_no_offer_is_none():
    with pytest.raises(SdpNegotiationError):
        read_offer(invite(kind="text/plain"))


def test_a_call_keeps_its_codec():
    assert read_offer(invite(), only=0).payload_type == 0
    with pytest.raises(SdpNegotiationError):
        read_offer(invite(PHONE.replace(" 96 8 0 ", " 96 8 ")), only=0)
