"""The live call without IO: server events in, what to do out.

It follows the responses, so that a key can stop the one that sounds, what was cut is told to the
server, and each turn's delay is shown once it is known.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from client.live.loudspeaker import Loudspeaker
from client.realtime import SAMPLE_RATE_HZ, error_text
from client.screen import stage_words
from duplex.audio.formats import decode_pcm16

Event = dict[str, Any]

# Stopping an answer and its own end may cross on the way.
HARMLESS_CODES = frozenset({"response_cancel_not_active"})
RESUMES = "duplex_resumes"  # in a response's metadata: the one whose unheard rest this is


@dataclass(slots=True)
class LiveResponse:
    """One response of a live call, until its delay has been shown."""

    response_id: str
    asked_s: float | None  # when the caller had stopped speaking; None: no turn came before
    items: list[str] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    done: bool = False
    settled: bool = False  # what the server tells after its end has come, if it does
    status: str | None = None


@dataclass(slots=True)
class Conversation:
    """``receive`` is given every server event, in order. ``notices`` are lines for the caller,
    taken by whoever shows them. ``speech_end_s`` is set by the microphone whenever the caller has
    spoken, and forgotten when a turn has used it. ``expects_marks``: the server was asked for the
    stages of a turn, which it tells after its end."""

    loudspeaker: Loudspeaker
    expects_marks: bool = False
    speech_end_s: float | None = None
    notices: list[str] = field(default_factory=list)
    _responses: dict[str, LiveResponse] = field(default_factory=dict)  # not yet reported
    _asked_s: float | None = None
    _silence_id: str | None = None  # the item of a caller who said nothing for too long
    _active: str | None = None  # the response that is being made

    def receive(self, event: Event) -> list[Event]:
        """Take one event; returns the client events that it calls for.

        Raises:
            LoudspeakerFull: see `Loudspeaker.feed`.
        """
        for unreported in self._responses.values():
            unreported.settled = unreported.done
        kind = str(event.get("type", ""))
        if kind == "input_audio_buffer.speech_started":
            return self.silence()
        if kind == "response.output_audio.delta":
            self._audio(event)
        elif kind.startswith("input_audio_buffer."):
            self._input(kind, event.get("item_id"))
        elif kind == "response.created":
            self._created(event.get("response") or {})
        elif kind == "response.done":
            self._done(event.get("response") or {})
        elif kind == "duplex.turn_metrics":
            self._metrics(event)
        else:
            self._problem(kind, event)
        return []

    def silence(self) -> list[Event]:
        """The loudspeaker falls silent now; the server is told what was heard."""
        return [
            {
                "type": "conversation.item.truncate",
                "item_id": cut.item_id,
                "content_index": 0,
                "audio_end_ms": cut.heard_samples * 1000 // SAMPLE_RATE_HZ,
            }
            for cut in self.loudspeaker.stop()
        ]

    def stop_answer(self) -> list[Event]:
        """The caller wants no more of this answer."""
        events: list[Event] = []
        if self._active is not None:
            events.append({"type": "response.cancel", "response_id": self._active})
        return events + self.silence()

    @property
    def answering(self) -> bool:
        """An answer is being made or sounds."""
        return self._active is not None or self.loudspeaker.sounding

    def reports(self) -> list[str]:
        """A line for each response whose delay has become known."""
        lines = []
        for response in [
            response for response in self._responses.values() if self._may_report(response)
        ]:
            heard = [self.loudspeaker.audible_s(item) for item in response.items]
            audible_s = min((at_s for at_s in heard if at_s is not None), default=None)
            if audible_s is None and response.items and self.loudspeaker.sounding:
                continue  # its first sample is still to come
            del self._responses[response.response_id]
            if (line := _report(response, audible_s)) is not None:
                lines.append(line)
        return lines

    def _input(self, kind: str, item_id: str | None) -> None:
        if kind == "input_audio_buffer.committed":
            self._turn_over(item_id)
        elif kind == "input_audio_buffer.timeout_triggered":
            self._silence_id = item_id

    def _metrics(self, event: Event) -> None:
        response = self._responses.get(event.get("response_id", ""))
        if response is not None:
            response.marks.update(event.get("marks_ms") or {})

    def _problem(self, kind: str, event: Event) -> None:
        if kind == "conversation.item.input_audio_transcription.failed":
            self.notices.append(f"your words were not understood: {error_text(event)}")
        elif kind == "error" and (event.get("error") or {}).get("code") not in HARMLESS_CODES:
            self.notices.append(error_text(event))

    def _turn_over(self, item_id: str | None) -> None:
        """The caller has finished, or the server takes their silence for a turn: then the answer
        is none to what they said before, or to the echo that the microphone took for speech."""
        is_silence = item_id is not None and item_id == self._silence_id
        self._asked_s = None if is_silence else self.speech_end_s
        self.speech_end_s = None

    def _may_report(self, response: LiveResponse) -> bool:
        return response.done and (response.settled or not self.expects_marks)

    def _audio(self, event: Event) -> None:
        item_id = str(event.get("item_id", ""))
        try:
            samples = decode_pcm16(base64.b64decode(event.get("delta", ""), validate=True))
        except (binascii.Error, ValueError) as error:
            self.notices.append(f"audio that cannot be decoded: {error}")
            return
        response = self._responses.get(event.get("response_id", ""))
        if response is not None and item_id not in response.items:
            response.items.append(item_id)
        self.loudspeaker.feed(item_id, samples)

    def _created(self, payload: Event) -> None:
        response_id = str(payload.get("id", ""))
        self._active = response_id
        asked_s = None if RESUMES in (payload.get("metadata") or {}) else self._asked_s
        self._asked_s = None
        self._responses[response_id] = LiveResponse(response_id, asked_s)

    def _done(self, payload: Event) -> None:
        if payload.get("id") == self._active:
            self._active = None
        status = payload.get("status")
        if status == "failed":
            details = payload.get("status_details") or {}
            self.notices.append(f"the answer failed: {error_text(details)}")
        response = self._responses.get(str(payload.get("id", "")))
        if response is not None:
            response.done, response.status = True, status


def _report(response: LiveResponse, audible_s: float | None) -> str | None:
    words = stage_words(response.marks)
    if audible_s is not None and response.asked_s is not None:
        words.append(f"voice-to-voice {1000 * (audible_s - response.asked_s):.0f} ms")
    if response.status == "cancelled":
        words.append("interrupted")
    return f"  [{' | '.join(words)}]" if words else None
