"""Spans for OpenTelemetry. Needs the extra ``telemetry``: import it only if traces are wanted."""

import logging
import os
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from duplex.errors import ConfigError
from duplex.telemetry.spans import Value

logger = logging.getLogger(__name__)

_NS = 1_000_000_000
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_SERVICE = "duplex-r1"
_UNNAMED = "unknown_service"  # begins the name of a service for which the variables have none


def check_protocol() -> None:
    """
    Raises:
        ConfigError: OpenTelemetry's variables ask for another one than OTLP over HTTP.
    """
    for name in _PROTOCOLS:
        if (wanted := os.environ.get(name, _PROTOCOL)) != _PROTOCOL:
            raise ConfigError(f"{name} is {wanted!r}; traces are exported by {_PROTOCOL} only")


class OpenSpan:
    """See `duplex.telemetry.spans.Span`."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span, began_ns: int) -> None:
        """``began_ns``: when the call began, in Unix time."""
        self._tracer = tracer
        self._span = span
        self._began_ns = began_ns

    def child(self, name: str, start_s: float, attributes: Mapping[str, Value]) -> "OpenSpan":
        """See `duplex.telemetry.spans.Span`, as for `end`."""
        span = self._tracer.start_span(
            name,
            context=trace.set_span_in_context(self._span),
            attributes=dict(attributes),
            start_time=self._ns(start_s),
        )
        return OpenSpan(self._tracer, span, self._began_ns)

    def end(self, end_s: float, attributes: Mapping[str, Value], error: str = "") -> None:
        """See `duplex.telemetry.spans.Span`."""
        self._span.set_attributes(dict(attributes))
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end(self._ns(end_s))

    def _ns(self, at_s: float) -> int:
        return self._began_ns + round(at_s * _NS)


class Exporter:
    """Exports what ends, from a thread of its own, to where OpenTelemetry's variables say. What it
    cannot export in time is dropped: its queue is bounded."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        """``exporter`` in place of OTLP over HTTP.

        Raises:
            ConfigError: the variables ask for another protocol, or cannot be used.
        """
        check_protocol()
        try:
            processor = BatchSpanProcessor(exporter or OTLPSpanExporter())
        except (ValueError, OSError) as error:
            raise ConfigError(f"OpenTelemetry's variables cannot be used: {error}") from error
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith(_UNNAMED):
            resource = resource.merge(Resource({SERVICE_NAME: _SERVICE}))
        self._provider = TracerProvider(
            resource=resource,
            shutdown_on_exit=False,  # the server ends it, and waits for it no longer than it wants
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("duplex")

    def begin(self, began_s: float, attributes: Mapping[str, Value], traceparent: str) -> OpenSpan:
        """Begin the span of a call, at ``began_s`` (Unix seconds), as part of the trace that
        ``traceparent`` names; what is none is passed over."""
        context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        began_ns = round(began_s * _NS)
        span = self._tracer.start_span(
            "call",
            context=context,
            kind=trace.SpanKind.SERVER,
            attributes=dict(attributes),
            start_time=began_ns,
        )
        return OpenSpan(self._tracer, span, began_ns)

    def close(self) -> None:
        """Export what is left. It may take as long as a collector that does not answer."""
        self._provider.shutdown()
