"""A turn that goes on after all: what the caller says right after a wrong end belongs to it.

Theory of operation
===================

A turn that was committed may have been over too early. It is kept as the `EndedTurn` until it
cannot go on any more. If the caller speaks again by then, the engine hears that after the turn's
own audio: the engine's turn simply is not over.

While the reply to it has not begun to sound, the caller can only be going on: the turn is
*reopened* at once. If the reply has just begun to sound, it is suspended, as by any barge-in, and
the exact pass at the caller's next pause decides. If the caller added nothing, or no more than a
sound of listening, the reply is resumed and the first turn stands. Else the turn is reopened.

To reopen a turn is to take back its item and the reply to it, also from the client. What was said
in all becomes one item when it is committed, so the conversation holds no trace of the wrong end.
"""

from dataclasses import replace

from duplex.dialogue.call import CallContext, stop_task
from duplex.dialogue.open_turn import EndedTurn, OpenTurn, Speculation
from duplex.dialogue.replies import Replies
from duplex.dialogue.reply_state import SOUNDING, Phase
from duplex.turns.turn_detector import Sounding, TurnDetector
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE
from engine.types import Transcript

# Of a reply: nobody has understood what they hear, and begun to answer it, before.
_FRESH_MS = 700
# Speech without words, such as a cough, is not longer.
_SOUND_MS = 1200
# After a turn that no reply comes to.
_ALONE_MS = 1000


class Reopening:
    """Knows whether the last turn may go on, and reopens it."""

    def __init__(
        self, call: CallContext, replies: Replies, detector: TurnDetector, limit_samples: int
    ) -> None:
        """``limit_samples``: of a turn."""
        self._call = call
        self._replies = replies
        self._detector = detector
        self._limit_samples = limit_samples
        self._last: EndedTurn | None = None  # set while it may go on

    def ended(self, turn: OpenTurn, work: Speculation, item_id: str, silent_from: int) -> None:
        """The turn was committed. One that the client ended is over, and so is one that left a
        reply its turn."""
        may_go_on = work.wants_reply and not work.resumes
        ended = EndedTurn(turn, work, item_id, silent_from, self._detector.now_sample)
        self._last = ended if may_go_on else None

    def close(self) -> None:
        """The last turn is over for good: the client acts on it."""
        self._last = None

    def covers(self, onset: int) -> bool:
        """Whether speech from the call's sample ``onset`` on may belong to the last turn."""
        last = self._last
        if last is None or not self._is_untouched(last):
            return False
        reply = last.work.reply
        if reply is None:
            is_coming = not last.work.task.done() or self._replies.is_due
            return is_coming or (onset - last.silent_from) * 1000 <= _ALONE_MS * SAMPLE_RATE
        if reply.response.called or reply.state.phase not in (Phase.HELD, *SOUNDING):
            return False
        if reply.plan.modality == "text":
            return not reply.response.words
        ledger = reply.delivery.ledger
        since_s = (self._detector.now_sample - onset) / SAMPLE_RATE
        heard = ledger.heard_samples(self._call.clock() - since_s)
        return heard * 1000 <= _FRESH_MS * ledger.rate_hz

    def take(self, onset: int) -> EndedTurn | None:
        """A turn begins at ``onset``: the one before, if it may go on with that. No other can."""
        last = self._last if self.covers(onset) else None
        self._last = None
        return last

    def sounding(self) -> Sounding | None:
        """What speech would interrupt, if it did."""
        reply = self._replies.current
        if reply is None or reply.plan.modality != "audio" or not self._call.interrupts_responses:
            return None
        is_fresh = self.covers(self._detector.now_sample)
        if is_fresh and not reply.delivery.ledger.sent_samples:
            return None  # nothing sounds yet, and nothing can be heard as its echo
        return Sounding(reply.delivery.sounding(FRAME_SAMPLES), is_fresh)

    async def open_turn(self, item_id: str, from_sample: int, before: EndedTurn) -> OpenTurn:
        """Open the turn that may go on with the one ``before``. Unless a reply was suspended for
        it, it does."""
        audio = self._detector.since(max(from_sample, before.to_sample))
        is_sure = self._replies.suspension is None
        if is_sure:
            await stop_task(before.work.task)
        turn = OpenTurn(self._call, item_id, from_sample, audio, before)
        self._detector.count_from(turn.from_sample)
        if is_sure:
            self.reopen(turn)
        return turn

    def settle(self, turn: OpenTurn, work: Speculation) -> None:
        """The words up to a pause are known. A suspended reply goes on when the turn is committed,
        or it is given up; the turn before goes on with this one, or it was over."""
        whole = work.transcript
        assert whole is not None
        if turn.before is None:
            self._replies.settle(work, whole.text)
            return
        rest = _after(turn.before, whole)
        if rest is not None and not rest.text and work.speech_ms > _SOUND_MS:
            rest = None  # there were words, which the ear has missed
        if rest is not None:
            self._replies.settle(work, rest.text)
        if rest is not None and work.resumes:
            work.transcript = rest
        else:
            self.reopen(turn)

    def speaks_on(self, turn: OpenTurn | None) -> None:
        """A caller who speaks for long means it. The suspended reply is given up, so that work on
        the next can begin while they speak."""
        if turn is None or self._replies.suspension is None:
            return
        if self._detector.speaking_ms > self._call.config.turn.false_interruption_ms:
            self.reopen(turn)
            self._replies.give_up(meant=True)
            self._replies.prefill()

    def reopen(self, turn: OpenTurn) -> None:
        """The turn before, if there is one, goes on with ``turn``: take back its item and the
        reply to it."""
        if turn.before is None:
            return
        before, turn.before = turn.before, None
        self.reopen(before.turn)
        call = self._call
        self._replies.withdraw(before.work.reply)
        call.sounds.pop(before.item_id, None)
        call.take_back(before.item_id)
        call.metrics.count("duplex_reopened_turns_total")

    def _is_untouched(self, last: EndedTurn) -> bool:
        """Whether nothing but its reply came after it into the conversation."""
        call, reply = self._call, last.work.reply
        is_followed = reply is not None and call.conversation.last_id == reply.response.item_id
        is_last = is_followed or call.conversation.last_id == last.item_id
        is_too_long = self._detector.now_sample - last.turn.from_sample >= self._limit_samples
        takes_turns = call.creates_responses and call.interrupts_responses
        return takes_turns and is_last and not is_too_long and last.item_id in call.conversation


def _after(before: EndedTurn, whole: Transcript) -> Transcript | None:
    """What the caller said after the end of a turn, if they said no more than a reply may go on
    after: None if the ear understands the turn otherwise by now.

    A caller who only repeats the reply's first words is its echo, and has said nothing.
    """
    first, reply = before.work.transcript, before.work.reply
    if first is None:
        return None
    at = _end_of(first.text, whole.text)
    if at is None:
        return None
    text = whole.text[at:].lstrip(" ,.;:!?-–—…")
    if reply is not None and _end_of(text, reply.response.words) is not None:
        text = ""
    samples = max(0, whole.samples - first.samples)
    return replace(whole, text=text, stable=text, samples=samples, sound=None)


def _end_of(beginning: str, text: str) -> int | None:
    """Where ``beginning`` ends in ``text``, if that begins so; marks and case do not count."""
    wanted = [c for c in beginning.casefold() if c.isalnum()]
    at = found = 0
    while found < len(wanted):
        while at < len(text) and not text[at].isalnum():
            at += 1
        if at == len(text) or text[at].casefold() != wanted[found]:
            return None
        at, found = at + 1, found + 1
    return at
