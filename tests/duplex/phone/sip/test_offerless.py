"""INVITEs without an offer: ours goes in the 200, and the answer comes in the ACK."""

import pytest

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from aiortp import RtpPacket
from aiosipua import SipResponse

from tests._support.sip_desk import Desk, desk, until
from tests._support.sip_phone import SipPhone, left, sip_phone

pytestmark = pytest.mark.realtime


async def offered(phone: SipPhone, call_id: str) -> tuple[SipResponse, str]:
    """Call without an offer; returns the 200 and our tag."""
    phone.send(phone.text("INVITE", call_id))
    told = await phone.answer(200, call_id)
    assert told.content_type == "application/sdp"
    assert told.to_addr is not None
    assert told.to_addr.tag
    return told, told.to_addr.tag


def port_of(told: SipResponse) -> int:
    """Where the server wants sound."""
    return int(told.text.partition("m=audio ")[2].split()[0])


def versions(phone: SipPhone) -> list[int]:
    """Of the descriptions that the server has sent."""
    bodies = [m.text for m in phone.got if isinstance(m, SipResponse) and m.body]
    return [int(body.partition("o=- ")[2].split()[1]) for body in bodies]


@pytest.mark.parametrize(("codecs", "name"), [("0 8", "pcmu"), ("8", "pcma"), ("8 0", "pcma")])
async def test_the_answer_in_the_ack_chooses_the_codec(codecs: str, name: str) -> None:
    async with desk() as (taker, phone):
        told, tag = await offered(phone, "c1")
        assert "RTP/AVP 0 8 101" in told.text
        assert "telephone-event" in told.text
        assert taker.encodings == []  # nothing is agreed yet
        phone.send(phone.ack("c1", tag, codecs=codecs))
        await until(lambda: taker.encodings == [name])
        await until(lambda: phone.sound > 3)
        kind = int(codecs[0])
        for number in range(30):
            packet = RtpPacket(
                payload_type=kind,
                sequence_number=number,
                timestamp=160 * number,
                ssrc=7,
                payload=bytes([number]) * 160,
            )
            phone.transport.sendto(  # type: ignore[attr-defined]
                packet.serialize(), ("127.0.0.1", port_of(told))
            )
        await until(lambda: taker.open[0].stream.counts.played > 3)
        phone.send(phone.text("BYE", "c1", to=tag, number=2))
        await until(lambda: left(taker.listener) == 0)


async def test_the_ack_may_come_twice() -> None:
    async with desk() as (taker, phone):
        _, tag = await offered(phone, "c1")
        phone.send(phone.ack("c1", tag))
        phone.send(phone.ack("c1", tag))
        await until(lambda: phone.sound > 3)
        assert taker.encodings == ["pcmu"]


@pytest.mark.parametrize("codecs", [None, "9 18"])
async def test_without_an_answer_that_can_be_used_it_ends(codecs: str | None) -> None:
    async with desk() as (taker, phone):
        _, tag = await offered(phone, "c1")
        phone.send(
            phone.text("ACK", "c1", to=tag)
            if codecs is None
            else phone.ack("c1", tag, codecs=codecs)
        )
        bye = await phone.request("BYE")
        assert "cause=488" in (bye.get_header("reason") or "")
        await until(lambda: left(taker.listener) == 0)
        assert taker.encodings == []
        await phone.call("c2")


async def test_who_hangs_up_before_the_ack_leaves_nothing() -> None:
    async with desk() as (taker, phone):
        _, tag = await offered(phone, "c1")
        phone.send(phone.text("BYE", "c1", to=tag, number=2))
        await until(lambda: left(taker.listener) == 0)
        assert taker.encodings == []


async def test_a_stranger_cannot_answer_for_the_caller() -> None:
    async with desk() as (taker, phone), sip_phone(taker.listener.address) as stranger:
        _, tag = await offered(phone, "c1")
        stranger.send(stranger.ack("c1", "a-guess", codecs="8"))
        stranger.send(stranger.text("OPTIONS", "o1"))
        await stranger.answer(200, "o1")
        assert taker.encodings == []
        phone.send(phone.ack("c1", tag))
        await until(lambda: taker.encodings == ["pcmu"])


async def test_a_key_before_the_ack_is_heard() -> None:
    async with desk() as (taker, phone):
        _, tag = await offered(phone, "c1")
        phone.send(phone.info("c1", tag, 2, "application/dtmf", "5"))
        await until(lambda: any(m.cseq.method == "INFO" for m in phone.got))
        phone.send(phone.ack("c1", tag))
        await until(lambda: taker.keys == "5")


async def renegotiated(
    taker: Desk, phone: SipPhone, tag: str, number: int, **answer: object
) -> SipResponse:
    """A re-INVITE without an offer, and its answer in the ACK."""
    phone.got.clear()
    phone.send(phone.text("INVITE", "c1", to=tag, number=number))
    told = await phone.answer(200, "c1")
    phone.send(phone.ack("c1", tag, number, **answer))  # type: ignore[arg-type]
    return told


async def test_a_change_without_an_offer_holds_and_comes_back_and_moves() -> None:
    async with desk() as (taker, phone), sip_phone(taker.listener.address) as elsewhere:
        tag = await phone.call("c1")
        await until(lambda: phone.sound > 3)
        (line,) = taker.open
        seen = versions(phone)
        told = await renegotiated(taker, phone, tag, 2, direction="inactive")
        assert "RTP/AVP 0 101" in told.text  # what the call has; its line knows no other
        assert told.text.count("a=sendrecv") == 1
        await until(lambda: line.stream.is_held)
        seen += versions(phone)
        await renegotiated(taker, phone, tag, 3)
        await until(lambda: not line.stream.is_held)
        seen += versions(phone)
        before = elsewhere.sound
        await renegotiated(taker, phone, tag, 4, port=elsewhere.port)
        await until(lambda: elsewhere.sound > before + 3)
        seen += versions(phone)
        assert seen == sorted(set(seen))  # RFC 3264 section 8: each is a newer one
        # And with offers again: a hold, as phones make them.
        held = phone.invite("c1", to=tag, number=5).replace(b"sendrecv", b"sendonly")
        phone.got.clear()
        phone.send(held)
        assert "a=recvonly" in (await phone.answer(200, "c1")).text
        phone.send(phone.text("ACK", "c1", to=tag, number=5))
        await until(lambda: line.stream.is_held)


async def test_a_change_whose_answer_is_missing_ends_the_call() -> None:
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        await until(lambda: taker.open)
        phone.got.clear()
        phone.send(phone.text("INVITE", "c1", to=tag, number=2))
        await phone.answer(200, "c1")
        phone.send(phone.text("ACK", "c1", to=tag, number=2))
        bye = await phone.request("BYE")
        assert "cause=488" in (bye.get_header("reason") or "")
        await until(lambda: left(taker.listener) == 0)


async def test_another_change_while_an_answer_is_due_is_pending() -> None:
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        phone.got.clear()
        phone.send(phone.text("INVITE", "c1", to=tag, number=2))
        await phone.answer(200, "c1")
        phone.send(phone.invite("c1", to=tag, number=3))
        await phone.answer(491, "c1")
        phone.send(phone.ack("c1", tag, 2))
        await until(lambda: not taker.open[0].awaits_answer)
        phone.got.clear()
        phone.send(phone.invite("c1", to=tag, number=4))
        await phone.answer(200, "c1")
