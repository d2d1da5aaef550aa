"""Calls over WebRTC, by a client of aiortc and over the loopback."""

import asyncio
import re
import sys
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aioice import stun
from msgspec.structs import replace
from numpy.typing import NDArray

from duplex.config import (
    AccessConfig,
    Config,
    LimitsConfig,
    ServerConfig,
    WebRtcConfig,
    load_config,
)
from duplex.errors import ConfigError
from duplex.server.keys import load_keys
from duplex.testing.engine import Script
from engine.types import Speech
from tests._support.servers import FAST, Running, running_server
from tests._support.webrtc import RATE_HZ, Caller, Network, calling, post

pytestmark = pytest.mark.realtime
CONFIG = Config(server=ServerConfig(port=0, max_calls=2))
KEY = "a-key-of-enough-characters"
LONG = Script(ear_s=0.001, piece_s=0.001, says=[[Speech("This is a long story. ")] * 40])
CALLS = "/v1/realtime/calls"


def tone(seconds: float, level: float = 0.3) -> NDArray[np.float32]:
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * 300 * at)).astype(np.float32)


async def until_free(running: Running, calls: int = 0, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while len(running.server.calls) != calls:
            await asyncio.sleep(0.02)


async def an_offer() -> str:
    caller = Caller()
    try:
        return await caller.offer()
    finally:
        await caller.connection.close()


async def test_a_spoken_turn_is_answered_over_the_track() -> None:
    async with running_server(CONFIG, FAST) as running:
        async with calling(running.http) as caller:
            await caller.until("session.created")
            caller.microphone.say(tone(0.8))
            stopped = await caller.until("output_audio_buffer.stopped")
            done = await caller.until("response.done")
            kinds = [event["type"] for event in caller.events]
            started = caller.of("output_audio_buffer.started")
            assert [e["response_id"] for e in started] == [done["response"]["id"]]
            assert stopped["response_id"] == done["response"]["id"]
            assert "response.output_audio.delta" not in kinds
            assert "response.output_audio_transcript.delta" in kinds
            assert kinds.index("output_audio_buffer.stopped") > kinds.index("response.done")
            assert np.abs(caller.heard).max() > 0.05
            assert len(running.server.calls) == 1
        await until_free(running)


async def test_an_interruption_is_heard_at_once_and_cuts_to_what_was_heard() -> None:
    async with running_server(CONFIG, LONG) as running, calling(running.http) as caller:
        caller.microphone.say(tone(0.8))
        await caller.until("output_audio_buffer.started")
        await asyncio.sleep(1.5)
        caller.microphone.say(tone(0.8))
        await caller.until("output_audio_buffer.cleared")
        cleared_s = asyncio.get_running_loop().time()
        cut = await caller.until("conversation.item.truncated")
        assert 1000 < cut["audio_end_ms"] < 3500
        assert not caller.of("error")
        await asyncio.sleep(0.4)
        # aiortc's own buffer at the caller holds back a few frames; then nothing is heard.
        assert np.abs(caller.heard_since(cleared_s + 0.25)).max() < 0.01
        assert len(caller.of("conversation.item.truncated")) == 1


async def test_the_client_stops_what_it_hears() -> None:
    async with running_server(CONFIG, LONG) as running, calling(running.http) as caller:
        caller.microphone.say(tone(0.8))
        await caller.until("output_audio_buffer.started")
        caller.send({"type": "output_audio_buffer.clear"})
        await caller.until("output_audio_buffer.cleared")
        done = await caller.until("response.done")
        assert done["response"]["status"] == "cancelled"
        assert not caller.of("error")


async def test_a_bad_network_loses_no_turn() -> None:
    network = Network(loss=0.05, jitter_s=0.06)
    async with (
        running_server(CONFIG, FAST) as running,
        calling(running.http, network=network) as caller,
    ):
        for turn in (1, 2, 3):
            caller.microphone.say(tone(0.8))
            await caller.until("output_audio_buffer.stopped", turn)
        stopped = caller.of("input_audio_buffer.speech_stopped")
        started = caller.of("input_audio_buffer.speech_started")
        assert (len(started), len(stopped)) == (3, 3), "no turn is cut in two"
    assert network.lost > 5


async def test_a_session_comes_with_the_offer() -> None:
    session = {
        "type": "realtime",
        "instructions": "Speak like a sailor.",
        "audio": {"output": {"format": {"type": "audio/pcmu"}}},
    }
    async with running_server(CONFIG) as running, calling(running.http, session=session) as caller:
        created = await caller.until("session.created")
        assert created["session"]["instructions"] == "Speak like a sailor."
        assert created["session"]["audio"]["output"]["format"]["type"] == "audio/pcm"


async def test_events_of_the_channel_are_obeyed_and_mistakes_answered() -> None:
    async with running_server(CONFIG) as running, calling(running.http) as caller:
        caller.send({"type": "no.such.event", "event_id": "mine"})
        error = await caller.until("error")
        assert error["error"]["event_id"] == "mine"
        caller.send({"type": "response.create"})
        await caller.until("output_audio_buffer.stopped")
        caller.channel.send("not JSON")
        await caller.until("error", 2)


async def test_keys_and_secrets_let_in_and_only_their_owner_hangs_up() -> None:
    access = AccessConfig(origins=("https://app.example.org",))
    config = replace(CONFIG, access=access)
    keys = load_keys(access, {access.key_env: KEY})
    async with running_server(config, FAST, keys) as running:
        offer = (await an_offer()).encode()
        status, _, text = await post(f"{running.http}{CALLS}", offer)
        assert (status, "invalid_api_key" in text) == (401, True)
        made = await post(
            f"{running.http}/v1/realtime/client_secrets", b"{}", KEY, "application/json"
        )
        secret = re.search(r"ek_\w+", made[2])[0]
        async with calling(running.http, key=secret) as caller:
            assert caller.location == f"{CALLS}/{caller.call_id}"
            assert caller.call_id.startswith("rtc_")
            hang_up = f"{running.http}{caller.location}/hangup"
            assert (await post(hang_up, b""))[0] == 401
            assert (await post(f"{running.http}{CALLS}/rtc_none/hangup", b"", KEY))[0] == 404
            assert (await post(f"{running.http}{caller.location}/refer", b"", KEY))[0] == 404
            assert (await post(hang_up, b"", KEY))[0] == 200
            async with asyncio.timeout(5):
                await caller.is_closed.wait()
            await until_free(running)
            assert (await post(hang_up, b"", KEY))[0] == 404


async def test_pages_of_other_origins_ask_first() -> None:
    config = replace(CONFIG, access=AccessConfig(origins=("https://app.example.org",)))
    async with running_server(config) as running, aiohttp.ClientSession() as session:
        url = f"{running.http}{CALLS}"
        ours = {
            "Origin": "https://app.example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-openai-agents-sdk",
        }
        async with session.options(url, headers=ours) as answer:
            assert answer.status == 204
            told = answer.headers
            assert told["Access-Control-Allow-Origin"] == "https://app.example.org"
            assert told["Access-Control-Allow-Headers"] == "authorization,x-openai-agents-sdk"
        async with session.options(url, headers={**ours, "Origin": "https://evil.org"}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
        evil = {"Origin": "https://evil.org", "Content-Type": "application/sdp"}
        async with session.post(url, data=b"v=0", headers=evil) as answer:
            assert answer.status == 403
        async with session.get(url) as answer:
            assert answer.status == 405
        bad = {"Origin": "https://app.example.org", "Content-Type": "application/sdp"}
        async with session.post(url, data=b"v=0", headers=bad) as answer:
            assert answer.status == 400
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"


def mangled(offer: str) -> list[str]:
    """Offers that nobody can use."""
    fingerprint = "".join(
        line for line in offer.splitlines(True) if not line.startswith("a=fingerprint")
    )
    return [
        "v=0",
        offer[:200],
        re.sub(r"a=ice-(ufrag|pwd).*\r\n", "", offer),
        re.sub(r"a=setup.*\r\n", "a=setup:nonsense\r\n", offer),
        re.sub(r"opus/48000/2", "strange/8000", offer).replace("PCM", "XCM"),
        re.sub(r"a=candidate:.*\r\n", "a=candidate:nonsense\r\n", offer),
        re.sub(r"a=sctp-port.*\r\n", "a=sctp-port:many\r\n", offer),
        re.sub(r"m=audio \d+", "m=audio -7", offer),
        fingerprint,
    ]


async def test_an_offer_that_cannot_be_used_is_refused_and_harms_nobody() -> None:
    async with running_server(CONFIG) as running, calling(running.http) as caller:
        tasks = len(asyncio.all_tasks())
        for offer in mangled(await an_offer()):
            status, _, text = await post(f"{running.http}{CALLS}", offer.encode())
            if status == 201:  # what is wrong with it shows only later
                assert "fingerprint" not in offer
                continue
            assert (status, "error" in text) == (400, True), (status, text, offer[:300])
        caller.microphone.say(tone(0.8))
        await caller.until("output_audio_buffer.stopped")
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) <= tasks + 25  # of those that were taken


async def test_a_full_server_refuses_in_words() -> None:
    config = replace(CONFIG, server=replace(CONFIG.server, max_calls=1))
    async with running_server(config) as running:
        async with calling(running.http):
            offer = (await an_offer()).encode()
            status, headers, text = await post(f"{running.http}{CALLS}", offer)
            assert (status, "server_full" in text) == (503, True)
            assert headers["Retry-After"]
        await until_free(running)
        async with calling(running.http) as caller:
            await caller.until("session.created")


async def test_a_peer_that_falls_silent_frees_its_place() -> None:
    config = replace(CONFIG, webrtc=WebRtcConfig(silent_s=1.5))
    network = Network()
    async with running_server(config) as running, calling(running.http, network=network) as caller:
        await caller.until("session.created")
        await asyncio.sleep(2.5)
        assert len(running.server.calls) == 1, "a caller who says nothing is still there"
        network.is_cut = True
        await until_free(running, timeout_s=6)


async def test_a_caller_that_never_connects_frees_its_place() -> None:
    config = replace(CONFIG, webrtc=WebRtcConfig(silent_s=1.0))
    async with running_server(config) as running:
        status, _, _ = await post(f"{running.http}{CALLS}", (await an_offer()).encode())
        assert (status, len(running.server.calls)) == (201, 1)
        await until_free(running, timeout_s=6)


async def test_a_channel_that_is_closed_ends_the_call() -> None:
    async with running_server(CONFIG) as running, calling(running.http) as caller:
        await caller.until("session.created")
        caller.channel.close()
        await until_free(running)


async def test_a_flood_is_dropped_and_waits() -> None:
    config = replace(CONFIG, limits=LimitsConfig(messages_per_s=5))
    async with running_server(config) as running, calling(running.http) as caller:
        await caller.until("session.created")
        for _ in range(200):
            caller.send({"type": "input_audio_buffer.clear"})
        await caller.until("error")
        assert caller.events[-1]["error"]["code"] == "rate_limit_exceeded"
        await until_free(running)


async def test_a_server_that_stops_says_so() -> None:
    async with running_server(CONFIG) as running, calling(running.http) as caller:
        await caller.until("session.created")
        await running.server.drain()
        error = await caller.until("error")
        assert error["error"]["code"] == "server_stopping"
        status, _, _ = await post(f"{running.http}{CALLS}", (await an_offer()).encode())
        assert status == 503


async def test_the_ports_and_the_address_are_as_configured() -> None:
    webrtc = WebRtcConfig(listen="127.0.0.1", udp_ports="42310-42313", public_address="192.0.2.7")
    async with running_server(replace(CONFIG, webrtc=webrtc)) as running:
        status, _, answer = await post(f"{running.http}{CALLS}", (await an_offer()).encode())
        assert status == 201
        places = re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", answer)
        assert {host for host, _ in places} == {"192.0.2.7"}
        assert {int(port) for _, port in places} <= set(range(42310, 42314))


class StunServer(asyncio.DatagramProtocol):
    """Tells everybody that they come from one address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asked = stun.parse_message(data)
        told = stun.Message(
            message_method=asked.message_method,
            message_class=stun.Class.RESPONSE,
            transaction_id=asked.transaction_id,
        )
        told.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.9", 4242)
        self.transport.sendto(bytes(told), addr)  # type: ignore[attr-defined]


async def test_a_stun_server_tells_the_public_address() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    webrtc = WebRtcConfig(listen="127.0.0.1", stun=f"stun:127.0.0.1:{port}")
    try:
        async with running_server(replace(CONFIG, webrtc=webrtc)) as running:
            status, _, answer = await post(f"{running.http}{CALLS}", (await an_offer()).encode())
        assert status == 201
        assert re.search(r"192\.0\.2\.9 4242 typ srflx", answer)
    finally:
        transport.close()


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = (await an_offer()).encode()
    monkeypatch.setitem(sys.modules, "duplex.webrtc.peer", None)
    async with running_server(CONFIG) as running:
        status, _, text = await post(f"{running.http}{CALLS}", offer)
        assert (status, "pip install 'duplex-r1[webrtc]'" in text) == (501, True)
        assert len(running.server.calls) == 0


async def test_it_can_be_switched_off() -> None:
    async with running_server(replace(CONFIG, webrtc=WebRtcConfig(enabled=False))) as running:
        assert (await post(f"{running.http}{CALLS}", b"v=0"))[0] == 404


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("udp_ports", "5000"),
        ("udp_ports", "5000-4000"),
        ("udp_ports", "1-70000"),
        ("stun", "stun.example.org"),
        ("turn", "stun:example.org"),
        ("turn", "turn:"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(tmp_path: Path, option: str, value: str) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text(f'[webrtc]\n{option} = "{value}"\n')
    with pytest.raises(ConfigError, match=f"webrtc.{option}"):
        load_config(path).webrtc.check()
