"""Who may call over SIP, and what becomes of it: messages as they are written, over real UDP."""

import asyncio
import logging
import random
import re
import socket

import pytest

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from aiortp import RtpPacket
from aiosipua import SipDigestAuth, SipResponse, build_credentials, parse_auth, stringify_auth

from duplex.config import SipConfig
from duplex.errors import ConfigError
from duplex.metrics import Metrics
from duplex.phone.events import Started, Stopped
from duplex.phone.sip import socket as sip_socket
from duplex.phone.sip.call import SipCall
from duplex.phone.sip.listener import Refused, SipListener
from duplex.phone.sip.rtp import RtpSocket
from tests._support.sip_desk import desk, until
from tests._support.sip_phone import left, sip_phone

pytestmark = pytest.mark.realtime

LOG = logging.getLogger("test")


def credentials(asked: SipResponse, password: str) -> str:
    """What a phone that knows it answers to a 401, as a line of the INVITE."""
    challenge = asked.get_header("www-authenticate")
    assert challenge is not None
    given = build_credentials(
        SipDigestAuth("ann", password), parse_auth(challenge), "INVITE", "sip:bot@127.0.0.1"
    )
    assert given is not None
    return f"Authorization: {stringify_auth(given)}\r\n"


async def test_a_call_is_taken_and_ended_by_the_caller():
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        assert [m.status_code for m in phone.got] == [100, 180, 200]
        await until(lambda: taker.answered == ["BOT"])
        phone.send(phone.text("BYE", "c1", to=tag, number=2))
        assert (await phone.answer(200, "c1")).status_code == 200
        await until(lambda: not taker.open)
        assert taker.told == [Stopped()]
        await until(lambda: left(taker.listener) == 0)


async def test_a_call_is_ended_by_us():
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        await until(lambda: taker.open)
        await taker.open[0].close()
        bye = await phone.request("BYE")
        assert bye.from_addr is not None
        assert bye.from_addr.tag == tag
        await until(lambda: left(taker.listener) == 0)


async def test_a_server_that_stops_says_goodbye():
    async with desk() as (taker, phone):
        await phone.call("c1")
        await until(lambda: taker.open)
        await taker.listener.stop()
        await phone.request("BYE")
        assert left(taker.listener) == 0


async def test_an_invite_that_comes_twice_is_one_call():
    async with desk() as (taker, phone):
        invite = phone.invite("c1")
        phone.send(invite)
        told = await phone.answer(200)
        phone.send(invite)
        phone.send(invite)
        await until(lambda: [m.status_code for m in phone.got].count(200) >= 3)
        assert {m.to_addr.tag for m in phone.got if m.status_code == 200} == {told.to_addr.tag}
        assert taker.listener.calls == 1


async def test_a_second_invite_of_a_call_is_a_loop():
    async with desk(ring_s=60) as (_, phone):
        phone.send(phone.invite("c1"))
        await phone.answer(180)
        phone.send(phone.invite("c1"))
        await phone.answer(482)
        phone.send(phone.invite("c1", to="early", number=2))
        await phone.answer(481)


async def test_who_gives_up_while_it_rings_is_not_answered():
    async with desk(ring_s=60) as (taker, phone):
        invite = phone.invite("c1")
        phone.send(invite)
        await phone.answer(180)
        cancel = invite.split(b"Content-Type")[0].replace(b"INVITE", b"CANCEL") + b"\r\n"
        phone.send(cancel)
        await phone.answer(200)
        await phone.answer(487)
        await until(lambda: taker.listener.calls == 0)
        assert taker.answered == []


@pytest.mark.parametrize(
    ("refusal", "status"), [(Refused(486, "full"), 486), (Refused(503, "busy"), 503)]
)
async def test_a_server_that_has_no_room_says_so(refusal, status):
    async with desk() as (taker, phone):
        taker.refusal = refusal
        phone.send(phone.invite("c1"))
        await phone.answer(status)
        assert left(taker.listener) == 0


async def test_sip_calls_have_a_limit_of_their_own():
    async with desk(max_calls=1) as (_, phone):
        await phone.call("c1")
        phone.send(phone.invite("c2"))
        await phone.answer(486, "c2")


