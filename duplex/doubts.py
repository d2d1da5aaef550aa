"""Whether a caller who spoke over an answer meant to interrupt it, and what follows from that."""

from duplex.answers import Answers
from duplex.call import Call
from duplex.hearing import Hearing, Sounding
from duplex.interruption import asks_to_go_on, is_false_interruption
from duplex.listening import Attempt
from duplex.vad import FRAME_SAMPLES


class Doubts:
    """One call's. An answer that was cut in is suspended while there is doubt; it is resumed, or
    given up, by what the caller turns out to have said."""

    def __init__(self, call: Call, hearing: Hearing, answers: Answers) -> None:
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
        self._answers.drop_suspended()
        return True

    def settle(self, attempt: Attempt, words: str) -> None:
        """The words of the turn up to a pause are known."""
        if self._answers.suspended is None:
            return
        attempt.resumes = is_false_interruption(words, attempt.speech_ms) or asks_to_go_on(words)
        if attempt.resumes:
            attempt.wants_answer = False
        else:
            self._answers.drop_suspended()

    def resume(self, attempt: Attempt) -> None:
        """The turn is committed, and its words are known."""
        if attempt.resumes and attempt.item_id is not None:
            self._answers.resume(attempt.marks, attempt.item_id)
