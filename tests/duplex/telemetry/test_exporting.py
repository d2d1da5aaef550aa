"""Spans as a collector gets them: over HTTP, from OpenTelemetry's own SDK."""

import asyncio
import subprocess
import sys

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from duplex import Server, telemetry
from duplex.config import Config, TelemetryConfig
from duplex.dialogue.observers import CallInfo, TurnEnd
from duplex.errors import ConfigError
from duplex.protocol.session_config import SessionConfig
from duplex.telemetry import traces
from duplex.telemetry.exporting import Exporter
from duplex.telemetry.traces import Traces
from tests._support.receiver import receiving

ON = Config(telemetry=TelemetryConfig(traces=True))
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def info(traceparent: str = "") -> CallInfo:
    return CallInfo(
        "call-1", 1e9, "alice", "websocket", "127.0.0.1", SessionConfig(), traceparent=traceparent
    )


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of whoever runs the tests."""
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL", "HEADERS"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


async def trace_a_turn(found: Traces, traceparent: str = "") -> None:
    async with found.running():
        observer = found.observe(info(traceparent))
        assert observer is not None
        observer.turn_ended(TurnEnd("turn_1", 16_000, 32_000, 2.0), 2.3)
        observer.ended("hung_up", 4.0)


@pytest.mark.realtime
async def test_a_collector_gets_them_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")
        await trace_a_turn(Traces(ON), PARENT)
    (request,) = collector.requests
    assert (request.path, request.headers["x-key"]) == ("/v1/traces", "abc")
    sent = ExportTraceServiceRequest.FromString(request.body)
    (group,) = sent.resource_spans
    named = {each.key: each.value.string_value for each in group.resource.attributes}
    assert named["service.name"] == "duplex-r1"
    spans = {span.name: span for span in group.scope_spans[0].spans}
    assert set(spans) == {"call", "turn", "speech"}
    call, turn, speech = spans["call"], spans["turn"], spans["speech"]
    assert {span.trace_id.hex() for span in spans.values()} == {PARENT.split("-")[1]}
    assert call.parent_span_id.hex() == PARENT.split("-")[2]
    assert (turn.parent_span_id, speech.parent_span_id) == (call.span_id, turn.span_id)
    began = 10**18
    assert (call.start_time_unix_nano - began, call.end_time_unix_nano - began) == (0, 4 * 10**9)
    assert speech.start_time_unix_nano - began == 10**9
    assert speech.end_time_unix_nano - began == 2 * 10**9


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-01", PARENT[:-4]])
async def test_without_a_parent_a_call_is_a_trace_of_its_own(traceparent: str) -> None:
    kept = InMemorySpanExporter()
    await trace_a_turn(Traces(Config(), Exporter(kept)), traceparent)
    (call,) = [span for span in kept.get_finished_spans() if span.name == "call"]
    assert call.parent is None


@pytest.mark.realtime
async def test_a_collector_that_does_not_answer_delays_the_end_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(traces, "_FAREWELL_S", 0.2)
    async with server:
        async with asyncio.timeout(5):
            await trace_a_turn(Traces(ON))
        assert "were not exported" in caplog.text
        release.set()


def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"):
        Server(ON)  # before any model is loaded


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "duplex.telemetry.exporting")
    monkeypatch.delattr(telemetry, "exporting")
    with pytest.raises(ConfigError, match=r"pip install 'duplex-r1\[telemetry\]'"):
        Server(ON)


def test_when_it_is_off_nothing_is_imported() -> None:
    program = (
        "import sys; from duplex.config import Config; from duplex.telemetry.traces import Traces\n"
        "assert Traces(Config()).observe(None) is None\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
