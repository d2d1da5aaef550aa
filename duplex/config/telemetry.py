"""The table ``[telemetry]`` of the configuration."""

from duplex.config.section import Section


class TelemetryConfig(Section, frozen=True):
    """OpenTelemetry; needs the extra ``telemetry``. Where traces go is in its own variables."""

    traces: bool = False  # a trace of each call, to OTEL_EXPORTER_OTLP_ENDPOINT
