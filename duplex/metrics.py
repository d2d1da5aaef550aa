"""What is measured: when each stage of a turn was reached, and counts of the whole server.

Monotonic time, never for deciding what happens in a call.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence

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
        self._clock = clock
        self._zero = speech_end_s
        self._reached: dict[str, float] = {}

    def reach(self, stage: str) -> None:
        """Note that ``stage`` was reached now; only the first time counts."""
        if stage not in STAGES:
            raise ValueError(f"unknown stage {stage!r}")
        self._reached.setdefault(stage, self._clock())

    def as_ms(self) -> dict[str, float]:
        """Stage -> ms after the last speech sample, in the order of `STAGES`."""
        return {
            stage: round((self._reached[stage] - self._zero) * 1000, 1)
            for stage in STAGES
            if stage in self._reached
        }


_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_RECENT_TURNS = 64
_RECENT_S = 60.0  # older turns say nothing about the load now
_ENOUGH_TURNS = 5

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms of one process, in the text format of Prometheus.

    Names and labels are few and fixed: nothing that a client sends becomes one.
    """

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        self._recent: dict[str, deque[tuple[float, float]]] = {}  # stage -> (when, seconds)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to the counter ``name``."""
        series = self._counters.setdefault(name, {})
        key = tuple(labels.items())
        series[key] = series.get(key, 0) + amount

    def observe(self, name: str, value_s: float, **labels: str) -> None:
        """Add to the histogram ``name``."""
        series = self._histograms.setdefault(name, {})
        series.setdefault(tuple(labels.items()), _Histogram()).add(value_s)

    def turn(self, ending: str, marks_ms: Mapping[str, float], now_s: float) -> None:
        """A response has ended so; its turn reached its stages then."""
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
        """Everything so far, and ``gauges`` as they are now."""
        lines = []
        for name, value in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {value:g}"]
        for name, counted in sorted(self._counters.items()):
            lines.append(f"# TYPE {name} counter")
            lines += [f"{name}{_braces(labels)} {value:.15g}" for labels, value in counted.items()]
        for name, observed in sorted(self._histograms.items()):
            lines.append(f"# TYPE {name} histogram")
            for labels, histogram in observed.items():
                lines += histogram.render(name, labels)
        return "\n".join(lines) + "\n"


class _Histogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS_S) + 1)
        self._sum_s = 0.0

    def add(self, value_s: float) -> None:
        self._counts[bisect_left(_BUCKETS_S, value_s)] += 1
        self._sum_s += value_s

    def render(self, name: str, labels: Labels) -> list[str]:
        lines, total = [], 0
        for edge, count in zip([*map(str, _BUCKETS_S), "+Inf"], self._counts, strict=True):
            total += count
            lines.append(f"{name}_bucket{_braces((*labels, ('le', edge)))} {total}")
        braces = _braces(labels)
        return [*lines, f"{name}_sum{braces} {self._sum_s:.6g}", f"{name}_count{braces} {total}"]


def _braces(labels: Labels) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``values`` do not exceed (the nearest one of them)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
