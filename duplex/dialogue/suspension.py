"""A reply that a barge-in stopped, and what the caller did not hear of it.

While it is not known whether the barge-in was meant, the reply is SUSPENDED, and a `Suspension`
holds it. Then it is resumed, or it is given up. Of a reply that is given up, `LastUnheard` keeps
the rest for a while, since "go on" may ask for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from duplex.dialogue.reply import Reply
from duplex.dialogue.reply_parts import UnheardRest
from duplex.interruption.words import has_asked, is_false_interruption, is_hum
from duplex.protocol.response_plan import ResponsePlan
from duplex.turns.vad import SAMPLE_RATE

_KEPT_SAMPLES = 30 * SAMPLE_RATE  # of the call; later, nobody means it with "go on"
_SPOKEN_INTO_MS = 300  # people answer a question while its last word is still being said
_LAST_WORDS = 2  # with no more than these left, "go on" is about what would come next


@dataclass(slots=True)
class Suspension:
    """A reply that the caller interrupted, until it is known whether they meant to."""

    reply: Reply
    at_sample: int  # of its item; what follows was not heard
    by_item_id: str  # the caller's turn that interrupted it
    may_go_on: bool = False  # whether that may go on with the turn before; see `Reopening`

    @property
    def has_more(self) -> bool:
        """Whether anything is left to be resumed."""
        return self.reply.delivery.has_more(self.at_sample)

    @property
    def has_much_more(self) -> bool:
        """Whether more is left than its last words."""
        return self.reply.delivery.has_more(self.at_sample, _LAST_WORDS)

    def is_meant_by(self, response_id: str | None) -> bool:
        """Whether a command for that response, or for the one there is, means the reply."""
        return response_id in (None, self.reply.response.response_id)

    def was_not_meant(self, words: str, speech_ms: int, sounds_false: float | None) -> bool:
        """Whether the caller did not mean to interrupt: by their words, by how long they spoke,
        and by the sound of it (see `TurnDetector.sounds_false`)."""
        return is_false_interruption(
            words, speech_ms, sounds_false, is_asked=self._is_answered_by(words)
        )

    def _is_answered_by(self, words: str) -> bool:
        """Whether the caller was asked something when they spoke, or has heard the reply out and
        says something to it."""
        ledger = self.reply.delivery.ledger
        soon = self.at_sample + ledger.rate_hz * _SPOKEN_INTO_MS // 1000
        return has_asked(ledger.text_heard(soon)) or not (self.has_more or is_hum(words))


@dataclass(frozen=True, slots=True)
class _Kept:
    rest: UnheardRest
    plan: ResponsePlan
    since_sample: int  # of the call


class LastUnheard:
    """The rest of the reply that the caller interrupted last, while "go on" can mean it.

    It is forgotten in sample time, so that a recorded call replays to the same replies.
    """

    def __init__(self, now_sample: Callable[[], int]) -> None:
        """``now_sample``: how much audio the call has had."""
        self._now_sample = now_sample
        self._last: _Kept | None = None

    def keep(self, reply: Reply, heard_samples: int) -> bool:
        """A reply is given up of which so much was heard. Returns whether there is more of it
        than its last words; if not, nothing changes. An aside does not take the place of what is
        kept."""
        if not reply.delivery.has_more(heard_samples, _LAST_WORDS):
            return False
        if not self.is_aside(reply):
            rest = reply.pipeline.take_rest(heard_samples)
            self._last = None if rest is None else _Kept(rest, reply.plan, self._now_sample())
        return True

    def is_aside(self, reply: Reply) -> bool:
        """Whether a reply is short, and said after one that was interrupted."""
        return self._kept is not None and reply.pipeline.is_short

    def rest_for(self, plan: ResponsePlan) -> UnheardRest | None:
        """What is kept, if it can be spoken by that plan."""
        kept = self._kept
        return kept.rest if kept is not None and kept.plan.sounds_like(plan) else None

    def forget(self) -> None:
        """From now on "go on" is about what comes next."""
        self._last = None

    @property
    def _kept(self) -> _Kept | None:
        last = self._last
        if last is not None and self._now_sample() - last.since_sample >= _KEPT_SAMPLES:
            self._last = last = None
        return last
