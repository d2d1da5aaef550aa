"""One side of a call, without IO: events and audio in, what was heard and said out.

All times are samples at 24 kHz since the call began, on the caller's own clock.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from client.realtime import SAMPLE_RATE_HZ, AudioFormat, error_text
from client.sound.playout import Playout
from duplex.audio.formats import CODECS
from duplex.audio.resample import Resampler

Event = dict[str, Any]

G711_HZ = 8000
# What shows that an answer is under way. A server may send anything else for ever.
PROGRESS = (
    "response.",
    "input_audio_buffer.committed",
    "conversation.item.input_audio_transcription.",
)


@dataclass(slots=True)
class CallerItem:
    """What the server made of one stretch of the caller's speech."""

    item_id: str
    committed: int | None = None  # when the server told that the turn was over
    transcript: str = ""
    finished: bool = False  # the transcript is final, or there will be none


@dataclass(slots=True)
class Response:
    """One response of the server."""

    response_id: str
    created: int
    item_ids: list[str] = field(default_factory=list)
    transcript: str = ""
    first_delta: int | None = None  # when its first audio arrived
    status: str | None = None  # set by response.done
    resumes: str | None = None  # the cut response that this one goes on with, if that is told
    marks: dict[str, float] = field(default_factory=dict)  # duplex.turn_metrics, if it was sent
    counts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Listener:
    """Follows one call. ``receive`` is given every server event in order of arrival."""

    playout: Playout = field(default_factory=Playout)
    inputs: dict[str, CallerItem] = field(default_factory=dict)
    responses: dict[str, Response] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    caller_heard: bool = False  # between speech_started and speech_stopped or committed
    last_progress: int = 0  # when the server last did something about an answer
    audio_format: AudioFormat = "pcm16"  # of the server's audio
    _upsampling: dict[str, Resampler] = field(default_factory=dict)  # of items under way

    @property
    def busy(self) -> bool:
        """A response is being made, or the server believes that the caller is speaking."""
        return self.caller_heard or any(
            response.status is None for response in self.responses.values()
        )

    def receive(self, event: Event, now: int) -> list[Event]:
        """Take one event that arrived at ``now``; returns the client events it calls for. What an
        event leaves out, or has as null, is empty.

        Raises:
            TypeError: it is not made as the protocol's events are.
            AttributeError: so, too.
        """
        kind = _text(event.get("type"))
        if kind.startswith(PROGRESS):
            self.last_progress = now
        if kind == "response.output_audio.delta":
            self._audio(event, now)
        elif kind == "input_audio_buffer.speech_started":
            self.caller_heard = True
            self._input(event)
            return self._interrupt(now)
        elif kind == "input_audio_buffer.speech_stopped":
            self.caller_heard = False
        elif kind == "input_audio_buffer.committed":
            self.caller_heard = False
            self._input(event).committed = now
        elif kind.startswith("conversation.item."):
            self._item(kind.removeprefix("conversation.item."), event)
        elif kind.startswith("response."):
            self._response(kind, event, now)
        elif kind == "duplex.turn_metrics":
            response = self._response_of(_text(event.get("response_id")), now)
            marks = event.get("marks") or event.get("marks_ms") or {}
            response.marks |= {k: v for k, v in marks.items() if isinstance(v, (int, float))}
            response.counts.update(event.get("counts") or {})
        elif kind == "error":
            self.errors.append(error_text(event))
        return []

    def _audio(self, event: Event, now: int) -> None:
        response = self._response_of(_text(event.get("response_id")), now)
        try:
            samples = CODECS[self.audio_format].decode(
                base64.b64decode(event.get("delta") or "", validate=True)
            )
        except (binascii.Error, ValueError) as error:
            self.errors.append(f"audio that cannot be decoded: {error}")
            return
        item_id = _text(event.get("item_id"))
        if item_id not in response.item_ids:
            response.item_ids.append(item_id)
        if response.first_delta is None:
            response.first_delta = now
        if self.audio_format != "pcm16":
            stream = self._upsampling.setdefault(item_id, Resampler(G711_HZ, SAMPLE_RATE_HZ))
            samples = stream.feed(samples)
        self.playout.feed(item_id, samples, now)

    def _interrupt(self, now: int) -> list[Event]:
        """Stop the answer; of an item that was still to come nothing was heard."""
        cut = dict.fromkeys(p.item_id for p in self.playout.pieces if p.end > now)
        self.playout.interrupt(now)
        return [
            {
                "type": "conversation.item.truncate",
                "item_id": item_id,
                "content_index": 0,
                "audio_end_ms": self.playout.heard(item_id, now) * 1000 // SAMPLE_RATE_HZ,
            }
            for item_id in cut
        ]

    def _item(self, kind: str, event: Event) -> None:
        if kind.startswith("input_audio_transcription."):
            self._transcription(kind.rpartition(".")[2], event)
        elif kind == "deleted" and (item := self.inputs.get(_text(event.get("item_id")))):
            item.committed = None  # the turn goes on, as another item

    def _transcription(self, step: str, event: Event) -> None:
        item = self._input(event)
        if step == "delta":
            item.transcript += _text(event.get("delta"))
        elif step == "completed":
            item.transcript = _text(event.get("transcript")) or item.transcript
            item.finished = True
        elif step == "failed":
            item.finished = True
            self.errors.append(error_text(event))

    def _response(self, kind: str, event: Event, now: int) -> None:
        payload = event.get("response") or {}
        response = self._response_of(_text(event.get("response_id") or payload.get("id")), now)
        if kind in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            response.transcript += _text(event.get("delta"))
        elif kind == "response.output_audio.done":
            item_id = _text(event.get("item_id"))
            if stream := self._upsampling.pop(item_id, None):
                self.playout.feed(item_id, stream.flush(), now)
        elif kind == "response.created":
            response.resumes = (payload.get("metadata") or {}).get("duplex_resumes")
        elif kind == "response.done":
            response.status = _text(payload.get("status")) or "completed"
            if response.status == "failed":
                details = payload.get("status_details") or {}
                self.errors.append(f"the answer failed: {error_text(details)}")

    def _input(self, event: Event) -> CallerItem:
        item_id = _text(event.get("item_id"))
        return self.inputs.setdefault(item_id, CallerItem(item_id))

    def _response_of(self, response_id: str, now: int) -> Response:
        return self.responses.setdefault(response_id, Response(response_id, created=now))


def _text(value: Any) -> str:
    """A field that is to be text; a server may leave it out or send null.

    Raises:
        TypeError: it is something else.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} in place of a text")
    return value or ""
