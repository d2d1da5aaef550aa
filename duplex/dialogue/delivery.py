"""The way of a reply from its making to the caller: held, paced, sent, and sent again."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from duplex.audio.formats import Samples
from duplex.dialogue.playback import KEPT_S, EchoReference, PlaybackLedger, Timeline
from duplex.dialogue.reply_parts import ReplyAudio, ReplyPart, ReplyThought
from duplex.dialogue.reply_state import Phase, ReplyState
from duplex.metrics import Clock, TurnMarks
from tts.types import SpokenWord

_PIECE_MS = 200  # of audio that is sent again at a time
# About 6 s of thoughts at 40 tokens/s before the reply is released; then the maker waits.
_MAX_WAITING = 256


class Delivery:
    """The parts of one reply on their way out, and what of them was heard.

    The pipeline puts parts in with `enqueue`; the reply takes them out with `next_part`, which
    waits until the reply is SPEAKING. Audio that goes out is noted for the ledger, for the echo
    reference, and to be sent again: after `reopen` the part that was not heard comes first, in a
    new item.
    """

    def __init__(
        self,
        state: ReplyState,
        marks: TurnMarks,
        clock: Clock,
        rate_hz: int,
        first: Sequence[ReplyAudio] = (),
    ) -> None:
        """``first`` goes out before all that is made."""
        self.marks = marks  # of the turn that is answered; replaced by `reopen`
        self.is_ended = False  # set when the last part that is made was taken
        self.is_cut_short = False  # see `cut_short`
        self.is_ready = bool(first)  # whether more than thoughts can be sent, or the making failed
        self.on_ready: Callable[[], object] = bool  # called when it becomes so
        self._state = state
        self._clock = clock
        self._rate_hz = rate_hz
        self._again: deque[ReplyAudio] = deque(first)  # goes before the queue
        self._queue: asyncio.Queue[ReplyPart | None] = asyncio.Queue(_MAX_WAITING)
        self._arrived = asyncio.Event()  # set when there may be something to take
        self.made_before = 0  # samples of ``first``
        for audio in first:
            self.made_before += len(audio.samples)
        self._waiting_samples = self.made_before  # made, and not yet sent
        self._open_item(0)

    async def enqueue(self, part: ReplyPart | None) -> None:
        """Add the next part that was made; None after the last. Waits while the queue is full."""
        if isinstance(part, ReplyAudio):
            self._waiting_samples += len(part.samples)
        await self._queue.put(part)
        self._arrived.set()
        if not self.is_ready and not isinstance(part, ReplyThought):
            self.is_ready = True
            self.on_ready()

    def cut_short(self) -> None:
        """The making failed: what is queued is not sent."""
        self.is_cut_short = self.is_ready = True
        self.on_ready()

    async def next_part(self) -> ReplyPart | None:
        """Wait for what goes out next, and note that it does. None if that was all so far:
        `reopen` may bring more."""
        while True:
            await self._state.until(Phase.SPEAKING)
            if self._again:
                return self._note_sent(self._again.popleft())
            if self.is_ended or self.is_cut_short:
                return None
            if self._queue.empty():
                self._arrived.clear()
                await self._arrived.wait()
            elif (part := self._queue.get_nowait()) is None:
                self.is_ended = True
            elif isinstance(part, ReplyAudio):
                return self._note_sent(part)
            else:
                if not isinstance(part, ReplyThought):
                    self.marks.reach("released")
                return part

    def reopen(self, from_sample: int, marks: TurnMarks) -> None:
        """Go on with a new item, whose audio begins at the current one's ``from_sample``. What
        waits goes out as soon as the reply is SPEAKING again."""
        self.marks = marks
        waited = sum(len(audio.samples) for audio in self._again)
        self._again = self._unheard(from_sample)
        self._waiting_samples += sum(len(audio.samples) for audio in self._again) - waited
        self._arrived.set()

    def take_unheard(self, from_sample: int) -> list[ReplyAudio]:
        """Empty it: the audio after the current item's ``from_sample`` of a reply that is given
        up, with offsets from the first sample returned."""
        audio = self._unheard(from_sample)
        while not self._queue.empty():
            part = self._queue.get_nowait()
            if isinstance(part, ReplyAudio):
                audio.append(part)
        return [self._from_item(part) for part in audio]

    def has_more(self, from_sample: int, than: int = 0) -> bool:
        """Whether there are more words ``than`` so many after the current item's
        ``from_sample``, as far as is known."""
        waiting = sum(len(audio.words) for audio in self._again)
        left = waiting + len(self.ledger.words_unheard(from_sample))
        return not self.is_ended or left > than

    def made_ahead_s(self) -> float:
        """How long the audio lasts that was made and not yet heard."""
        return self.ledger.ahead_s(self._clock()) + self._waiting_samples / self._rate_hz

    def sounding(self, frame_samples: int) -> Samples:
        """What of it sounds at the caller, in a frame of 16 kHz that follows the one before."""
        return self._reference.frame(self._clock(), frame_samples)

    def _open_item(self, from_sample: int) -> None:
        """What goes out from the reply's sample ``from_sample`` on belongs to a new item."""
        self._item_from = from_sample
        self.ledger = PlaybackLedger(self._rate_hz)
        self._sent = Timeline()  # since the item began
        self._reference = EchoReference(self._rate_hz)

    def _note_sent(self, audio: ReplyAudio) -> ReplyAudio:
        self._waiting_samples -= len(audio.samples)
        if self._item_from:
            audio = self._from_item(audio)
        now = self._clock()
        self.ledger.feed(len(audio.samples), audio.words, now)
        self._sent.feed(audio.samples)
        self._sent.forget(self.ledger.heard_samples(now) - round(KEPT_S * self._rate_hz))
        self._reference.feed(audio.samples, now)
        self.marks.reach("released")
        return audio

    def _from_item(self, audio: ReplyAudio) -> ReplyAudio:
        """The same, with offsets from the current item's first sample."""
        start = self._item_from
        words = [SpokenWord(word.text, max(0, word.end_sample - start)) for word in audio.words]
        return ReplyAudio(audio.samples, tuple(words))

    def _unheard(self, from_sample: int) -> deque[ReplyAudio]:
        """Close the item at its sample ``from_sample``; returns what was to go out after it."""
        samples = self._sent.since(from_sample)
        words = self.ledger.words_unheard(from_sample)
        sent_to = self._item_from + self.ledger.sent_samples
        start = sent_to - len(samples)
        spoken = [SpokenWord(word.text, self._item_from + word.end_sample) for word in words]
        self._open_item(start)
        return deque([*_pieces(samples, spoken, start, self._rate_hz), *self._again])


def _pieces(
    samples: Samples, words: Sequence[SpokenWord], start: int, rate_hz: int
) -> Iterator[ReplyAudio]:
    """Audio that begins at ``start``, cut small, each part with the words that end in it."""
    step = rate_hz * _PIECE_MS // 1000
    for at in range(0, len(samples), step):
        is_last = at + step >= len(samples)
        count = len(words)
        if not is_last:
            count = sum(word.end_sample <= start + at + step for word in words)
        yield ReplyAudio(samples[at : at + step], tuple(words[:count]))
        words = words[count:]
    if words:
        yield ReplyAudio(samples[:0], tuple(words))
