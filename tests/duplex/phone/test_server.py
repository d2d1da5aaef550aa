"""The phone's paths on a real socket: who is let in, what providers get, and attacks that
harm no other call."""

import asyncio
import base64
import contextlib
import hashlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from client.telephone.twilio import TwilioEnd, phone_call, signature
from duplex.config import AssistantConfig, Config, LimitsConfig, PhoneConfig, ServerConfig
from duplex.phone.events import PCMU, Started
from duplex.phone.line.leg import MAX_MESSAGE_BYTES
from duplex.phone.providers.tolerance import AT_ONCE
from duplex.phone.providers.twilio_rest import TwilioSwitchboard
from duplex.server.keys import Keys, Principal
from duplex.server.quota import Allowance
from tests._support.phones import loud
from tests._support.servers import NO_KEYS, running_server
from tests._support.wire import close_code

pytestmark = pytest.mark.realtime

TOKEN = "an auth token of Twilio's"
KEY = "a-key-of-this-server"
KEYS = Keys(
    {"k": (hashlib.sha256(KEY.encode()).digest(), Principal("k", Allowance()))},
    Principal("", Allowance()),
)
OPEN = Config(server=ServerConfig(port=0))


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


async def fetch(url: str, body: bytes | None = None, **headers: str) -> Answer:
    """A plain request."""
    request = urllib.request.Request(
        url, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )

    def get() -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return Answer(answer.status, answer.read().decode(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode())

    return await asyncio.to_thread(get)


def ws(http: str, path: str) -> str:
    return http.replace("http", "ws", 1) + path


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    return TOKEN


async def hold_a_call(http: str, token: str | None = None) -> None:
    """A call that is greeted: the server works."""
    async with phone_call(ws(http, "/twilio"), token=token) as call:
        await call.hear_answer(pause_ms=100)
        assert call.misbehaviour is None


GREETING = Config(
    server=ServerConfig(port=0),
    phone=PhoneConfig(assistant="a"),
    assistants={"a": AssistantConfig(greeting="Hello.")},
)


async def test_a_signed_call_is_greeted(token: str) -> None:
    async with running_server(GREETING, keys=KEYS) as running:
        await hold_a_call(running.http, token)
        page = running.server.metrics.render({})
        assert 'duplex_phone_calls_total{provider="twilio"} 1' in page


@pytest.mark.parametrize("presented", [None, "", "x", signature(TOKEN, "wss://other/twilio")])
async def test_without_the_right_signature_nothing_is_allocated(
    token: str, presented: str | None
) -> None:
    headers = {} if presented is None else {"X-Twilio-Signature": presented}
    async with running_server(OPEN) as running:
        with pytest.raises(InvalidStatus) as refused:
            await connect(ws(running.http, "/twilio"), additional_headers=headers)
        assert refused.value.response.status_code == 403
        assert running.engine.sessions == []
        assert (await fetch(running.http + "/twilio")).status == 403


async def test_with_keys_and_no_auth_token_twilio_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TWILIO_AUTH_TOKEN", raising=False)
    async with running_server(OPEN, keys=KEYS) as running:
        url = ws(running.http, "/twilio")
        for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-Twilio-Signature": ""}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, additional_headers=headers)
            assert refused.value.response.status_code == 403


async def test_whoever_may_call_what_others_reach_twilio_signs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TWILIO_AUTH_TOKEN", raising=False)
    open_to_all = Config(
        server=ServerConfig(port=0, insecure=True),
        phone=PhoneConfig(public_url="https://bot.example.org"),
    )
    async with running_server(open_to_all) as running:
        with pytest.raises(InvalidStatus) as refused:
            await connect(ws(running.http, "/twilio"))
        assert refused.value.response.status_code == 403


async def test_behind_a_proxy_the_public_address_is_signed(token: str) -> None:
    config = replace_phone(GREETING, public_url="https://bot.example.org")
    async with running_server(config, keys=KEYS) as running:
        url = ws(running.http, "/twilio")
        signed = {"X-Twilio-Signature": signature(token, "wss://bot.example.org/twilio")}
        async with connect(url, additional_headers=signed):
            pass
        with pytest.raises(InvalidStatus):
            await connect(url, additional_headers={"X-Twilio-Signature": signature(token, url)})


def replace_phone(config: Config, **options: object) -> Config:
    phone = PhoneConfig(assistant=config.phone.assistant, **options)  # type: ignore[arg-type]
    return Config(server=config.server, assistants=config.assistants, phone=phone)


@pytest.mark.parametrize("path", ["/telnyx", "/plivo", "/exotel", "/vonage"])
async def test_the_other_providers_carry_a_key(path: str) -> None:
    async with running_server(OPEN, keys=KEYS) as running:
        for wrong in (path, path + "?token=wrong", path + "?assistant=a"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(ws(running.http, wrong))
            assert refused.value.response.status_code == 401
        async with connect(ws(running.http, f"{path}?token={KEY}")):
            pass
        assert running.engine.sessions == []  # nothing has started


async def test_pages_of_other_origins_may_not_call() -> None:
    async with running_server(OPEN) as running:
        with pytest.raises(InvalidStatus) as refused:
            await connect(ws(running.http, "/twilio"), origin="https://evil.example")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403


async def test_twilio_is_told_to_open_a_stream_with_the_assistant_of_the_address(
    token: str,
) -> None:
    config = replace_phone(OPEN, public_url="https://bot.example.org")
    async with running_server(config, keys=KEYS) as running:
        target, form = "/twilio?assistant=a%22b", {"From": "+15550100", "To": "+15550199"}
        public = "https://bot.example.org" + target
        validator = RequestValidator(TOKEN)
        got = await fetch(
            running.http + target, X_Twilio_Signature=validator.compute_signature(public, {})
        )
        posted = await fetch(
            running.http + target,
            b"From=%2B15550100&To=%2B15550199",
            X_Twilio_Signature=validator.compute_signature(public, form),
            Content_Type="application/x-www-form-urlencoded",
        )
        forged = await fetch(
            running.http + target,
            b"From=%2B15550100&To=%2B15550666",
            X_Twilio_Signature=validator.compute_signature(public, form),
        )
    assert forged.status == 403
    assert (got.status, posted.status) == (200, 200)
    assert got.headers["Content-Type"].startswith("text/xml")
    stream = ElementTree.fromstring(got.body).find("Connect/Stream")
    assert stream is not None
    assert stream.attrib == {"url": "wss://bot.example.org/twilio"}
    (parameter,) = stream
    assert parameter.attrib == {"name": "assistant", "value": 'a"b'}
    assert {
        each.get("name"): each.get("value")
        for each in ElementTree.fromstring(posted.body).iter("Parameter")
    } == {
        "assistant": 'a"b',
        "caller": "+15550100",
        "called": "+15550199",
    }


async def test_each_provider_is_told_in_its_own_language() -> None:
    async with running_server(OPEN, keys=KEYS) as running:
        url = f"?assistant=a&token={KEY}&From=%2B1555"
        stream = ws(running.http, "")
        told = {p: await fetch(running.http + p + url) for p in ("/telnyx", "/plivo")}
        numbers = {"from": "+1555", "to": "+1666", "conversation_uuid": "x"}
        body = json.dumps(numbers).encode()
        told["/vonage"] = await fetch(
            running.http + "/vonage" + url, body, Content_Type="application/json"
        )
        assert (await fetch(running.http + "/plivo")).status == 401
        assert (await fetch(running.http + "/telnyx" + url, b"a=b")).status == 200
    telnyx = ElementTree.fromstring(told["/telnyx"].body).find("Connect/Stream")
    assert telnyx is not None
    assert telnyx.attrib == {"url": f"{stream}/telnyx{url}", "bidirectionalMode": "rtp"}
    plivo = ElementTree.fromstring(told["/plivo"].body).find("Stream")
    assert plivo is not None
    assert plivo.text == f"{stream}/plivo{url}"
    assert plivo.attrib["extraHeaders"] == "caller=1555,assistant=a"
    (vonage,) = json.loads(told["/vonage"].body)
    assert vonage["endpoint"][0]["uri"] == f"{stream}/vonage{url}"
    headers = {"assistant": "a", "caller": "+1555", "called": "+1666"}
    assert vonage["endpoint"][0]["headers"] == headers


async def test_when_the_server_is_full_callers_are_told_and_streams_closed() -> None:
    config = Config(
        server=ServerConfig(port=0, max_calls=1),
        phone=GREETING.phone,
        assistants=GREETING.assistants,
    )
    async with running_server(config) as running:
        async with phone_call(ws(running.http, "/twilio")) as first:
            await first.hear_answer(pause_ms=100)
            twiml = ElementTree.fromstring((await fetch(running.http + "/twilio")).body)
            assert [child.tag for child in twiml] == ["Say", "Hangup"]
            async with phone_call(ws(running.http, "/twilio")) as second:
                await second.closed.wait()
            assert not first.closed.is_set()
        assert len(running.engine.sessions) == 1


def other(count: int) -> list[str]:
    """Messages of another stream."""
    return [json.dumps({"event": "media", "streamSid": "other", "media": {}})] * count


START = TwilioEnd().start()
GARBAGE = [
    ["{"],
    [json.dumps({"event": "media", "streamSid": "x", "media": {"payload": "AAAA"}})],
    [b"\0" * 1000],
    ["x" * 100_000],
    [START[0], START[1].replace("mulaw", "opus")],
    [*START, *other(AT_ONCE + 100)],
    [*START, *(["not json"] * (AT_ONCE + 100))],
    [*TwilioEnd().start(), json.dumps({"event": "x", "y": "z" * 100_000})],
]


@pytest.mark.parametrize("messages", GARBAGE)
async def test_garbage_ends_its_call_alone(messages: list[str | bytes]) -> None:
    async with running_server(GREETING) as running:
        async with phone_call(ws(running.http, "/twilio")) as call:
            async with connect(ws(running.http, "/twilio")) as attacker:
                with contextlib.suppress(ConnectionClosed):
                    for message in messages:
                        await attacker.send(message)
                too_big = len(messages[-1]) > MAX_MESSAGE_BYTES
                assert await close_code(attacker) == (1009 if too_big else 1008)
            call.end.say(loud(1.0))
            await call.hear_answer(pause_ms=100)
            assert not call.closed.is_set()
        await hold_a_call(running.http)


async def test_who_says_nothing_is_closed() -> None:
    config = Config(server=OPEN.server, limits=LimitsConfig(handshake_s=0.2))
    async with running_server(config) as running, connect(ws(running.http, "/twilio")) as silent:
        await silent.send(TwilioEnd().start()[0])
        assert await close_code(silent) == 1008
        assert running.engine.sessions == []


async def test_a_fault_of_ours_in_a_phone_call_ends_it_alone() -> None:
    async with running_server(GREETING) as running:
        async with phone_call(ws(running.http, "/twilio")) as one:
            await one.hear_answer(pause_ms=100)
            async with phone_call(ws(running.http, "/twilio")) as two:
                await two.hear_answer(pause_ms=100)

                def fail(*_: object) -> None:
                    raise ZeroDivisionError("a bug")

                running.engine.sessions[0].begin_turn = fail  # type: ignore[method-assign]
                one.end.say(loud(1.0))
                await one.closed.wait()
                assert not two.closed.is_set()
        await hold_a_call(running.http)


async def without_end(connection: ClientConnection) -> AsyncIterator[str | bytes]:
    """All messages, whatever the closing code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await connection.recv()


async def test_callers_are_told_nothing_more_when_the_server_stops() -> None:
    async with running_server(GREETING) as running:
        connection = await connect(ws(running.http, "/twilio"))
        for message in TwilioEnd().start():
            await connection.send(message)
        while not running.engine.sessions:
            await asyncio.sleep(0)
    heard = [json.loads(message)["event"] async for message in without_end(connection)]
    assert connection.close_code == 1012
    assert set(heard) <= {"media", "mark", "clear"}


async def test_numbers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running_server(GREETING) as running:
        end = TwilioEnd({"from": "+15550123", "assistant": "who?"}, call_sid="CA777")
        async with phone_call(ws(running.http, "/twilio"), end) as call:
            await call.hear_answer(pause_ms=100)
    assert "opened from twilio" in caplog.text
    assert "5550123" not in caplog.text
    assert "default answers" in caplog.text


class TwilioApi(BaseHTTPRequestHandler):
    """A local stand-in of Twilio's REST API."""

    seen: list[tuple[str, str, dict[str, list[str]]]]
    status: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        basic = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        self.seen.append((self.path, basic, parse_qs(body)))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture
def twilio_api() -> Iterator[tuple[str, type[TwilioApi]]]:
    handler = type("Handler", (TwilioApi,), {"seen": [], "status": 200})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_transfer_updates_the_call(
    twilio_api: tuple[str, type[TwilioApi]], status: int
) -> None:
    url, handler = twilio_api
    handler.status = status
    call = Started("CA1", "AC1", PCMU)
    accepted = await TwilioSwitchboard(url, "secret").transfer(call, "+1555<0100")
    assert accepted == (status == 200)
    twiml = "<Response><Dial>+1555&lt;0100</Dial></Response>"
    path = "/2010-04-01/Accounts/AC1/Calls/CA1.json"
    assert handler.seen == [(path, "AC1:secret", {"Twiml": [twiml]})]


async def test_a_transfer_without_a_network_fails() -> None:
    call = Started("CA1", "AC1", PCMU)
    assert not await TwilioSwitchboard("http://127.0.0.1:1", "secret").transfer(call, "+1555")


async def test_without_keys_everybody_on_this_machine_may_call() -> None:
    async with running_server(GREETING, keys=NO_KEYS) as running:
        await hold_a_call(running.http)


async def test_the_address_of_a_stream_may_name_the_assistant() -> None:
    connected = {"event": "websocket:connected", "content-type": "audio/l16;rate=16000"}
    assistants = {"a": AssistantConfig(greeting="Hello.")}
    config = Config(server=ServerConfig(port=0), assistants=assistants)
    async with (
        running_server(config) as running,
        connect(ws(running.http, "/vonage?assistant=a")) as call,
    ):
        await call.send(json.dumps(connected))
        greeting = await call.recv()  # nobody has spoken
        assert len(greeting) == 640
