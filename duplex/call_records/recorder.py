"""One call's side of its recording, on the event loop: it only passes on what the call reports."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from duplex.audio.formats import Samples
from duplex.call_records import journal
from duplex.call_records.recording import Recording
from duplex.dialogue.languages import wanted_language
from duplex.dialogue.observers import Answer, CallInfo, TurnEnd
from duplex.protocol.items import FunctionCall, FunctionCallOutput, Item, Message
from duplex.protocol.server_events import (
    ItemDone,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    TranscriptionCompleted,
)
from duplex.protocol.session_config import SessionConfig
from tts.types import SpokenWord

Work = Callable[[Recording], Any]


class Writing(Protocol):
    """The thread's side of one recording."""

    def do(self, work: Work, size_bytes: int = 0) -> None:
        """Have ``work`` done, behind what was given before; ``size_bytes`` wait for it."""

    def finish(self, why: str, at_s: float) -> None:
        """The call is over."""

    def discard(self) -> None:
        """Nothing of it is to be kept."""


class CallRecorder:
    """A `duplex.dialogue.observers.CallObserver`."""

    def __init__(self, info: CallInfo, writing: Writing, notice: str, language: str) -> None:
        """``language`` is that of calls that name none."""
        self.notice = notice
        self._writing = writing
        self._language = language
        self._session = info.session
        self._is_wanted = True  # until the client says otherwise
        self._has_sound = False

    def heard(self, samples: Samples, rate_hz: int, at_s: float) -> None:
        """See `CallObserver`, as all here."""
        self._begin_sound(rate_hz)
        self._do(lambda recording: recording.heard(samples, rate_hz, at_s), samples.nbytes)

    def said(
        self,
        item_id: str,
        samples: Samples,
        rate_hz: int,
        words: Sequence[SpokenWord],
        at_s: float,
    ) -> None:
        self._begin_sound(rate_hz)
        self._do(
            lambda recording: recording.said(item_id, samples, rate_hz, words, at_s),
            samples.nbytes,
        )

    def cut(self, item_id: str, heard_s: float, words: str, at_s: float) -> None:
        self._do(lambda recording: recording.cut(item_id, heard_s, words, at_s))

    def turn_ended(self, turn: TurnEnd, at_s: float) -> None:
        self._do(lambda recording: recording.turn(turn.item_id, turn.from_sample, turn.to_sample))

    def understood(self, item_id: str, words: str, at_s: float) -> None:
        self._learn(item_id, "user", words, at_s)

    def taken_back(self, item_id: str, at_s: float) -> None:
        self._do(lambda recording: recording.note(journal.TakenBack(item_id)))

    def answered(self, answer: Answer, at_s: float) -> None:
        if not answer.in_conversation:
            return
        self._do(lambda recording: recording.answered(answer))

    def sent(self, event: ServerEvent, at_s: float) -> None:
        match event:
            case SessionCreated() | SessionUpdated():
                self._learn_session(self._session.merge(event.session))
            case ItemDone():
                self._learn_item(event.item, at_s)
            case TranscriptionCompleted():  # of a recording that the client put into an item
                self._learn(event.item_id, "user", event.transcript, at_s)

    def ended(self, kind: str, at_s: float) -> None:
        if self._is_wanted:
            self._writing.finish(kind, at_s)

    def _begin_sound(self, rate_hz: int) -> None:
        if self._has_sound:
            return
        self._has_sound = True
        audio = self._session.audio
        rates = (rate_hz, audio.input.format.sample_rate, audio.output.format.sample_rate)
        self._do(lambda recording: recording.begin_sound(max(rates)))

    def _learn_session(self, session: SessionConfig) -> None:
        self._session = session
        if session.duplex.record is False and self._is_wanted:
            self._is_wanted, self.notice = False, ""
            self._writing.discard()
        language = wanted_language(session) or self._language
        entry = journal.Session(session.model, session.audio.output.voice, language)
        self._do(lambda recording: recording.note(entry))

    def _learn_item(self, item: Item, at_s: float) -> None:
        match item:
            case Message():
                self._learn(item.id, item.role, item.text, at_s)
            case FunctionCall():
                self._learn(item.id, "tool", f"{item.name}({item.arguments})", at_s)
            case FunctionCallOutput():
                self._learn(item.id, "tool", item.output, at_s)

    def _learn(self, item_id: str, role: str, text: str, at_s: float) -> None:
        if text:
            self._do(lambda recording: recording.words(item_id, role, text, at_s))

    def _do(self, work: Work, size_bytes: int = 0) -> None:
        if self._is_wanted:
            self._writing.do(work, size_bytes)
