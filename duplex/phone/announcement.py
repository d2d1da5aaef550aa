"""Words that nobody has to think of: the greeting, the goodbye. Played like an answer, and known
to the conversation as far as they were heard.

A caller's sound stops the greeting as it stops an answer. If nothing follows from it, because it
was a cough, the rest is played.
"""

from collections.abc import Sequence

from duplex.phone.events import Encoding
from duplex.playback import PlaybackLedger
from duplex.protocol import client_events as wire
from duplex.protocol.items import MessageParam, OutputText
from tts.types import SpokenWord

RESUME_S = 2.5  # after the caller's sound: an answer would have begun by then


class Announcement:
    """At most one at a time. Pure: the caller passes the time in monotonic seconds."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._count = 0  # announcements, and rests of them
        self._is_dropped = True  # whether nobody wants to hear what still comes
        self.is_held = False  # whether it waits for the caller's sound to mean nothing
        self.due_s: float | None = None  # when the rest is played
        # Of the announcement, or of the rest of it. See `_restart`.
        self._told: bool
        self._audio: bytearray
        self._words: list[SpokenWord]
        self._before: int
        self._is_made: bool
        self._ledger: PlaybackLedger
        self._restart(b"", ())

    @property
    def item_id(self) -> str:
        """Of what is played, and in the conversation."""
        return f"announcement_{self._count}"

    def begin(self) -> None:
        """Another one, in place of the one before."""
        self.is_held = self._is_dropped = self._told = False
        self.due_s = None
        self._restart(b"", ())

    def push(self, audio: bytes, words: Sequence[SpokenWord]) -> bytes:
        """Take what was synthesised, words by their ends in all of it; returns what is to be
        played of it now."""
        if self._is_dropped:
            return b""
        shifted = [SpokenWord(w.text, max(0, w.end_sample - self._before)) for w in words]
        self._audio += audio
        self._words += shifted
        self._ledger.push(len(audio) // self._encoding.bytes_per_sample, shifted, 0.0)
        return b"" if self.is_held else audio

    def finish(self) -> list[wire.ClientEvent]:
        """All of it was synthesised; it is told to the conversation ahead of its playing."""
        self._is_made = True
        return [] if self._is_dropped or self.is_held else self._tell(self._words)

    def cut(self, heard_samples: int, *, hold: bool) -> list[wire.ClientEvent]:
        """The caller interrupts; with ``hold`` perhaps only by a cough."""
        text = self._ledger.text_heard(heard_samples)
        events: list[wire.ClientEvent] = []
        if self._told:
            events.append(wire.ItemDelete(item_id=self.item_id))
        if text:
            events += [self._item(text)]
        before, is_made = self._before + heard_samples, self._is_made
        audio = self._audio[heard_samples * self._encoding.bytes_per_sample :]
        self._restart(bytes(audio), _after(text, self._words, heard_samples))
        self._before, self._is_made = before, is_made
        self.is_held, self._is_dropped, self.due_s = hold, not hold, None
        return events

    def caller_started(self) -> None:
        """The caller makes a sound."""
        self.due_s = None

    def caller_stopped(self, now_s: float) -> None:
        """The sound is over: if it meant something, an answer begins soon."""
        if self.is_held:
            self.due_s = now_s + RESUME_S

    def tick(self, now_s: float) -> tuple[bytes, list[wire.ClientEvent]]:
        """The rest, if it is due, and what the conversation is told of it."""
        if self.due_s is None or now_s < self.due_s:
            return b"", []
        self.is_held, self.due_s = False, None
        return bytes(self._audio), self._tell(self._words) if self._is_made else []

    def drop(self) -> None:
        """Nobody wants to hear the rest."""
        self.is_held, self._is_dropped, self.due_s = False, True, None

    def _restart(self, audio: bytes, words: Sequence[SpokenWord]) -> None:
        self._count += 1
        self._told = False
        self._audio = bytearray(audio)  # not played yet, or being played
        self._words = list(words)  # likewise; their ends are samples of it
        self._before = 0  # samples of the announcement before it
        self._is_made = False
        self._ledger = PlaybackLedger(self._encoding.rate_hz)
        self._ledger.push(len(audio) // self._encoding.bytes_per_sample, words, 0.0)

    def _tell(self, words: Sequence[SpokenWord]) -> list[wire.ClientEvent]:
        text = "".join(word.text for word in words)
        self._told = bool(text)
        return [self._item(text)] if text else []

    def _item(self, text: str) -> wire.ItemCreate:
        content = (OutputText(text=text.strip()),)
        return wire.ItemCreate(
            item=MessageParam(id=self.item_id, role="assistant", content=content)
        )


def _after(heard: str, words: Sequence[SpokenWord], samples: int) -> list[SpokenWord]:
    """The words that follow the text that was heard, counted from ``samples``."""
    rest, spoken = list(words), ""
    while len(spoken) < len(heard):
        spoken += rest.pop(0).text
    return [SpokenWord(word.text, max(0, word.end_sample - samples)) for word in rest]
