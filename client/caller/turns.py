"""What one turn of a call amounted to, measured from its audio."""

from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from client.caller.listener import CallerItem, Listener, Response
from client.realtime import SAMPLE_RATE_HZ
from client.sound.speech import Recording

STOPPABLE_MS = 500.0  # an answer that ends by itself sooner could not have been stopped
RESUME_WITHIN_MS = 2000.0  # an answer that is silent for longer was given up


class Ear(Protocol):
    """Where the answers are heard: at the loudspeaker, or at the end of a telephone line."""

    def items_at(self, position: int) -> list[str]:
        """The items that had begun to be heard by ``position``, in that order."""

    def item(self, item_id: str) -> NDArray[np.float32]:
        """The item's audio, without the gaps."""

    def first_audible(self, item_id: str) -> int | None:
        """When the item's first audible sample is heard, or None."""

    def last_audible(self, item_id: str) -> int | None:
        """When the item's last audible sample is heard, or None."""

    def stopped_at(self, item_id: str) -> int | None:
        """When the item was cut off while it played, or None."""


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
    responses_before: int
    errors_before: int
    over: int | None = None
    backchannel: bool = False  # wants no answer

    def items(self, listener: Listener, until: "Span | None" = None) -> list[CallerItem]:
        """The committed caller items of this turn."""
        stop = until.inputs_before if until else None
        items = islice(listener.inputs.values(), self.inputs_before, stop)
        return [item for item in items if item.committed is not None]

    def responses(self, listener: Listener, until: "Span | None" = None) -> list[Response]:
        """The responses begun in this turn."""
        stop = until.responses_before if until else None
        return list(islice(listener.responses.values(), self.responses_before, stop))

    def answers(self, listener: Listener, until: "Span | None" = None) -> list[Response]:
        """Those that were begun after the caller had finished, not the ones to a cut-off; nor
        one that only goes on with what was said before."""
        begun = self.responses(listener, until)
        return [r for r in begun if r.created > self.speech_end and r.resumes is None]

    def first_audible(
        self, listener: Listener, until: "Span | None" = None, ear: Ear | None = None
    ) -> int | None:
        """When the first audible sample of an answer is heard, or None."""
        return _first_audible(self.answers(listener, until), ear or listener.playout)


@dataclass(frozen=True, slots=True)
class TurnResult:
    """One turn, as the report shows it. Durations in ms; times counted from the last sample of
    the caller's speech unless they are named otherwise; None where it did not happen.

    ``v2v_ms``: to the first audible sample of the answer, when it plays. The caller's samples
    are placed when the microphone took them, so the wait for their 20 ms packet is in it.
    ``marks``, ``counts``: the server's own stages, if it was asked and tells them.
    ``committed_ms``, ``created_ms``, ``first_delta_ms``: when those events arrived.
    ``cut_offs``: how often the server took the turn to be over before the speech was.
    ``barge_in_ms``: from the onset of this speech to the last sample that was played of the
    answer it interrupted (of one that was not cut, the last audible one); ``interrupted``: that
    answer was in fact cut short. ``backchannel``: this was said into an answer that was to go on
    ("mm-hm"), and wants none; ``resume_gap_ms``: the silence after which an answer that was cut
    short went on, None if it did not. ``ended_by_itself``: the answer was over so soon after the
    onset that nothing is to be learned from it.
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
    backchannel: bool
    resume_gap_ms: float | None
    answer_samples: NDArray[np.float32]  # 24 kHz, as far as it was heard, without gaps
    ended_by_itself: bool = False


def measure(
    span: Span, listener: Listener, following: Span | None = None, ear: Ear | None = None
) -> TurnResult:
    """Work out one turn's figures; ``following`` is the next turn's span, if it has begun.
    ``ear`` is where the answers are heard, if not at the listener's loudspeaker."""
    ear = ear or listener.playout
    responses = span.responses(listener, following)
    answers = span.answers(listener, following)
    items = span.items(listener, following)
    item_ids = [item_id for response in responses for item_id in response.item_ids]
    answer = [ear.item(item_id) for item_id in item_ids]
    samples = np.concatenate(answer) if answer else np.zeros(0, dtype=np.float32)
    first = answers[0] if answers else None
    committed = [item.committed for item in items if item.committed is not None]
    after = [at for at in committed if at > span.speech_end]
    barge_in = _barge_in(span, following, listener, responses, ear)
    errors = listener.errors[span.errors_before : following.errors_before if following else None]

    def since_end(at: int | None) -> float | None:
        return None if at is None else _ms(at - span.speech_end)

    return TurnResult(
        question_id=span.recording.id,
        question=span.recording.text,
        transcript=" ".join(item.transcript.strip() for item in items).strip(),
        answer=" ".join(response.transcript.strip() for response in responses).strip(),
        speech_start_ms=_ms(span.speech_start),
        speech_end_ms=_ms(span.speech_end),
        speech_ms=_ms(span.speech_end - span.speech_start),
        v2v_ms=None
        if span.backchannel
        else since_end(span.first_audible(listener, following, ear)),
        committed_ms=since_end(after[0] if after else None),
        created_ms=since_end(first.created if first else None),
        first_delta_ms=since_end(first.first_delta if first else None),
        marks=dict(first.marks) if first else {},
        counts=dict(first.counts) if first else {},
        cut_offs=sum(at <= span.speech_end for at in committed),
        interrupts=span.interrupts,
        interrupted=barge_in.stopped,
        barge_in_ms=barge_in.last_ms,
        answer_cut=any(item_id in listener.playout.cut for item_id in item_ids),
        answer_ms=_ms(len(samples)),
        underruns=sum(listener.playout.underruns.get(item_id, 0) for item_id in item_ids),
        status=responses[-1].status if responses else None,
        errors=tuple(errors),
        backchannel=span.backchannel,
        resume_gap_ms=barge_in.resume_gap_ms,
        answer_samples=samples,
        ended_by_itself=barge_in.ended_by_itself,
    )


