"""Fixed words: the greeting, the goodbye. They are played like a reply, and stand in the
conversation as far as they were heard.

A caller's sound stops an announcement as it stops a reply. If there were no words in it, because it
was a cough, the rest is played.
"""

from collections.abc import Sequence

from duplex.dialogue.playback import PlaybackLedger
from duplex.phone.events import Encoding
from duplex.protocol import client_events as wire
from duplex.protocol.items import MessageParam, OutputText
from tts.types import SpokenWord


class Announcement:
    """The announcement of a call; another one takes its place."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._count = 0  # announcements, and rests of them
        self._is_dropped = True  # whether what still comes is not played
        self.is_held = False  # whether it waits until the caller's sound is known to mean nothing
        # Of the announcement, or of the rest of it. See `_restart`.
        self._is_in_conversation: bool
        self._audio: bytearray
        self._words: list[SpokenWord]
        self._before: int
        self.is_made: bool  # whether nothing more of it is to come
        self._ledger: PlaybackLedger
        self._restart(b"", ())

    @property
    def item_id(self) -> str:
        """The id of what is played, also in the conversation."""
        return f"announcement_{self._count}"

    @property
    def is_awaited(self) -> bool:
        """Whether more of it is to come, and to be played at once."""
        return not (self._is_dropped or self.is_held or self.is_made)

    @property
    def samples(self) -> int:
        """How much of it was synthesised; of the rest, if it was cut."""
        return len(self._audio) // self._encoding.bytes_per_sample

    def begin(self) -> None:
        """Begin another one."""
        self.is_held = self._is_dropped = self._is_in_conversation = False
        self._restart(b"", ())

    def feed(self, audio: bytes, words: Sequence[SpokenWord]) -> bytes:
        """Take what was synthesised, with words by their ends in the whole announcement. Returns
        what is to be played of it now."""
        if self._is_dropped:
            return b""
        shifted = [SpokenWord(w.text, max(0, w.end_sample - self._before)) for w in words]
        self._audio += audio
        self._words += shifted
        self._ledger.feed(len(audio) // self._encoding.bytes_per_sample, shifted, 0.0)
        return b"" if self.is_held else audio

    def finish(self) -> list[wire.ClientEvent]:
        """All of it was synthesised. Returns the events that put it into the conversation, ahead of
        its playing."""
        self.is_made = True
        return [] if self._is_dropped or self.is_held else self._put_into_conversation(self._words)

    def heard(self, samples: int) -> str:
        """Return the words that so many samples voice, of the announcement or the rest of it."""
        return self._ledger.text_heard(samples)

    def cut(self, heard_samples: int, *, hold: bool) -> list[wire.ClientEvent]:
        """The caller interrupts; with ``hold`` the rest is kept, as it may be a cough. Returns the
        events that leave in the conversation what was heard."""
        text = self.heard(heard_samples)
        events: list[wire.ClientEvent] = []
        if self._is_in_conversation:
            events.append(wire.ItemDelete(item_id=self.item_id))
        if text:
            events += [self._item(text)]
        before, is_made = self._before + heard_samples, self.is_made
        audio = self._audio[heard_samples * self._encoding.bytes_per_sample :]
        self._restart(bytes(audio), _after(text, self._words, heard_samples))
        self._before, self.is_made = before, is_made
        self.is_held, self._is_dropped = hold, not hold
        return events

    def resume(self) -> tuple[bytes, list[wire.ClientEvent]]:
        """The caller's sound meant nothing. Returns the rest as far as it is made, and the events
        that put it into the conversation."""
        if not self.is_held:
            return b"", []
        self.is_held = False
        return bytes(self._audio), self._put_into_conversation(self._words) if self.is_made else []

    def drop(self) -> None:
        """Do not play the rest."""
        self.is_held, self._is_dropped = False, True

    def drop_held(self) -> None:
        """The caller's sound meant something: do not play a rest that was kept."""
        if self.is_held:
            self.drop()

    def _restart(self, audio: bytes, words: Sequence[SpokenWord]) -> None:
        self._count += 1
        self._is_in_conversation = False
        self._audio = bytearray(audio)  # not played yet, or being played
        self._words = list(words)  # likewise; their ends are samples of it
        self._before = 0  # samples of the announcement before it
        self.is_made = False
        self._ledger = PlaybackLedger(self._encoding.rate_hz)
        self._ledger.feed(len(audio) // self._encoding.bytes_per_sample, words, 0.0)

    def _put_into_conversation(self, words: Sequence[SpokenWord]) -> list[wire.ClientEvent]:
        text = "".join(word.text for word in words)
        self._is_in_conversation = bool(text)
        return [self._item(text)] if text else []

    def _item(self, text: str) -> wire.ItemCreate:
        content = (OutputText(text=text.strip()),)
        return wire.ItemCreate(
            item=MessageParam(id=self.item_id, role="assistant", content=content)
        )


def _after(heard: str, words: Sequence[SpokenWord], samples: int) -> list[SpokenWord]:
    """Return the words that follow the text that was heard, counted from ``samples``."""
    rest, spoken = list(words), ""
    while len(spoken) < len(heard):
        spoken += rest.pop(0).text
    return [SpokenWord(word.text, max(0, word.end_sample - samples)) for word in rest]
