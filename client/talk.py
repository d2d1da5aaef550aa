"""`duplex talk`: hold a conversation from recordings and show it as it happens."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from client.call import CallOptions, CallResult, Line, hold_call
from client.picture import call_svg, text_timeline
from client.realtime import (
    SAMPLE_RATE_HZ,
    ClientError,
    Received,
    SessionOptions,
    connect,
    realtime_url,
)
from client.speech import Recording, speech_bounds
from client.turns import TurnResult
from duplex.pcm import read_wav, resample, write_wav

OK, FAILED, USAGE = 0, 1, 2  # exit codes

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


@dataclass(frozen=True, slots=True)
class TalkOptions:
    """What to say, to whom, and what to keep.

    ``files`` are WAV recordings, one turn each. ``save`` gets what the caller heard from the
    call's beginning to its end, 24 kHz; ``timeline`` a picture (SVG), also shown in characters.
    ``session.duplex`` asks a server of this project for the stage marks; leave it off for any
    other.
    """

    url: str
    files: Sequence[Path]
    save: Path | None = None
    timeline: Path | None = None
    key: str | None = None
    model: str | None = None
    session: SessionOptions = field(default_factory=SessionOptions)
    gap_ms: float = 600.0
    answer_timeout_s: float = 20.0


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
        stages = [
            f"{name} {result.marks[mark]:.0f}"
            for mark, name in STAGE_NAMES.items()
            if mark in result.marks
        ]
    else:
        values: dict[str, Any] = {key: getattr(result, key) for key in EVENT_NAMES}
        stages = [
            f"{EVENT_NAMES[key]} {value:.0f}" for key, value in values.items() if value is not None
        ]
    heard = "no answer heard" if result.v2v_ms is None else f"voice-to-voice {result.v2v_ms:.0f} ms"
    return f"  [{' | '.join([*stages, heard])}]"


def load_recording(path: Path) -> Recording:
    """Read a WAV file of any rate as 24 kHz speech.

    Raises:
        ClientError: it cannot be read, or holds no speech.
    """
    try:
        samples, rate_hz = read_wav(path)
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        text = str(error)
        raise ClientError(text if str(path) in text else f"{path}: {text}") from error
    if rate_hz != SAMPLE_RATE_HZ:
        samples = resample(samples, rate_hz, SAMPLE_RATE_HZ)
    try:
        speech_bounds(samples)
    except ValueError as error:
        raise ClientError(f"{path}: {error}") from error
    return Recording(id=path.stem, text="", samples=samples)


async def talk(options: TalkOptions, out: TextIO | None = None) -> int:
    """Play the recordings into one call; print, save and return the exit code.

    0: every turn was answered. 1: the server or the call failed, or a turn went unanswered.
    2: a recording cannot be used or a result not written. Every message is for a person to read.
    """
    screen = Screen(out or sys.stdout)
    try:
        _check_writable(options)
        lines = [Line(load_recording(path)) for path in options.files]
    except ClientError as error:
        screen.line(f"error: {error}")
        return USAGE
    try:
        url = realtime_url(options.url, options.model)
        client = await connect(url, key=options.key)
        result = await hold_call(
            client,
            lines,
            CallOptions(
                session=options.session,
                gap_ms=options.gap_ms,
                answer_timeout_s=options.answer_timeout_s,
            ),
            on_event=screen.event,
            on_turn=screen.turn,
        )
    except ClientError as error:
        screen.line(f"error: {error}")
        return FAILED
    return _finish(options, result, screen)


def _check_writable(options: TalkOptions) -> None:
    """A conversation should not be held first and then be lost for a wrong path."""
    for path in (options.save, options.timeline):
        if path is not None:
            try:
                path.open("ab").close()
            except OSError as error:
                raise ClientError(f"cannot write {path}: {error.strerror or error}") from error


def _finish(options: TalkOptions, result: CallResult, screen: Screen) -> int:
    if result.lost is not None:
        screen.line(f"error: {result.lost}")
    if options.save is not None:
        write_wav(options.save, result.heard, SAMPLE_RATE_HZ)
        screen.line(f"answer saved to {options.save}")
    if options.timeline is not None:
        screen.line(text_timeline(result))
        options.timeline.write_text(call_svg(result), encoding="utf-8")
        screen.line(f"timeline saved to {options.timeline}")
    answered = all(turn.v2v_ms is not None and not turn.errors for turn in result.turns)
    complete = result.lost is None and len(result.turns) == len(options.files)
    return OK if answered and complete else FAILED
