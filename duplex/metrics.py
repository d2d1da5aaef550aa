"""Measurements: when each stage of a turn was reached, and counts of the whole server.

They use monotonic time, and never decide what happens in a call.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Clock = Callable[[], float]  # monotonic seconds

STAGES = (
    "pause",  # the detector reported the caller's silence
    "ear",  # the exact transcript was ready
    "first_token",  # the brain decoded its first token
    "first_clause",  # the segmenter cut the first segment for the voice
    "first_audio",  # its first audio was synthesised
    "endpoint",  # the turn was taken to be over
    "released",  # the first audio was handed to the connection
)


class TurnMarks:
    """The stages of one turn, as milliseconds after the caller's last speech sample.

    A speculated reply reaches stages before the endpoint: that is what it is for.
    """

    def __init__(self, clock: Clock, speech_end_s: float) -> None:
        self.speech_end_s = speech_end_s
        self._clock = clock
        self._reached: dict[str, float] = {}

    def reach(self, stage: str) -> None:
        """Note that ``stage`` was reached now; only the first time counts."""
        if stage not in STAGES:
            raise ValueError(f"unknown stage {stage!r}")
        self._reached.setdefault(stage, self._clock())

    def as_ms(self) -> dict[str, float]:
        """Stage -> ms after the last speech sample, in the order of `STAGES`."""
        return {
            stage: round((self._reached[stage] - self.speech_end_s) * 1000, 1)
            for stage in STAGES
            if stage in self._reached
        }


_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_RECENT_TURNS = 64
_RECENT_S = 60.0  # older turns say nothing about the load now
_ENOUGH_TURNS = 5

# Name -> what it counts, and the names of its labels.
_COUNTERS = {
    "duplex_calls_total": ("Calls that were opened.", ()),
    "duplex_calls_ended_total": ("Calls that have ended, by the reason.", ("reason",)),
    "duplex_refused_total": ("Calls that were refused, by the reason.", ("reason",)),
    "duplex_dropped_total": (
        "Connections, and packets and messages of them, that were dropped, by the reason.",
        ("reason",),
    ),
    "duplex_store_failures_total": ("Operations of the shared store that failed.", ()),
    "duplex_webhooks_total": (
        "Events for webhooks: delivered, failed, or dropped because too many waited.",
        ("result",),
    ),
    "duplex_received_bytes_total": ("Bytes received from clients.", ()),
    "duplex_sent_bytes_total": ("Bytes of the events sent to clients.", ()),
    "duplex_phone_calls_total": ("Phone calls that were answered, by the provider.", ("provider",)),
    "duplex_responses_total": ("Responses, by how they ended.", ("ending",)),
    "duplex_transcripts_total": (
        "Transcripts of turns, by whether the deltas that were sent before add up to them.",
        ("deltas",),
    ),
    "duplex_reopened_turns_total": ("Turns that went on after they had been ended.", ()),
    "duplex_recordings_total": ("Recordings of calls, by what became of them.", ("outcome",)),
    "duplex_recordings_deleted_total": ("Recordings that were too old, or too many.", ()),
    "duplex_interruptions_total": (
        "Sounds of a caller during a reply, by whether they were meant to interrupt it.",
        ("meant",),
    ),
}
_HISTOGRAMS = {
    "duplex_stage_seconds": (
        "When a turn reached each stage, in seconds after the caller's last speech sample.",
        ("stage",),
    ),
    "duplex_event_loop_lag_seconds": ("How late the event loop ran.", ()),
}
_GAUGES = {
    "duplex_calls_open": "Calls that are open.",
    "duplex_calls_limit": "Calls that may be open at a time.",
    "duplex_sockets_open": "Sockets that are open: calls, handshakes and goodbyes.",
    "duplex_tasks": "Tasks of the event loop.",
    "duplex_event_loop_lag_p95_seconds": "How late the event loop ran in the last seconds (p95).",
}
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Of `Metrics.render`."""


class Metrics:
    """Counters and histograms of one server, for Prometheus.

    All names and labels stand in the tables above: nothing that a client sends becomes one. Each
    server has a registry of its own, so that two servers of one process count apart.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters = {
            name: Counter(name, text, labels, registry=self._registry)
            for name, (text, labels) in _COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(name, text, labels, registry=self._registry, buckets=_BUCKETS_S)
            for name, (text, labels) in _HISTOGRAMS.items()
        }
        self._recent: dict[str, deque[tuple[float, float]]] = {}  # stage -> (when, seconds)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to the counter ``name``.

        Raises:
            KeyError: there is no such counter.
            ValueError: it has other labels.
        """
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def observe(self, name: str, value_s: float, **labels: str) -> None:
        """Add to the histogram ``name``.

        Raises:
            KeyError: there is no such histogram.
            ValueError: it has other labels.
        """
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(value_s)

    def turn(self, ending: str, marks_ms: Mapping[str, float], now_s: float) -> None:
        """Note how a response has ended, and when its turn reached its stages."""
        self.count("duplex_responses_total", ending=ending)
        for stage, reached_ms in marks_ms.items():
            self.observe("duplex_stage_seconds", reached_ms / 1000, stage=stage)
            recent = self._recent.setdefault(stage, deque(maxlen=_RECENT_TURNS))
            recent.append((now_s, reached_ms / 1000))

    def recent_p95_s(self, stage: str, now_s: float) -> float | None:
        """How late turns of the last minute reached ``stage``; None if there were too few."""
        recent = [
            reached_s
            for at_s, reached_s in self._recent.get(stage, ())
            if now_s - at_s <= _RECENT_S
        ]
        return percentile(recent, 0.95) if len(recent) >= _ENOUGH_TURNS else None

    def render(self, gauges: Mapping[str, float]) -> str:
        """Return everything so far, and ``gauges`` as they are now, as `CONTENT_TYPE`.

        Raises:
            KeyError: there is no such gauge.
        """
        return generate_latest(_Page(self._registry, gauges)).decode()


class _Page(Collector):
    """What one reader of the metrics gets."""

    def __init__(self, registry: CollectorRegistry, gauges: Mapping[str, float]) -> None:
        self._registry = registry
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(name, _GAUGES[name], value)
        for metric in self._registry.collect():
            # The library adds when each series began: twice the lines, and of no use here.
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``values`` do not exceed (the nearest one of them)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
