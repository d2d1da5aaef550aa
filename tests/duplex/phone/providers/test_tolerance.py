"""What providers send by mistake, in the middle of a real call: the call goes on."""

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from duplex.audio.formats import encode_alaw, encode_pcm16, encode_ulaw
from duplex.config import AssistantConfig, Config, PhoneConfig, ServerConfig
from duplex.errors import ProtocolError
from duplex.logs import call_logger
from duplex.metrics import Metrics
from duplex.phone.codec import Wire
from duplex.phone.events import KeyPressed
from duplex.phone.providers.tolerance import A_SECOND, AT_ONCE, TolerantCodec
from duplex.phone.providers.twilio import TwilioCodec
from tests._support.metrics_page import samples
from tests._support.phones import loud
from tests._support.servers import Running, running_server
from tests._support.wire import close_code

CONFIG = Config(
    server=ServerConfig(port=0),
    phone=PhoneConfig(assistant="a"),
    assistants={"a": AssistantConfig(greeting="Hello.")},
)
ULAW = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
FRAME = 160  # samples of 8 kHz


def b64(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


@dataclass(frozen=True)
class Provider:
    """What one sends, in a stream that is called s."""

    start: dict[str, Any]
    media: Callable[[bytes], Wire]
    encode: Callable[[Any], bytes]
    odd: tuple[Wire, ...] = ()


def named(**stream: str) -> Callable[[bytes], Wire]:
    """Audio in JSON."""
    return lambda audio: json.dumps({"event": "media", **stream, "media": {"payload": b64(audio)}})


def event(kind: object, **fields: object) -> str:
    """A message of all that name the stream alike."""
    names = {"streamSid": "s", "stream_id": "s", "streamId": "s", "stream_sid": "s"}
    return json.dumps({"event": kind, **names, **fields})


PROVIDERS = {
    "twilio": Provider(
        {"event": "start", "start": {"streamSid": "s", "callSid": "c", "mediaFormat": ULAW}},
        named(streamSid="s"),
        encode_ulaw,
        (event("stop", streamSid="other"), named(streamSid="other")(b"x"), named()(b"x")),
    ),
    "telnyx": Provider(
        {
            "event": "start",
            "stream_id": "s",
            "start": {"call_control_id": "c", "media_format": {"encoding": "PCMA"}},
        },
        named(stream_id="s"),
        encode_alaw,
        (event("stop", stream_id="other"),),
    ),
    "plivo": Provider(
        {"event": "start", "start": {"streamId": "s"}},
        named(streamId="s"),
        encode_ulaw,
        (event("playedStream"), event("stop", streamId="other")),
    ),
    "exotel": Provider(
        {"event": "start", "start": {"stream_sid": "s", "call_sid": "c"}},
        named(stream_sid="s"),
        encode_pcm16,
        (named(stream_sid="s")(b"\0\0\0"),),
    ),
    "vonage": Provider(
        {"event": "websocket:connected", "content-type": "audio/l16;rate=8000"},
        lambda audio: audio,
        encode_pcm16,
        (b"\0\0\0", event("websocket:notify"), event("websocket:notify", payload={"mark": 5})),
    ),
}
JSON_ONLY: tuple[Wire, ...] = (
    b"\xff\xfe\0",
    event("media"),
    event("media", media=None),
    event("media", media={"payload": "%%%"}),
    event("media", media={"payload": 5}),
    event("media", media={"payload": "AAA"}),
    event("dtmf"),
    event("dtmf", dtmf={"digit": ["5"]}),
)
ODD: tuple[Wire, ...] = ("", "{", "[]", "null", "7", "[" * 5000, '{"event":', '{"event": "media"')
HARMLESS: tuple[Wire, ...] = (
    event("news", of={"tomorrow": [1, 2]}),
    event(None),
    event(5),
    json.dumps({}),
    event("dtmf", dtmf={"digit": "x"}),
    event("mark", mark={"name": "nobody's"}),
)


@contextlib.asynccontextmanager
async def in_a_call(running: Running, name: str) -> AsyncIterator[ClientConnection]:
    """A call that was greeted."""
    async with connect(f"{running.http.replace('http', 'ws', 1)}/{name}") as line:
        await line.send(json.dumps(PROVIDERS[name].start))
        await line.recv()
        yield line


async def answered(running: Running, line: ClientConnection, provider: Provider) -> None:
    """Say something, and be answered."""
    (session,) = running.engine.sessions
    before = len(session.histories)
    silence = 0 * loud(2.0)
    for sound in (loud(1.0), silence):
        for at in range(0, len(sound), FRAME):
            await line.send(provider.media(provider.encode(sound[at : at + FRAME])))
    async with asyncio.timeout(60):
        while len(session.histories) == before:
            await line.recv()


@pytest.mark.realtime
@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_call_goes_on_whatever_cannot_be_read(name: str) -> None:
    provider = PROVIDERS[name]
    odd = (*ODD, *provider.odd, json.dumps(provider.start))
    if name != "vonage":
        odd += JSON_ONLY
    if name not in ("vonage", "plivo"):
        odd += (event("mark", mark={"name": None}),)
    async with running_server(CONFIG) as running, in_a_call(running, name) as line:
        await answered(running, line, provider)
        for message in (*odd, *HARMLESS):
            await line.send(message)
            await line.send(provider.media(provider.encode(loud(0.02) * 0)))
        await line.send(b'{"event": "\xff\xfe"}', text=True)  # no UTF-8, which is read all the same
        await line.send(b"\xff\xfe", text=True)
        # Sooner after the first answer began, it would be the first turn that goes on.
        await asyncio.sleep(1.5)
        await line.send(provider.media(provider.encode(loud(2.0) * 0)))
        await answered(running, line, provider)
        assert line.close_code is None
        counted = samples(running.server.metrics.render({}))
        assert counted[f'duplex_dropped_total{{reason="{name}"}}'] == len(odd) + 1


@pytest.mark.realtime
async def test_a_flood_ends_the_call() -> None:
    async with (
        running_server(CONFIG) as running,
        connect(f"{running.http.replace('http', 'ws', 1)}/vonage") as line,
    ):
        await line.send(json.dumps(PROVIDERS["vonage"].start))
        with contextlib.suppress(ConnectionClosed):
            for _ in range(2 * AT_ONCE):
                await line.send("not json")
        assert await close_code(line) == 1008


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def tolerant(codec: Any) -> tuple[TolerantCodec, Clock]:
    clock = Clock()
    log = call_logger(logging.getLogger("test"), "call-1")
    return TolerantCodec(codec, "twilio", Metrics(), log, clock), clock


def test_the_bound_is_as_it_says() -> None:
    codec, clock = tolerant(TwilioCodec())
    codec.receive(json.dumps(PROVIDERS["twilio"].start))
    for _ in range(AT_ONCE):
        assert codec.receive("{") == ()
    for _ in range(100):  # so many a second for ever
        clock.now_s += 1.001 / A_SECOND
        assert codec.receive("{") == ()
    with pytest.raises(ProtocolError):
        codec.receive("{")


@pytest.mark.parametrize("message", ["{", b"\0", named()(b"x"), named(streamSid="s")(b"x")])
def test_a_stream_begins_as_it_should(message: Wire) -> None:
    codec, _ = tolerant(TwilioCodec())
    with pytest.raises(ProtocolError):
        codec.receive(message)
    with pytest.raises(ProtocolError):
        codec.receive(json.dumps(PROVIDERS["twilio"].start).replace("mulaw", "opus"))


def test_a_key_may_be_a_number() -> None:
    codec, _ = tolerant(TwilioCodec())
    codec.receive(json.dumps(PROVIDERS["twilio"].start))
    assert codec.receive(event("dtmf", dtmf={"digit": 5})) == [KeyPressed("5")]
