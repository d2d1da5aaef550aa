"""What an INVITE tells of its call."""

from aiosipua import SipRequest
from aiosipua.message import SipMessage

from duplex.phone.sip.invite import told_by


def invite(*, caller: str = "<sip:+15550100@pbx>;tag=a", more: str = "") -> SipRequest:
    text = (
        "INVITE sip:bot@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\n"
        f"From: {caller}\r\nTo: Bot <sips:bot@127.0.0.1:5061>\r\n"
        f"Call-ID: c\r\nCSeq: 1 INVITE\r\n{more}\r\n"
    )
    message = SipMessage.parse(text.encode())
    assert isinstance(message, SipRequest)
    return message


def test_who_calls_whom() -> None:
    assert told_by(invite()) == {"caller": "+15550100", "called": "bot"}
    assert told_by(invite(caller="sip:pbx.example")) == {"caller": "pbx.example", "called": "bot"}


def test_the_trace_that_it_is_part_of() -> None:
    told = told_by(invite(more="traceparent: 00-1-2-01\r\n"))
    assert told["traceparent"] == "00-1-2-01"
