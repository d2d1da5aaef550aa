"""The sound of a SIP call, packet by packet, in simulated time."""

import asyncio
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aiortp", reason="SIP needs the extra 'sip'")

from aiortp import DtmfEvent, RtpPacket

from duplex.audio.formats import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from duplex.phone.sip.jitter import FRAME_SAMPLES
from duplex.phone.sip.rtp import Frames, RtpSocket, RtpStream

KEYS = 101
SILENCE = {0: b"\xff" * FRAME_SAMPLES, 8: b"\xd5" * FRAME_SAMPLES}


class Phone:
    """A stream, and the caller's side of it."""

    def __init__(self, payload_type: int = 0, source_id: int = 9) -> None:
        self.now_s = 0.0
        self.keys: list[str] = []
        self.played: list[str] = []
        self.payload_type = payload_type
        self.source_id = source_id
        self.stream = RtpStream(
            payload_type,
            KEYS,
            on_key=self.keys.append,
            on_played=self.played.append,
            now=lambda: self.now_s,
        )

    def packet(self, number: int, payload: bytes, *, kind: int | None = None) -> bytes:
        return RtpPacket(
            payload_type=self.payload_type if kind is None else kind,
            sequence_number=number % 2**16,
            timestamp=number * FRAME_SAMPLES % 2**32,
            ssrc=self.source_id,
            payload=payload,
        ).serialize()

    def tick(self) -> tuple[bytes, RtpPacket]:
        self.now_s += 0.02
        heard, packet = self.stream.tick()
        assert packet is not None
        return heard, RtpPacket.parse(packet)


def tone(frames: int, encode=encode_ulaw) -> list[bytes]:
    samples = 0.5 * np.sin(2 * np.pi * 440 / 8000 * np.arange(frames * FRAME_SAMPLES))
    audio = encode(samples)
    return [audio[at : at + FRAME_SAMPLES] for at in range(0, len(audio), FRAME_SAMPLES)]


@pytest.mark.parametrize(
    ("payload_type", "encode", "decode"),
    [(0, encode_ulaw, decode_ulaw), (8, encode_alaw, decode_alaw)],
)
def test_what_is_heard_is_what_was_sent(payload_type, encode, decode):
    phone = Phone(payload_type)
    sent = tone(50, encode)
    heard = []
    for number, frame in enumerate(sent):
        assert phone.stream.receive(phone.packet(number, frame))
        heard.append(phone.tick()[0])
    first = next(i for i, frame in enumerate(heard) if frame != SILENCE[payload_type])
    said, got = decode(b"".join(sent)), decode(b"".join(heard[first:]))
    assert first <= 2
    np.testing.assert_allclose(got, said[: len(got)], atol=0.02)  # encoded twice


def test_a_line_from_which_nothing_comes_is_silent():
    phone = Phone(8)
    assert [phone.tick()[0] for _ in range(3)] == [SILENCE[8]] * 3


@pytest.mark.parametrize("seed", range(12))
def test_jitter_loses_nothing_and_loss_is_concealed(seed):
    """60 ms of jitter and 5 % of loss: no more is made up than was lost."""
    dice = random.Random(seed)
    phone = Phone()
    frames = tone(500)
    arriving = sorted(
        (0.02 * number + dice.uniform(0, 0.06), number)
        for number in range(len(frames))
        if dice.random() >= 0.05
    )
    lost = len(frames) - len(arriving)
    silent = 0
    for _ in range(len(frames)):
        while arriving and arriving[0][0] <= phone.now_s:
            _, number = arriving.pop(0)
            phone.stream.receive(phone.packet(number, frames[number]))
        silent += phone.tick()[0] == SILENCE[0]
    counts = phone.stream.counts
    assert lost > 10
    assert counts.late <= 5
    assert counts.played >= len(frames) - lost - counts.late - 10  # the last are still held
    assert silent <= 10  # before the first


def test_a_new_source_takes_over_at_once():
    phone = Phone()
    for number, frame in enumerate(tone(5)):
        phone.stream.receive(phone.packet(number, frame))
        phone.tick()
    phone.source_id += 1
    for number, frame in enumerate(tone(5)):
        phone.stream.receive(phone.packet(70_000 + number, frame))
        heard, _ = phone.tick()
    assert heard != SILENCE[0]


def test_a_key_is_told_once_though_its_end_is_sent_three_times():
    phone = Phone()
    for number, (event, is_end) in enumerate([(1, False), (1, True), (1, True), (1, True)]):
        payload = DtmfEvent(event, is_end, 10, 800).serialize()
        packet = RtpPacket(KEYS, 0, number, 4000, phone.source_id, payload).serialize()
        assert phone.stream.receive(packet)
    for event in (11, 16):  # 16 is the hook flash, which is no key
        payload = DtmfEvent(event, True, 10, 800).serialize()
        phone.stream.receive(RtpPacket(KEYS, 0, 9, 8000 + event, 9, payload).serialize())
    assert phone.keys == ["1", "#"]


def test_what_is_no_packet_of_the_stream_is_passed_over():
    phone = Phone()
    too_long = phone.packet(0, b"\xff" * 5000)
    cut_key = RtpPacket(KEYS, 0, 0, 0, 9, b"\1").serialize()
    for datagram in (b"", b"\x80", b"GET / HTTP/1.1\r\n\r\n", too_long, cut_key):
        assert not phone.stream.receive(datagram)
    assert not phone.stream.receive(phone.packet(0, b"\0" * 13, kind=13))  # comfort noise
    assert phone.stream.malformed == 5
    assert phone.tick()[0] == SILENCE[0]


