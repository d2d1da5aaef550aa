"""What one turn of a call amounted to, measured from its audio."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.listener import CallerItem, Listener, Reply
from client.realtime import SAMPLE_RATE_HZ
from client.speech import Recording


@dataclass(frozen=True, slots=True)
class Span:
    """Where one utterance lies in the call, in samples from its beginning.

    The ``..._before`` count what the listener had seen when it began. ``over`` is set when the
    turn is: at the end of the answer, or when the next utterance interrupts it.
    """

    recording: Recording
    start: int
    end: int
    speech_start: int
    speech_end: int  # the last sample of speech
    interrupts: bool
    inputs_before: int
    replies_before: int
    errors_before: int
    over: int | None = None

    def items(self, listener: Listener, until: "Span | None" = None) -> list[CallerItem]:
        """The committed caller items of this turn."""
        stop = until.inputs_before if until else None
        items = islice(listener.inputs.values(), self.inputs_before, stop)
        return [item for item in items if item.committed is not None]

    def replies(self, listener: Listener, until: "Span | None" = None) -> list[Reply]:
        """The responses begun in this turn."""
        stop = until.replies_before if until else None
        return list(islice(listener.replies.values(), self.replies_before, stop))

    def answers(self, listener: Listener, until: "Span | None" = None) -> list[Reply]:
        """Those that were begun after the caller had finished: not the ones to a cut-off."""
        return [r for r in self.replies(listener, until) if r.created > self.speech_end]

    def first_audible(self, listener: Listener, until: "Span | None" = None) -> int | None:
        """When the first audible sample of an answer plays, or None."""
        times = [
            time
            for reply in self.answers(listener, until)
            for item_id in reply.item_ids
            if (time := listener.playout.first_audible(item_id)) is not None
        ]
        return min(times, default=None)


@dataclass(frozen=True, slots=True)
class TurnResult:
    """One turn, as the report shows it. Durations in ms; times counted from the last sample of
    the caller's speech unless they are named otherwise; None where it did not happen.

    ``v2v_ms``: to the first audible sample of the answer, when it plays. The caller's samples
    are placed when the microphone took them, so the wait for their 20 ms packet is in it.
    ``marks``, ``counts``: the server's own stages, if it was asked and tells them.
    ``committed_ms``, ``created_ms``, ``first_delta_ms``: when those events arrived.
    ``cut_offs``: how often the server took the turn to be over before the speech was.
    ``barge_in_ms``: from the onset of this speech to the last audible sample of the answer it
    interrupted; ``interrupted``: that answer was in fact cut short.
    """

    question_id: str
    question: str
    transcript: str
    answer: str
    speech_start_ms: float  # from the call's beginning
    speech_end_ms: float  # from the call's beginning
    speech_ms: float
    v2v_ms: float | None
    committed_ms: float | None
    created_ms: float | None
    first_delta_ms: float | None
    marks: dict[str, float]
    counts: dict[str, Any]
    cut_offs: int
    interrupts: bool
    interrupted: bool
    barge_in_ms: float | None
    answer_cut: bool  # a later speech onset stopped this turn's answer
    answer_ms: float  # as far as it was heard
    underruns: int
    status: str | None
    errors: tuple[str, ...]
    answer_samples: NDArray[np.float32]  # 24 kHz, as far as it was heard, without gaps


def measure(span: Span, listener: Listener, following: Span | None = None) -> TurnResult:
    """Work out one turn's figures; ``following`` is the next turn's span, if it has begun."""
    replies = span.replies(listener, following)
    answers = span.answers(listener, following)
    items = span.items(listener, following)
    item_ids = [item_id for reply in replies for item_id in reply.item_ids]
    answer = [listener.playout.item(item_id) for item_id in item_ids]
    samples = np.concatenate(answer) if answer else np.zeros(0, dtype=np.float32)
    first = answers[0] if answers else None
    committed = [item.committed for item in items if item.committed is not None]
    after = [at for at in committed if at > span.speech_end]
    barge_in_ms, interrupted = _barge_in(span, listener)
    errors = listener.errors[span.errors_before : following.errors_before if following else None]

    def since_end(at: int | None) -> float | None:
        return None if at is None else _ms(at - span.speech_end)

    return TurnResult(
        question_id=span.recording.id,
        question=span.recording.text,
        transcript=" ".join(item.transcript.strip() for item in items).strip(),
        answer=" ".join(reply.transcript.strip() for reply in replies).strip(),
        speech_start_ms=_ms(span.speech_start),
        speech_end_ms=_ms(span.speech_end),
        speech_ms=_ms(span.speech_end - span.speech_start),
        v2v_ms=since_end(span.first_audible(listener, following)),
        committed_ms=since_end(after[0] if after else None),
        created_ms=since_end(first.created if first else None),
        first_delta_ms=since_end(first.first_delta if first else None),
        marks=dict(first.marks) if first else {},
        counts=dict(first.counts) if first else {},
        cut_offs=sum(at <= span.speech_end for at in committed),
        interrupts=span.interrupts,
        interrupted=interrupted,
        barge_in_ms=barge_in_ms,
        answer_cut=any(item_id in listener.playout.cut for item_id in item_ids),
        answer_ms=_ms(len(samples)),
        underruns=sum(listener.playout.underruns.get(item_id, 0) for item_id in item_ids),
        status=replies[-1].status if replies else None,
        errors=tuple(errors),
        answer_samples=samples,
    )


def _barge_in(span: Span, listener: Listener) -> tuple[float | None, bool]:
    """How long the answer went on after this speech began, and whether it was cut short."""
    if not span.interrupts:
        return None, False
    playing = [p.item_id for p in listener.playout.pieces if p.start <= span.speech_start]
    last = listener.playout.last_audible(playing[-1]) if playing else None
    if last is None:
        return None, False
    return _ms(max(0, last - span.speech_start)), playing[-1] in listener.playout.cut


def _ms(samples: int) -> float:
    return round(samples * 1000 / SAMPLE_RATE_HZ, 2)
