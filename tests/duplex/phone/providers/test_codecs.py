"""The codecs of all providers: what they read and write, message by message, and beside pipecat's
serializers, which somebody else wrote."""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplex.audio.formats import decode_alaw, decode_ulaw, encode_alaw, encode_pcm16, encode_ulaw
from duplex.errors import ProtocolError
from duplex.phone.codec import PhoneCodec, Wire
from duplex.phone.events import (
    PCMA,
    PCMU,
    CallerAudio,
    Encoding,
    KeyPressed,
    PhoneEvent,
    Played,
    Started,
    Stopped,
)
from duplex.phone.providers.exotel import ExotelCodec
from duplex.phone.providers.plivo import PlivoCodec
from duplex.phone.providers.telnyx import TelnyxCodec
from duplex.phone.providers.twilio import TwilioCodec
from duplex.phone.providers.vonage import VonageCodec

ROOT = Path(__file__).parents[4]
TONE = (0.4 * np.sin(np.arange(320) * 0.2)).astype(np.float32)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True)
class Provider:
    """What one sends. ``media`` holds ``audio``."""

    codec: Callable[[], PhoneCodec]
    encoding: Encoding
    audio: bytes
    start: Wire
    started: Started
    media: Wire
    dtmf: Wire
    mark: Wire
    others: tuple[Wire, ...] = ()
    stop: Wire | None = None
    misplaced: tuple[Wire, ...] = field(default=())


def text(**fields: Any) -> str:
    return json.dumps(fields)


ULAW, ALAW, PCM = encode_ulaw(TONE[:160]), encode_alaw(TONE[:160]), encode_pcm16(TONE)

TWILIO = Provider(
    TwilioCodec,
    PCMU,
    ULAW,
    text(
        event="start",
        sequenceNumber="1",
        start={
            "accountSid": "AC1",
            "streamSid": "MZ1",
            "callSid": "CA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"assistant": "dentist", "n": "1"},
        },
        streamSid="MZ1",
    ),
    Started("CA1", "AC1", PCMU, {"assistant": "dentist", "n": "1"}),
    text(
        event="media",
        sequenceNumber="4",
        media={"track": "inbound", "chunk": "2", "timestamp": "5", "payload": b64(ULAW)},
        streamSid="MZ1",
    ),
    text(
        event="dtmf",
        streamSid="MZ1",
        sequenceNumber="5",
        dtmf={"track": "inbound_track", "digit": "7"},
    ),
    text(event="mark", sequenceNumber="4", streamSid="MZ1", mark={"name": "m1"}),
    (text(event="connected", protocol="Call", version="1.0.0"), text(event="new", streamSid="x")),
    text(event="stop", streamSid="MZ1", stop={"accountSid": "AC1", "callSid": "CA1"}),
    (text(event="media", streamSid="MZ2", media={"payload": ""}), text(event="stop")),
)


def telnyx(law: str, encoding: Encoding, audio: bytes) -> Provider:
    return Provider(
        TelnyxCodec,
        encoding,
        audio,
        text(
            event="start",
            sequence_number="1",
            start={
                "user_id": "u",
                "call_control_id": "v2:T02",
                "media_format": {"encoding": law, "sample_rate": 8000, "channels": 1},
                "custom_parameters": {"assistant": "a"},
                "from": "+1555",
                "to": "+1666",
            },
            stream_id="32de",
        ),
        Started("v2:T02", "", encoding, {"assistant": "a", "caller": "+1555", "called": "+1666"}),
        text(
            event="media",
            sequence_number="4",
            media={"track": "inbound", "chunk": "2", "timestamp": "5", "payload": b64(audio)},
            stream_id="32de",
        ),
        text(event="dtmf", stream_id="32de", dtmf={"digit": "7"}),
        text(event="mark", stream_id="32de", mark={"name": "m1"}),
        (text(event="connected", version="1.0.0"),),
        text(event="stop", stream_id="32de", stop={"call_control_id": "v2:T02"}),
        (text(event="media", stream_id="other", media={"payload": ""}),),
    )


