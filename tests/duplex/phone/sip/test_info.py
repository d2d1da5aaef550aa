"""Keys by SIP INFO: as gateways write them, over real UDP, and once though a phone sends them
both ways."""

import pytest

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from aiortp import RtpPacket

from duplex.phone.sip.info import KeyWays, UnknownBody, read_key
from tests._support.sip_desk import desk, until
from tests._support.sip_phone import sip_phone

RELAY, BARE = "application/dtmf-relay", "application/dtmf"


@pytest.mark.parametrize(
    ("kind", "body", "key"),
    [
        (RELAY, "Signal=5\r\nDuration=160\r\n", "5"),
        (RELAY, "Signal= 5\r\nDuration= 160", "5"),
        (RELAY, "signal = #\nduration = 100\n", "#"),
        (RELAY, "Duration=250\r\nSIGNAL=*", "*"),
        (RELAY, "Signal=10\r\nDuration=160\r\n", "*"),
        (RELAY, "Signal=11\r\n", "#"),
        (RELAY, "Signal=a\r\n", "A"),
        (RELAY, "Signal=15\r\n", "D"),
        (RELAY, "Signal=0\r\n", "0"),
        ("Application/DTMF-Relay; charset=utf-8", "Signal=9\0", "9"),
        (BARE, "7", "7"),
        (BARE, " d \r\n", "D"),
        (BARE, "11", "#"),
        (BARE, "Signal=3\r\nDuration=100\r\n", "3"),
        (RELAY, "Signal=16\r\n", None),  # the hook
        (RELAY, "Signal=!\r\n", None),
        (None, "", None),  # is the call still there?
    ],
)
def test_keys_are_read_as_gateways_write_them(kind: str | None, body: str, key: str | None) -> None:
    assert read_key(kind, body) == key


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (RELAY, ""),
        (RELAY, "5"),
        (RELAY, "Signal="),
        (RELAY, "Signal=E"),
        (RELAY, "Signal=17"),
        (RELAY, "Duration=160"),
        (RELAY, "\ufffd\ufffd"),
        (BARE, ""),
        (BARE, "123"),
        (BARE, "-1"),
        (BARE, "²"),
    ],
)
def test_what_is_no_key_cannot_be_read(kind: str, body: str) -> None:
    with pytest.raises(ValueError, match=r"key|signal"):
        read_key(kind, body)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/media_control+xml"])
def test_other_bodies_are_unknown(kind: str | None) -> None:
    with pytest.raises(UnknownBody):
        read_key(kind, "5")


def test_a_key_that_comes_both_ways_was_pressed_once() -> None:
    ways = KeyWays()
    reports = [("info", 0.0), ("sound", 0.1), ("sound", 0.3), ("info", 0.35), ("info", 5.0)]
    assert [ways.is_new("1", way, at_s) for way, at_s in reports] == [  # type: ignore[arg-type]
        True,
        False,
        True,
        False,
        True,
    ]


def test_other_keys_and_later_ones_are_new() -> None:
    ways = KeyWays()
    assert ways.is_new("1", "sound", 0.0)
    assert ways.is_new("2", "info", 0.1)
    assert ways.is_new("1", "info", 3.0)


@pytest.mark.realtime
async def test_keys_reach_the_line_and_every_info_is_answered() -> None:
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        await until(lambda: taker.open)
        told = [
            (RELAY, "Signal=4\r\nDuration=160\r\n", 200),
            (BARE, "2", 200),
            ("text/plain", "2", 415),
            (RELAY, "Signal=\r\n", 400),
            (BARE, "#", 200),
        ]
        for number, (kind, body, status) in enumerate(told, start=2):
            phone.got.clear()
            phone.send(phone.info("c1", tag, number, kind, body))
            answer = await phone.answer(status, "c1")
            assert answer.cseq.method == "INFO"
            accepted = answer.get_header_values("accept")
            assert accepted == ([RELAY, BARE] if status == 415 else [])
        await until(lambda: taker.keys == "42#")


@pytest.mark.realtime
async def test_an_info_that_is_sent_again_is_one_key() -> None:
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        info = phone.info("c1", tag, 2, RELAY, "Signal=7\r\n")
        phone.got.clear()
        for _ in range(3):
            phone.send(info)
        await until(lambda: [m.status_code for m in phone.got].count(200) == 3)
        phone.send(phone.info("c1", tag, 3, RELAY, "Signal=8\r\n"))
        await until(lambda: taker.keys == "78")


@pytest.mark.realtime
async def test_a_stranger_presses_no_key() -> None:
    async with desk() as (taker, phone), sip_phone(taker.listener.address) as stranger:
        tag = await phone.call("c1")
        stranger.send(stranger.info("c1", "a-guess", 2, BARE, "5"))
        await stranger.answer(481, "c1")
        stranger.send(stranger.info("other", "", 2, BARE, "5"))
        await stranger.answer(481, "other")
        phone.send(phone.info("c1", tag, 2, BARE, "6"))
        await until(lambda: taker.keys == "6")


@pytest.mark.realtime
async def test_a_phone_that_sends_keys_both_ways_presses_them_once() -> None:
    async with desk() as (taker, phone):
        tag = await phone.call("c1")
        await until(lambda: taker.open)
        (line,) = taker.open
        for number, key in enumerate((5, 5, 6), start=2):
            ended = bytes([key, 0x8A, 0x05, 0x00])
            packet = RtpPacket(
                payload_type=101,
                sequence_number=number,
                timestamp=1000 * number,
                ssrc=9,
                payload=ended,
            ).serialize()
            line.stream.receive(packet)
            phone.send(phone.info("c1", tag, number, RELAY, f"Signal={key}\r\n"))
            await until(
                lambda number=number: any(  # type: ignore[misc]
                    m.cseq.seq == number and m.cseq.method == "INFO" for m in phone.got
                )
            )
        await until(lambda: taker.keys == "556")


@pytest.mark.realtime
async def test_options_tell_that_keys_may_be_sent_so() -> None:
    async with desk() as (_, phone):
        phone.send(phone.text("OPTIONS", "o1"))
        answer = await phone.answer(200, "o1")
        assert "INFO" in answer.get_header_values("allow")
        assert RELAY in answer.get_header_values("accept")