async def test_what_we_do_not_speak_is_not_acceptable():
    async with desk() as (taker, phone):
        phone.send(phone.invite("c1", codecs="9 18"))
        await phone.answer(488, "c1")
        phone.send(phone.invite("c2").replace(b"RTP/AVP", b"RTP/SAVP"))
        await phone.answer(488, "c2")
    assert left(taker.listener) == 0


async def test_the_password_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIP_PASSWORD", "correct horse")
    async with desk(user="ann", password_env="SIP_PASSWORD") as (taker, phone):
        for call_id, password in (("c1", "wrong"), ("c2", "correct horse")):
            phone.send(phone.invite(call_id))
            more = credentials(await phone.answer(401, call_id), password)
            if password == "wrong":
                phone.send(phone.invite(call_id, more=more, number=2))
                await phone.answer(403, call_id)
                assert left(taker.listener) == 0
            else:
                await phone.call(call_id, more=more, number=2)


async def test_what_opened_a_call_opens_no_other(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIP_PASSWORD", "correct horse")
    async with desk(user="ann", password_env="SIP_PASSWORD") as (taker, phone):
        phone.send(phone.invite("c1"))
        more = credentials(await phone.answer(401), "correct horse")
        tag = await phone.call("c1", more=more, number=2)
        phone.send(phone.text("BYE", "c1", to=tag, number=3))
        await until(lambda: left(taker.listener) == 0)
        phone.got.clear()
        phone.send(phone.invite("c1", more=more, number=4))
        await phone.answer(401)


async def test_strangers_keep_no_caller_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sip_socket, "_MAX_SERVED", 4)
    monkeypatch.setenv("SIP_PASSWORD", "correct horse")
    options = {"user": "ann", "password_env": "SIP_PASSWORD"}
    async with desk(**options) as (taker, phone), sip_phone(taker.listener.address) as stranger:
        for number in range(20):
            for method, status in (("OPTIONS", 200), ("BYE", 481), ("REGISTER", 405)):
                stranger.send(stranger.text(method, f"{method}{number}"))
                await stranger.answer(status, f"{method}{number}")
            stranger.send(stranger.invite(f"c{number}"))
            await stranger.answer(401, f"c{number}")
        for call_id in ("c1", "c2", "c3"):  # nor one another: they are more than are remembered
            phone.send(phone.invite(call_id))
            more = credentials(await phone.answer(401, call_id), "correct horse")
            tag = await phone.call(call_id, more=more, number=2)
            phone.send(phone.text("BYE", call_id, to=tag, number=3))
        await until(lambda: left(taker.listener) == 0)


async def test_a_refusal_is_sent_once_for_each_request(monkeypatch: pytest.MonkeyPatch):
    """So nobody can have more sent to an address that is not theirs than they send."""
    monkeypatch.setattr(sip_socket, "T1_S", 0.001)
    monkeypatch.setenv("SIP_PASSWORD", "correct horse")
    async with desk(password_env="SIP_PASSWORD") as (_, phone):
        for number in range(3):
            phone.send(phone.invite(f"c{number}"))
            await phone.answer(401, f"c{number}")
        invite = phone.invite("again")
        for _ in range(3):
            phone.send(invite)

        def statuses() -> list[tuple[str, int]]:
            return [(m.call_id, m.status_code) for m in phone.got if isinstance(m, SipResponse)]  # type: ignore[misc]

        await until(lambda: len(statuses()) >= 6)
        await asyncio.sleep(0.1)  # for more than these
        assert statuses() == [("c0", 401), ("c1", 401), ("c2", 401)] + [("again", 401)] * 3


async def test_no_sound_is_sent_to_who_has_not_shown_that_it_is_there():
    async with desk() as (taker, phone):
        phone.send(phone.invite("c1"))
        told = await phone.answer(200)
        assert told.to_addr is not None
        phone.send(phone.text("ACK", "c1", to="a-guess"))
        await until(lambda: taker.heard > 5)
        assert phone.sound == 0
        phone.send(phone.text("ACK", "c1", to=told.to_addr.tag or ""))
        await until(lambda: phone.sound)


