"""Webhooks and traces of real calls over a WebSocket."""

import asyncio
import json
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from standardwebhooks import Webhook
from websockets.asyncio.client import ClientConnection, connect

from client.telephone.twilio import TwilioEnd, phone_call
from duplex.config import Config, RecordingConfig, ServerConfig, TelemetryConfig, WebhookConfig
from duplex.metrics import STAGES
from duplex.server.resumable_call import HUNG_UP
from duplex.testing.engine import Script
from engine.types import CallArguments, CallEnded, CallStarted, Speech
from tests._support.metrics_page import samples
from tests._support.receiver import SECRET, Receiver, Request, receiving
from tests._support.servers import running_server
from tests._support.webrtc import Caller
from tests._support.wire import say_something, send, tone, until

pytestmark = pytest.mark.realtime
CONFIG = Config(server=ServerConfig(port=0))
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLS_A_FUNCTION = Script(
    ear_s=0.001,
    piece_s=0.001,
    says=(
        (CallStarted("book"), CallArguments('{"day":"Mon"}'), CallEnded()),
        (Speech("It is booked."),),
    ),
)
BOOK = {"type": "function", "name": "book", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUPLEX_WEBHOOK_SECRET", SECRET)


async def test_a_receiver_that_fails_first_is_told_all_of_a_call() -> None:
    def answer(request: Request, number: int) -> web.Response:
        return web.Response(status=503 if number == 1 else 200)

    async with receiving(answer) as receiver:
        config = replace(CONFIG, webhooks=(WebhookConfig(url=receiver.url),))
        async with running_server(config, CALLS_A_FUNCTION) as running:
            async with connect(running.url) as connection:
                session = {"type": "realtime", "tools": [BOOK]}
                await send(connection, "session.update", session=session)
                await say_something(connection)
            await receiver.wait_for(4)
        page = samples(running.server.metrics.render({}))
    told = [Webhook(SECRET).verify(each.body, dict(each.headers)) for each in receiver.requests]
    assert [each["type"] for each in told] == [
        "call.started",
        "call.started",
        "call.function_called",
        "call.ended",
    ]
    assert told[1] == told[0]  # the same event again
    assert told[0]["data"]["call"]["line"] == {"kind": "websocket"}
    assert told[2]["data"]["function"]["arguments"] == '{"day":"Mon"}'
    ended = told[3]["data"]
    assert (ended["reason"], ended["turns"], ended["responses"]) == ("hung_up", 1, 1)
    assert 0 < ended["duration_s"] < 60
    assert abs(told[3]["created_at"] - time.time()) < 60
    assert page['duplex_webhooks_total{result="delivered"}'] == 3


async def test_a_recording_is_told_when_it_is_whole(tmp_path: Path) -> None:
    async with receiving() as receiver:
        webhook = WebhookConfig(url=receiver.url, events=("call.ended", "call.recorded"))
        recording = RecordingConfig(dir=str(tmp_path))
        config = replace(CONFIG, webhooks=(webhook,), recording=recording)
        async with running_server(config) as running, connect(running.url) as connection:
            await say_something(connection)
    ended, recorded = [json.loads(request.body) for request in receiver.requests]
    assert (ended["type"], recorded["type"]) == ("call.ended", "call.recorded")
    assert recorded["data"]["call"] == ended["data"]["call"]
    told = recorded["data"]["recording"]
    assert (tmp_path / told["id"] / "audio.flac").exists()
    assert told["duration_s"] > 1


async def test_who_calls_whom_is_told_of_a_phone_call() -> None:
    async with receiving() as receiver:
        config = replace(CONFIG, webhooks=(WebhookConfig(url=receiver.url),))
        async with running_server(config) as running:
            url = running.http.replace("http", "ws", 1) + "/twilio"
            numbers = {"caller": "+15550100", "called": "+15550199"}
            async with phone_call(url, TwilioEnd(parameters=numbers)):
                await receiver.wait_for(1)
    started, ended = [json.loads(request.body) for request in receiver.requests]
    assert started["data"]["call"]["line"] == {"kind": "phone", "provider": "twilio", **numbers}
    assert ended["type"] == "call.ended"


async def test_a_dead_endpoint_harms_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duplex.webhooks.hooks._FAREWELL_S", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        config = replace(CONFIG, webhooks=(WebhookConfig(url=url, queue=3),))
        async with running_server(config) as running:
            for _ in range(3):
                async with connect(running.url) as connection:
                    assert (await say_something(connection))["status"] == "completed"
        page = samples(running.server.metrics.render({}))
    assert page['duplex_webhooks_total{result="dropped"}'] == 6


def spans_of(collector: Receiver) -> list[Span]:
    """All that were exported so far."""
    return [
        span
        for request in collector.requests
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def listen_until(connection: ClientConnection, collector: Receiver, name: str) -> None:
    """Be silent until a span of that name is exported."""
    async with asyncio.timeout(20):
        while not any(span.name == name for span in spans_of(collector)):
            await send(connection, "input_audio_buffer.append", audio=tone(0.02, level=0))
            await asyncio.sleep(0.02)


async def test_a_call_is_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with receiving() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        config = replace(CONFIG, telemetry=TelemetryConfig(traces=True))
        began_ns = time.time_ns()
        async with (
            running_server(config) as running,
            connect(running.url, additional_headers=headers) as connection,
        ):
            session = {"type": "realtime", "duplex": {"metrics": True}}
            await send(connection, "session.update", session=session)
            await say_something(connection)
            marks = (await until(connection, "duplex.turn_metrics"))["marks_ms"]
            await listen_until(connection, collector, "reply")
            await say_something(connection)
            await listen_until(connection, collector, "turn")  # while the call goes on
            names = {span.name for span in spans_of(collector)}
            assert "call" not in names
    spans = spans_of(collector)
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    by_name: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.start_time_unix_nano):
        by_name.setdefault(span.name, []).append(span)
        assert (
            began_ns - 10**9
            <= span.start_time_unix_nano
            <= span.end_time_unix_nano
            <= time.time_ns()
        )
    assert {name: len(each) for name, each in by_name.items()} == {
        "call": 1,
        "turn": 2,
        "reply": 2,
        "speech": 2,
        "playback": 2,
        **dict.fromkeys(STAGES, 2),
    }
    (call,) = by_name["call"]
    assert call.parent_span_id.hex() == PARENT
    assert all(span.parent_span_id == call.span_id for span in by_name["turn"])
    for turn, reply in zip(by_name["turn"], by_name["reply"], strict=True):
        assert reply.parent_span_id == turn.span_id
    zero_ns = by_name["speech"][0].end_time_unix_nano  # faster than real time, maybe before all
    for stage in STAGES:
        reached_ms = (by_name[stage][0].end_time_unix_nano - zero_ns) / 1e6
        assert reached_ms == pytest.approx(marks[stage], abs=1), stage
    attributes = {each.key: each.value for each in by_name["reply"][0].attributes}
    assert attributes["gen_ai.usage.output_tokens"].int_value > 0


async def test_an_offer_and_a_phone_stream_may_name_their_trace() -> None:
    named = f"00-{TRACE}-{PARENT}-01"
    headers = {"traceparent": named, "Content-Type": "application/sdp"}
    async with running_server(CONFIG) as running, aiohttp.ClientSession() as session:
        caller = Caller()
        url = f"{running.http}/v1/realtime/calls"
        async with session.post(url, data=(await caller.offer()).encode(), headers=headers) as sent:
            assert sent.status == 201
        (call,) = running.server.calls
        assert (call.info.client, call.info.traceparent) == ("webrtc", named)
        await caller.connection.close()
        call.end(HUNG_UP)
        stream = running.http.replace("http", "ws", 1) + "/twilio"
        async with phone_call(stream, TwilioEnd(parameters={"traceparent": named})):
            async with asyncio.timeout(20):
                while not (found := [c for c in running.server.calls if c is not call]):
                    await asyncio.sleep(0.01)
        assert (found[0].info.client, found[0].info.traceparent) == ("twilio", named)