PLIVO = Provider(
    PlivoCodec,
    PCMU,
    ULAW,
    text(
        event="start",
        sequenceNumber=0,
        start={
            "callId": "c",
            "streamId": "s",
            "accountId": "M",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        },
        extra_headers="{X-PH-assistant=a, b=c}",
    ),
    Started("c", "M", PCMU, {"assistant": "a", "b": "c"}),
    text(
        event="media",
        streamId="s",
        media={"track": "inbound", "timestamp": "1", "chunk": 2, "payload": b64(ULAW)},
    ),
    text(event="dtmf", streamId="s", dtmf={"track": "inbound", "digit": "7", "timestamp": "1"}),
    text(event="playedStream", streamId="s", name="m1"),
    (text(event="clearedAudio", streamId="s"),),
    None,
    (text(event="media", streamId="t", media={"payload": ""}),),
)
EXOTEL = Provider(
    ExotelCodec,
    Encoding("pcm16", 8000),
    PCM,
    text(
        event="start",
        sequence_number="1",
        stream_sid="s",
        start={
            "stream_sid": "s",
            "call_sid": "c",
            "account_sid": "a",
            "from": "+91",
            "to": "+92",
            "custom_parameters": {"assistant": "a"},
            "media_format": {"encoding": "base64", "sample_rate": "8000"},
        },
    ),
    Started(
        "c", "a", Encoding("pcm16", 8000), {"assistant": "a", "caller": "+91", "called": "+92"}
    ),
    text(event="media", stream_sid="s", media={"chunk": "2", "payload": b64(PCM)}),
    text(event="dtmf", stream_sid="s", dtmf={"digit": "7", "duration": "80"}),
    text(event="mark", stream_sid="s", mark={"name": "m1"}),
    (text(event="connected"), text(event="clear", stream_sid="s")),
    text(event="stop", stream_sid="s", stop={"call_sid": "c", "reason": "callended"}),
    (text(event="media", stream_sid="t", media={"payload": ""}),),
)
VONAGE = Provider(
    VonageCodec,
    Encoding("pcm16", 16_000),
    encode_pcm16(TONE),
    text(
        event="websocket:connected",
        **{"content-type": "audio/l16;rate=16000", "assistant": "a", "uuid": "u"},
    ),
    Started(
        "u",
        "",
        Encoding("pcm16", 16_000),
        {
            "event": "websocket:connected",
            "content-type": "audio/l16;rate=16000",
            "assistant": "a",
            "uuid": "u",
        },
    ),
    encode_pcm16(TONE),
    text(event="websocket:dtmf", digit="7", duration=260),
    text(event="websocket:notify", payload={"mark": "m1"}),
    (text(event="websocket:cleared"), text(event="websocket:notify", payload={"x": "y"})),
    None,
    (b"\0",),
)
PROVIDERS = {
    "twilio": TWILIO,
    "telnyx": telnyx("PCMU", PCMU, ULAW),
    "telnyx-a": telnyx("PCMA", PCMA, ALAW),
    "plivo": PLIVO,
    "exotel": EXOTEL,
    "vonage": VONAGE,
}


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param]


def test_all_that_a_provider_sends_is_read(provider: Provider) -> None:
    codec = provider.codec()
    told: list[PhoneEvent] = []
    messages = [
        provider.others[0],
        provider.start,
        provider.media,
        provider.dtmf,
        provider.mark,
        *provider.others,
    ]
    for message in [*messages, *([provider.stop] if provider.stop else [])]:
        told += codec.receive(message)
    ends = [Stopped()] if provider.stop else []
    heard = [CallerAudio(provider.audio), KeyPressed("7"), Played("m1")]
    assert told == [provider.started, *heard, *ends]


def test_what_comes_before_the_start_or_of_another_stream_is_refused(provider: Provider) -> None:
    fresh, started = provider.codec(), provider.codec()
    with pytest.raises(ProtocolError, match="before"):
        fresh.receive(provider.media)
    started.receive(provider.start)
    with pytest.raises(ProtocolError, match="second start"):
        started.receive(provider.start)
    for message in provider.misplaced:
        with pytest.raises(ProtocolError):
            started.receive(message)


@pytest.mark.parametrize("garbage", ["{", "[]", "null", "1", "\ud800", "[" * 2000, ""])
def test_garbage_is_refused(provider: Provider, garbage: str) -> None:
    with pytest.raises(ProtocolError):
        provider.codec().receive(garbage)


@given(key=st.text(), payload=st.text(), name=st.one_of(st.none(), st.integers(), st.text()))
def test_no_field_can_do_worse_than_be_refused(key: str, payload: str, name: object) -> None:
    codec = TwilioCodec()
    codec.receive(TWILIO.start)
    for fields in (
        {"event": "dtmf", "dtmf": {"digit": key}},
        {"event": "media", "media": {"payload": payload}},
        {"event": "media", "media": {"payload": payload, "track": key}},
        {"event": "mark", "mark": {"name": name}},
        {"event": name},
    ):
        try:
            codec.receive(json.dumps({"streamSid": "MZ1", **fields}))
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("name", "was", "now"),
    [
        ("twilio", "audio/x-mulaw", "audio/x-alaw"),
        ("twilio", "MZ1", ""),
        ("telnyx", "PCMU", "OPUS"),
        ("plivo", "audio/x-mulaw", "audio/x-l16"),
        ("exotel", '"8000"', '"8001"'),
        ("exotel", '"8000"', '"x"'),
        ("vonage", "16000", "44100"),
    ],
)
def test_audio_that_is_not_spoken_here_is_refused(name: str, was: str, now: str) -> None:
    provider = PROVIDERS[name]
    assert isinstance(provider.start, str)
    with pytest.raises(ProtocolError):
        provider.codec().receive(provider.start.replace(was, now))


