"""The stages that a turn's delay is made of, as spans that can be drawn and tabulated."""

from collections.abc import Mapping
from dataclasses import dataclass

from client.caller.turns import TurnResult

# The server's marks in the order of the work: each stage begins where the one before it ended.
WORK = ("pause", "ear", "prefill", "first_token", "first_clause", "first_audio")
LABELS = {
    "endpoint": "endpoint",
    "pause": "pause noticed",
    "ear": "ear",
    "prefill": "prefill",
    "first_token": "first token",
    "first_clause": "first clause",
    "first_audio": "first audio",
    "released": "released",
    "heard": "heard",
    "committed": "turn over",
    "created": "answer begun",
    "first_delta": "first audio",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage, in ms after the caller's last speech sample."""

    name: str
    start_ms: float
    end_ms: float

    @property
    def label(self) -> str:
        """Its name for a reader."""
        return LABELS.get(self.name, self.name.replace("_", " "))


def stages(turn: TurnResult) -> list[Stage]:
    """The waterfall of a turn.

    ``endpoint`` counts from the end of speech and runs beside the work, which a speculated reply
    begins before it; ``heard`` is what remains until the answer is audible: release, transport
    and the answer's own leading silence. Without the server's marks, its events stand in.
    """
    spans = _from_marks(turn.marks) if turn.marks else _from_events(turn)
    if turn.v2v_ms is not None:
        start = max((span.end_ms for span in spans), default=0.0)
        spans.append(Stage("heard", min(start, turn.v2v_ms), turn.v2v_ms))
    return spans


def _from_marks(marks: Mapping[str, float]) -> list[Stage]:
    spans = []
    if "endpoint" in marks:
        spans.append(Stage("endpoint", 0.0, marks["endpoint"]))
    reached = 0.0
    for name in WORK:
        if name in marks:
            end = marks[name]
            spans.append(Stage(name, min(reached, end), end))
            reached = end
    if "released" in marks:
        ready = max(reached, marks.get("endpoint", 0.0))
        spans.append(Stage("released", min(ready, marks["released"]), marks["released"]))
    return spans


def _from_events(turn: TurnResult) -> list[Stage]:
    spans = []
    reached = 0.0
    for name, end in (
        ("committed", turn.committed_ms),
        ("created", turn.created_ms),
        ("first_delta", turn.first_delta_ms),
    ):
        if end is not None:
            spans.append(Stage(name, min(reached, end), end))
            reached = end
    return spans
