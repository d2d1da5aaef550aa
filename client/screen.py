"""What a person sees of a conversation as it happens."""

from collections.abc import Mapping
from typing import Any, TextIO

from client.caller.turns import TurnResult
from client.realtime import Received

# The server's marks in the order of a turn without speculation, and their names on the screen.
STAGE_NAMES = {
    "endpoint": "endpoint",
    "ear": "ear",
    "first_token": "first token",
    "first_clause": "first clause",
    "first_audio": "first audio",
}
# What a server that tells no marks still shows by its events.
EVENT_NAMES = {
    "committed_ms": "turn over",
    "created_ms": "answer begun",
    "first_delta_ms": "first audio",
}


class Screen:
    """Prints both sides as they come, each on a line of its own, and one latency line a turn."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._open: str | None = None  # the item whose line is being written
        self._partial: dict[str, str] = {}  # what has been shown of each caller item

    def event(self, received: Received) -> None:
        """Show what an event says, if it says anything."""
        event = received.event
        kind = event.get("type")
        item_id = event.get("item_id", "")
        if kind == "conversation.item.input_audio_transcription.delta":
            self._partial[item_id] = self._partial.get(item_id, "") + event.get("delta", "")
            self._write(item_id, "you", event.get("delta", ""))
        elif kind == "conversation.item.input_audio_transcription.completed":
            self._settle(item_id, event.get("transcript", ""))
        elif kind in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            self._write(item_id, "assistant", event.get("delta", ""))
        elif kind == "duplex.thought.delta":
            self._write(f"{event.get('response_id')} thinks", "thinks", event.get("delta", ""))

    def turn(self, result: TurnResult) -> None:
        """The latency line of a turn that has ended, and what went wrong in it."""
        self.line(latency_line(result))
        if result.cut_offs:
            self.line(f"  ! the server took the turn to be over {result.cut_offs} x too early")
        if result.underruns:
            self.line(f"  ! the answer's audio ran dry {result.underruns} x")
        for error in result.errors:
            self.line(f"  ! {error}")

    def line(self, text: str) -> None:
        """Print a line of its own."""
        self._end_line()
        print(text, file=self._out, flush=True)

    def _settle(self, item_id: str, transcript: str) -> None:
        """The final transcript: printed unless its pieces already showed just that."""
        shown = self._partial.pop(item_id, "")
        if shown.strip() == transcript.strip():
            return
        self.line(f"      you> {transcript.strip() or '(nothing understood)'}")

    def _write(self, item_id: str, who: str, text: str) -> None:
        if self._open != item_id:
            self._end_line()
            self._out.write(f"{who:>9}> ")
            self._open = item_id
            text = text.lstrip()
        self._out.write(text)
        self._out.flush()

    def _end_line(self) -> None:
        if self._open is not None:
            self._out.write("\n")
            self._open = None


def latency_line(result: TurnResult) -> str:
    """Stages and voice-to-voice of one turn in ms after the caller's last speech sample."""
    if result.marks:
        stages = stage_words(result.marks)
    else:
        values: dict[str, Any] = {key: getattr(result, key) for key in EVENT_NAMES}
        stages = [
            f"{EVENT_NAMES[key]} {value:.0f}" for key, value in values.items() if value is not None
        ]
    heard = "no answer heard" if result.v2v_ms is None else f"voice-to-voice {result.v2v_ms:.0f} ms"
    return f"  [{' | '.join([*stages, heard])}]"


def stage_words(marks: Mapping[str, float]) -> list[str]:
    """The server's own stages, in ms after the caller's last speech sample."""
    return [f"{name} {marks[mark]:.0f}" for mark, name in STAGE_NAMES.items() if mark in marks]