def test_marks_are_asked_for_as_each_provider_has_them() -> None:
    asked = {}
    for name, provider in PROVIDERS.items():
        codec = provider.codec()
        codec.receive(provider.start)
        asked[name] = json.loads(codec.mark("m1"))
        assert codec.hang_up() is None
    assert asked == {
        "twilio": {"event": "mark", "streamSid": "MZ1", "mark": {"name": "m1"}},
        "telnyx": {"event": "mark", "mark": {"name": "m1"}},
        "telnyx-a": {"event": "mark", "mark": {"name": "m1"}},
        "plivo": {"event": "checkpoint", "streamId": "s", "name": "m1"},
        "exotel": {"event": "mark", "stream_sid": "s", "mark": {"name": "m1"}},
        "vonage": {"action": "notify", "payload": {"mark": "m1"}},
    }


def test_only_the_caller_is_heard() -> None:
    codec = TwilioCodec()
    codec.receive(TWILIO.start)
    media = {"track": "outbound", "payload": b64(ULAW)}
    assert codec.receive(text(event="media", streamSid="MZ1", media=media)) == []
    assert codec.receive(text(event="dtmf", streamSid="MZ1", dtmf={"digit": "x"})) == []


@pytest.fixture(scope="module")
def peers() -> dict[str, dict[str, Any]]:
    """What pipecat reads and writes, by provider."""
    environment = ROOT / ".venv-clients" / "pipecat_service"
    if not (environment / ".installed").exists():
        pytest.skip(f"no environment in {environment}: run `make clients`")
    requests = []
    for name, provider in PROVIDERS.items():
        rate = provider.encoding.rate_hz
        stream = {"twilio": "MZ1", "plivo": "s", "exotel": "s"}.get(name, "32de")
        request = {
            "provider": name,
            "stream": stream,
            "rate": rate,
            "received": [_portable(provider.media), _portable(provider.dtmf)],
            "start": provider.start,
            "play": b64(encode_pcm16(TONE)),
        }
        requests.append(json.dumps(request))
    ran = subprocess.run(
        [
            str(environment / "bin" / "python"),
            str(ROOT / "tests/stock_clients/pipecat_service/phone.py"),
        ],
        input="\n".join(requests),
        env={**os.environ, "LOGURU_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    answers = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    return dict(zip(PROVIDERS, answers, strict=True))


def _portable(message: Wire) -> dict[str, str]:
    return {"text": message} if isinstance(message, str) else {"binary": b64(message)}


@pytest.mark.realtime
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PROVIDERS)
def test_pipecat_reads_the_same_and_writes_the_same(
    peers: dict[str, dict[str, Any]], name: str
) -> None:
    provider, peer = PROVIDERS[name], peers[name]
    codec = provider.codec()
    codec.receive(provider.start)
    decode = {"pcmu": decode_ulaw, "pcma": decode_alaw, "pcm16": None}[provider.encoding.name]
    pcm = provider.audio if decode is None else encode_pcm16(decode(provider.audio))
    if name != "vonage":  # whose streams its runner does not tell
        assert peer["known"] == name.removesuffix("-a")
    (kind, heard), key = peer["read"]
    assert (kind, key) == ("audio", ["key", "7"])
    ours, theirs = np.frombuffer(pcm, "<i2"), np.frombuffer(base64.b64decode(heard), "<i2")
    assert np.abs(ours.astype(int) - theirs).max() <= 8  # a rounding of the mu-law of 13 bits

    encode = {"pcmu": encode_ulaw, "pcma": encode_alaw, "pcm16": encode_pcm16}
    audio = encode[provider.encoding.name](TONE)
    assert _shape(codec.play(audio)) == _shape(_message(peer["played"]))
    cleared = codec.clear()
    assert cleared is not None
    assert json.loads(cleared) == json.loads(_message(peer["cleared"]))


def _message(portable: dict[str, str]) -> Wire:
    return portable["text"] if "text" in portable else base64.b64decode(portable["binary"])


def _shape(message: Wire) -> object:
    """The message with its audio as a length."""
    if isinstance(message, bytes):
        return len(message)
    told = json.loads(message)
    told["media"]["payload"] = len(base64.b64decode(told["media"]["payload"]))
    return told