async def test_a_phone_on_the_same_machine_is_heard_from_any_of_its_addresses():
    """A softphone with a network card calls from and names that; the sound it sends to the
    loopback address comes from there."""
    async with desk() as (taker, _), sip_phone(taker.listener.address, "127.0.0.9") as phone:
        invite = phone.invite("c1").replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 127.0.0.9")
        phone.send(invite)
        found = re.search(rb"m=audio (\d+)", (await phone.answer(200)).body)
        assert found is not None
        packet = RtpPacket(0, 0, 1, 160, 7, b"\xff" * 160).serialize()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sound:
            sound.bind(("127.0.0.1", 0))
            sound.sendto(packet, ("127.0.0.1", int(found[1])))
            await until(lambda: taker.open and taker.open[0].stream.counts.played)


async def test_a_cancel_that_crosses_our_answer_leaves_the_call_to_its_bye():
    async with desk() as (taker, phone):
        invite = phone.invite("c1")
        phone.send(invite)
        told = await phone.answer(200)
        cancel = invite.split(b"Content-Type")[0].replace(b"INVITE", b"CANCEL") + b"\r\n"
        phone.got.clear()
        phone.send(cancel)
        await until(lambda: [m for m in phone.got if m.cseq and m.cseq.method == "CANCEL"])
        assert phone.got[-1].status_code == 200
        assert told.to_addr is not None
        tag = told.to_addr.tag or ""
        phone.send(phone.text("ACK", "c1", to=tag))
        await until(lambda: phone.sound)
        assert taker.listener.calls == 1
        phone.got.clear()
        phone.send(phone.text("BYE", "c1", to=tag, number=2))
        await phone.answer(200)
        await until(lambda: left(taker.listener) == 0)


async def test_who_gives_up_while_the_port_is_opened_leaves_it_free(
    monkeypatch: pytest.MonkeyPatch,
):
    opened = []
    really_open = RtpSocket.open
    async with desk() as (taker, phone):

        async def give_up_meanwhile(line: RtpSocket, host: str, ports: tuple[int, int]) -> int:
            taker.listener.lines[0].stopped()
            opened.append(await really_open(line, host, ports))
            return opened[0]

        monkeypatch.setattr(RtpSocket, "open", give_up_meanwhile)
        phone.send(phone.invite("c1"))
        await until(lambda: opened and not taker.listener.calls)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", opened[0]))
        assert taker.answered == []


async def test_what_is_malformed_is_counted():
    async with desk() as (taker, phone):
        phone.send(b"nonsense")
        await until(lambda: 'duplex_dropped_total{reason="sip"} 1' in taker.metrics.render({}))
        tag = await phone.call("c1")
        told = await phone.answer(200)
        found = re.search(rb"m=audio (\d+)", told.body)
        assert found is not None
        phone.transport.sendto(b"\x80\x00\x01", ("127.0.0.1", int(found[1])))  # type: ignore[attr-defined]
        await until(lambda: taker.open and taker.open[0].stream.malformed)
        phone.send(phone.text("BYE", "c1", to=tag, number=2))
        await until(lambda: not taker.listener.calls)
        assert 'duplex_dropped_total{reason="rtp"} 1' in taker.metrics.render({})


async def test_a_caller_who_holds_and_moves_is_followed():
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        await until(lambda: taker.open)
        hold = phone.invite("c1", to=tag, number=2).replace(b"a=sendrecv", b"a=sendonly")
        phone.send(hold)
        await until(lambda: taker.open[0].stream.is_held)
        await until(lambda: b"recvonly" in phone.got[-1].body)
        phone.send(phone.text("ACK", "c1", to=tag, number=2))
        phone.send(phone.invite("c1", to=tag, codecs="8", number=3))
        await phone.answer(488)  # the codec stays
        assert taker.listener.calls == 1
        phone.send(phone.invite("c1", to=tag, number=4))
        await until(lambda: not taker.open[0].stream.is_held)