@given(st.binary(max_size=200))
def test_no_datagram_raises(datagram):
    phone = Phone()
    phone.stream.receive(datagram)
    phone.stream.receive(phone.packet(0, b"")[:2] + datagram)
    phone.tick()


@given(
    st.lists(st.sampled_from([1, 80, 160, 240, 320]), min_size=1, max_size=30),
    st.integers(0, 2**32 - 1),
)
def test_packets_of_any_length_give_the_same_frames(lengths, start):
    audio = (np.arange(sum(lengths)) * 7 % 256).astype(np.uint8).tobytes()
    frames = Frames()
    at, got = 0, []
    for length in lengths:
        got += frames.feed((start + at) % 2**32, audio[at : at + length])
        at += length
    whole = len(audio) // FRAME_SAMPLES
    assert b"".join(frame for _, frame in got) == audio[: whole * FRAME_SAMPLES]
    assert [time for time, _ in got] == [(start + FRAME_SAMPLES * i) % 2**32 for i in range(whole)]


def test_one_packet_is_sent_every_tick_also_in_silence():
    phone = Phone()
    first, second = tone(2)
    packets = [phone.tick()[1]]
    phone.stream.play(first + second[:100])
    packets += [phone.tick()[1] for _ in range(3)]
    payloads = [packet.payload for packet in packets]
    assert payloads == [SILENCE[0], first, second[:100] + b"\xff" * 60, SILENCE[0]]
    for before, after in pairwise(packets):
        assert after.sequence_number == (before.sequence_number + 1) % 2**16
        assert after.timestamp == (before.timestamp + FRAME_SAMPLES) % 2**32
        assert after.ssrc == before.ssrc


def test_a_mark_comes_back_when_what_is_before_it_was_sent():
    phone = Phone()
    phone.stream.play(b"".join(tone(2)))
    phone.stream.mark("end")
    phone.tick()
    phone.tick()
    assert phone.played == []
    phone.tick()
    assert phone.played == ["end"]


def test_clearing_silences_the_line_and_returns_the_marks():
    phone = Phone()
    phone.stream.play(b"".join(tone(2)))
    phone.stream.mark("a")
    phone.stream.play(b"".join(tone(2)))
    phone.stream.mark("b")
    phone.stream.clear()
    assert phone.played == ["a", "b"]
    assert phone.tick()[1].payload == SILENCE[0]


def test_a_caller_who_holds_hears_the_rest_later():
    phone = Phone()
    (frame,) = tone(1)
    phone.stream.is_held = True
    phone.stream.play(frame)
    phone.stream.receive(phone.packet(0, frame))
    phone.stream.receive(phone.packet(1, frame))
    assert phone.stream.tick() == (SILENCE[0], None)  # its music is not the caller
    phone.stream.is_held = False
    assert phone.tick()[1].payload == frame


class Peer(asyncio.DatagramProtocol):
    """A UDP socket on this machine."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        self.got.put_nowait(data)

    @property
    def address(self) -> tuple[str, int]:
        return self.transport.get_extra_info("sockname")


async def peer() -> Peer:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
    return protocol


async def test_sound_follows_a_caller_behind_nat_and_nobody_else():
    phone = Phone()
    told, real, stranger = await peer(), await peer(), await peer()
    line = RtpSocket(phone.stream, told.address, frozenset({"127.0.0.1"}))
    port = await line.open("127.0.0.1", (0, 0))
    try:
        line.is_wanted = True
        line.tick()
        await asyncio.wait_for(told.got.get(), 90)  # where the offer said
        real.transport.sendto(phone.packet(0, tone(1)[0]), ("127.0.0.1", port))
        while line.tick() is not None and real.got.empty():
            await asyncio.sleep(0.005)
        stranger.transport.sendto(phone.packet(1, tone(1)[0]), ("127.0.0.1", port))
        await asyncio.sleep(0.05)
        while not told.got.empty():
            told.got.get_nowait()
        line.tick()
        await asyncio.sleep(0.05)
        assert stranger.got.empty()
        assert told.got.empty()
    finally:
        line.close()
        for one in (told, real, stranger):
            one.transport.close()


async def test_nothing_is_sent_before_a_packet_has_come():
    phone = Phone()
    told, real = await peer(), await peer()
    line = RtpSocket(phone.stream, told.address, frozenset({"127.0.0.1"}))
    port = await line.open("127.0.0.1", (0, 0))
    (frame,) = tone(1)
    phone.stream.play(frame)
    try:
        for _ in range(3):
            line.tick()
        real.transport.sendto(phone.packet(0, frame), ("127.0.0.1", port))
        while line.tick() is not None and real.got.empty():
            await asyncio.sleep(0.005)
        assert RtpPacket.parse(real.got.get_nowait()).payload == frame  # it has waited
        assert told.got.empty()
    finally:
        line.close()
        for one in (told, real):
            one.transport.close()


async def test_ports_are_taken_from_the_range_and_an_error_tells_that_none_is_left():
    first = RtpSocket(Phone().stream, ("127.0.0.1", 9), frozenset())
    at = await first.open("127.0.0.1", (0, 0))
    second = RtpSocket(Phone().stream, ("127.0.0.1", 9), frozenset())
    try:
        with pytest.raises(OSError, match="in use"):
            await second.open("127.0.0.1", (at, at))
    finally:
        first.close()
        second.close()
