"""Whether a caller who spoke over an answer meant to interrupt it, and what follows from that."""

from duplex.dialogue.call import CallContext
from duplex.dialogue.replies import Replies
from duplex.dialogue.reply import Suspension
from duplex.dialogue.speculation import Speculation
from duplex.interruption.words import asks_to_go_on, has_asked, is_false_interruption, is_hum
from duplex.turns.turn_detector import Sounding, TurnDetector
from duplex.turns.vad import FRAME_SAMPLES

_SPOKEN_INTO_MS = 300  # people answer a question while its last word is still being said


class Doubts:
    """One call's. An answer that was cut in is suspended while there is doubt; it is resumed, or
    given up, by what the caller turns out to have said."""

    def __init__(self, call: CallContext, hearing: TurnDetector, answers: Replies) -> None:
        self._call = call
        self._hearing = hearing
        self._answers = answers

    @property
    def interrupts(self) -> bool:
        """Whether the caller's speech stops an answer."""
        detection = self._call.session_config.audio.input.turn_detection
        return detection is not None and detection.interrupt_response

    def sounding(self) -> Sounding | None:
        """What speech would interrupt, if it did."""
        current = self._answers.current_stream
        if current is None or current.plan.modality != "audio" or not self.interrupts:
            return None
        return Sounding(self._answers.sounding(FRAME_SAMPLES))

    def are_over(self) -> bool:
        """Whether the caller has spoken for so long now that they mean it: the suspended answer
        is given up, so that work on the next can begin while they speak."""
        if self._answers.suspended is None:
            return False
        if self._hearing.speaking_ms <= self._call.config.turn.false_interruption_ms:
            return False
        self._answers.give_way()
        return True

    def settle(self, attempt: Speculation, words: str) -> None:
        """The words of the turn up to a pause are known."""
        suspended = self._answers.suspended
        if suspended is None or attempt.item_id not in (None, suspended.by_item_id):
            return
        is_false = is_false_interruption(
            words, attempt.speech_ms, attempt.sounds_false, is_asked=_is_reply(suspended, words)
        )
        attempt.resumes = is_false or (asks_to_go_on(words) and self._answers.is_to_go_on())
        if attempt.resumes:
            attempt.wants_answer = False
        else:
            self._answers.give_way()

    def resume(self, attempt: Speculation) -> None:
        """The turn is committed, and its words are known."""
        if attempt.resumes and attempt.item_id is not None:
            self._answers.resume(attempt.marks, attempt.item_id)


def _is_reply(suspended: Suspension, words: str) -> bool:
    """Whether the caller was asked something when they cut in, or has heard the answer out and
    says something to it."""
    reply, at = suspended.answer.reply, suspended.at_sample
    soon = at + reply.ledger.rate_hz * _SPOKEN_INTO_MS // 1000
    if has_asked(reply.ledger.text_heard(soon)):
        return True
    return not reply.has_more(at) and not is_hum(words)