@dataclass(frozen=True, slots=True)
class _BargeIn:
    """What speech into an answer did to it; ``last_ms``: to its last sample."""

    last_ms: float | None = None
    stopped: bool = False
    resume_gap_ms: float | None = None

    @property
    def ended_by_itself(self) -> bool:
        """It was not cut short, and there was next to nothing left of it."""
        return not self.stopped and self.last_ms is not None and self.last_ms < STOPPABLE_MS


def _barge_in(
    span: Span, following: Span | None, listener: Listener, responses: list[Response], ear: Ear
) -> _BargeIn:
    """How long the answer went on after this speech began, whether that cut it short, and whether
    it went on after all, in a response of its own, among the ``responses`` to this speech."""
    if not span.interrupts:
        return _BargeIn()
    playing = ear.items_at(span.speech_start)
    last = ear.last_audible(playing[-1]) if playing else None
    if last is None:
        return _BargeIn()
    cut = next((r for r in listener.responses.values() if playing[-1] in r.item_ids), None)
    # The voice may have paused just then: that it did not sound is not to the server's credit.
    last = max(last, ear.stopped_at(playing[-1]) or 0)
    if last < span.speech_start:  # it had run dry: nothing was interrupted
        return _BargeIn()
    given_up = cut is not None and cut.status in ("cancelled", "incomplete")
    stopped = playing[-1] in listener.playout.cut or given_up
    if following is not None and last >= following.speech_start:  # what is said next stopped it
        stopped = False
    last_ms = _ms(last - span.speech_start)
    if not stopped or cut is None:
        return _BargeIn(last_ms, stopped)
    gap_ms = None
    for response in responses:
        heard = _first_audible([response], ear)
        if heard is not None and _goes_on(span, listener, cut, response):
            gap_ms = _ms(heard - last)
            break
    if gap_ms is not None and gap_ms > RESUME_WITHIN_MS:
        gap_ms = None
    return _BargeIn(last_ms, stopped, gap_ms)


def _goes_on(span: Span, listener: Listener, cut: Response, response: Response) -> bool:
    """Whether a response goes on with the answer that was cut, rather than answers anew.

    A server may say so in the response's metadata (``duplex_resumes``). One that does not goes on
    if it took no turn of the caller's between the two: a new answer answers a turn.
    """
    if response.resumes is not None:
        return response.resumes == cut.response_id
    turns = [item.committed for item in listener.inputs.values() if item.committed is not None]
    return not any(span.speech_start < at <= response.created for at in turns)


def _first_audible(responses: list[Response], ear: Ear) -> int | None:
    times = [
        time
        for response in responses
        for item_id in response.item_ids
        if (time := ear.first_audible(item_id)) is not None
    ]
    return min(times, default=None)


def _ms(samples: int) -> float:
    return round(samples * 1000 / SAMPLE_RATE_HZ, 2)