async def test_what_is_in_no_call_has_no_effect():
    async with desk() as (taker, phone):
        phone.send(phone.text("OPTIONS", "o"))
        assert "INVITE" in ((await phone.answer(200, "o")).get_header("allow") or "")
        phone.send(phone.text("BYE", "x", to="other"))
        await phone.answer(481, "x")
        phone.send(phone.invite("y", to="made-up"))
        await phone.answer(481, "y")
        assert left(taker.listener) == 0
        phone.send(phone.text("REGISTER", "r"))
        await phone.answer(405, "r")
        await phone.call("c1")
        known = len(taker.listener._socket._served)
        for method in ("BYE", "CANCEL", "INVITE", "NOTIFY"):
            phone.got.clear()
            phone.send(phone.text(method, "c1", to="a-guess", number=2))
            await phone.answer(481, "c1")
        assert taker.listener.calls == 1
        assert len(taker.listener._socket._served) == known


async def test_a_call_is_transferred():
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        await until(lambda: taker.open)
        started = Started("c1", "", taker.open[0].stream.encoding)
        asking = asyncio.create_task(taker.open[0].transfer(started, "+15550100", LOG))
        refer = await phone.request("REFER")
        assert refer.get_header("refer-to") == "<sip:+15550100@127.0.0.1>"
        phone.reply(refer)
        notify = phone.text(
            "NOTIFY", "c1", to=tag, number=2, body="SIP/2.0 200 OK\r\n", more="Event: refer\r\n"
        )
        phone.send(notify.replace(b"application/sdp", b"message/sipfrag"))
        assert await asking


async def test_a_transfer_that_is_refused_fails():
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        await until(lambda: taker.open)
        started = Started("c1", "", taker.open[0].stream.encoding)
        asking = asyncio.create_task(taker.open[0].transfer(started, "sip:desk@192.0.2.1", LOG))
        refer = await phone.request("REFER")
        phone.reply(refer)
        notify = phone.text(
            "NOTIFY", "c1", to=tag, number=2, body="SIP/2.0 603 No\r\n", more="Event: refer\r\n"
        )
        phone.send(notify.replace(b"application/sdp", b"message/sipfrag"))
        assert not await asking


async def test_nothing_is_kept_of_those_who_were_refused():
    async with desk() as (taker, phone):
        taker.refusal = Refused(486, "full")
        for number in range(200):
            phone.send(phone.invite(f"c{number}"))
            await phone.answer(486, f"c{number}")
        assert left(taker.listener) == 0


async def test_garbage_harms_no_call(caplog: pytest.LogCaptureFixture):
    dice = random.Random(3)
    caplog.set_level(logging.WARNING)
    async with desk() as (taker, phone), sip_phone(taker.listener.address) as stranger:
        tag = await phone.call("c1")
        await until(lambda: taker.open)
        for number in range(400):
            message = bytearray(
                stranger.invite(f"g{number}")
                if number % 2
                else stranger.text(dice.choice(["BYE", "ACK", "CANCEL", "NOTIFY"]), "c1", to=tag)
            )
            for _ in range(dice.randrange(1, 30)):
                at = dice.randrange(len(message))
                message[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
            stranger.send(bytes(message[: dice.randrange(1, len(message))]))
            if number % 20 == 0:  # no more than the socket's buffer holds
                phone.send(phone.text("OPTIONS", f"still there {number}"))
                await phone.answer(200, f"still there {number}")
        stranger.send(dice.randbytes(60_000))
        stranger.send(b"\r\n\r\n")
        assert taker.listener.calls >= 1
        assert any(call is taker.open[0] for call in taker.listener.lines)
        await phone.call("c2")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_strangers_are_not_served_by_accident(monkeypatch: pytest.MonkeyPatch):
    def listener(**options: object) -> SipListener:
        async def serve(call: SipCall) -> None:
            raise AssertionError

        config = SipConfig(enabled=True, **options)  # type: ignore[arg-type]
        return SipListener(config, Metrics(), lambda: None, str, serve, lambda: "call-1")

    with pytest.raises(ConfigError, match="DUPLEX_SIP_PASSWORD"):
        listener(listen="192.0.2.1:5060")
    with pytest.raises(ConfigError, match="address:port"):
        listener(listen="localhost")
    with pytest.raises(ConfigError, match="rtp_ports"):
        listener(rtp_ports="20000-10000")
    monkeypatch.setenv("DUPLEX_SIP_PASSWORD", "correct horse")
    with pytest.raises(ConfigError, match="public_address"):
        listener(listen="0.0.0.0:5060")
