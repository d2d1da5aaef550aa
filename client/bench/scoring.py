"""What ears make of the turns of a group: the word errors of what was understood and of what was
answered. The counting itself is in `client.bench.word_errors`."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from client.bench.result import BenchTurn, Group
from client.bench.word_errors import WordErrors, wer
from client.caller.turns import TurnResult
from client.realtime import SAMPLE_RATE_HZ
from client.sound.speech import Recording, longest_pause_ms
from duplex.audio.resample import resample

Transcribe = Callable[[NDArray[np.float32]], str]  # 16 kHz samples -> words

ASR_RATE_HZ = 16_000


class Scorer:
    """Adds what needs ears to the turns of a group."""

    def __init__(self, transcribe: Transcribe | None, recordings: Sequence[Recording]) -> None:
        self._transcribe = transcribe
        self._pauses = {item.id: longest_pause_ms(item.samples) for item in recordings}

    def group(self, group: Group) -> Group:
        """The same group, scored."""
        calls = [
            replace(call, turns=tuple(self._turn(scored.turn) for scored in call.turns))
            for call in group.calls
        ]
        return replace(group, calls=tuple(calls))

    def _turn(self, turn: TurnResult) -> BenchTurn:
        question_errors = answer_errors = heard = None
        if turn.question:
            question_errors = _errors(turn.question, turn.transcript)
        whole = not turn.answer_cut and turn.status == "completed" and turn.cut_offs == 0
        whole = whole and not turn.backchannel  # that may be the end of an answer without its text
        if self._transcribe is not None and whole and len(turn.answer_samples):
            heard = self._transcribe(resample(turn.answer_samples, SAMPLE_RATE_HZ, ASR_RATE_HZ))
            if turn.answer:
                answer_errors = _errors(turn.answer, heard)
        return BenchTurn(
            turn, self._pauses[turn.question_id], question_errors, heard, answer_errors
        )


def _errors(reference: str, heard: str) -> WordErrors | None:
    """None if the reference holds no words, so that there is no rate."""
    errors = wer([(reference, heard)])
    return errors if errors.words else None
