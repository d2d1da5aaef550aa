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


@dataclass(frozen=True, slots=True)
class _Turn:
    """One turn while it is measured: what lies between its utterance and the ``following`` one."""

    span: Span
    following: Span | None
    listener: Listener
    ear: Ear

    @property
    def items(self) -> list[CallerItem]:
        return self.span.items(self.listener, self.following)

    @property
    def responses(self) -> list[Response]:
        return self.span.responses(self.listener, self.following)

    @property
    def first_answer(self) -> Response | None:
        return next(iter(self.span.answers(self.listener, self.following)), None)

    @property
    def answer_ids(self) -> list[str]:
        """The items of its responses, in order."""
        return [item_id for response in self.responses for item_id in response.item_ids]

    @property
    def errors(self) -> tuple[str, ...]:
        stop = self.following.errors_before if self.following else None
        return tuple(self.listener.errors[self.span.errors_before : stop])

    @property
    def commits(self) -> list[int]:
        """When the server took the turn to be over."""
        return [item.committed for item in self.items if item.committed is not None]

    @property
    def end_commit(self) -> int | None:
        """The first commit that came after the speech had ended."""
        return next((at for at in self.commits if at > self.span.speech_end), None)

    @property
    def cut_offs(self) -> int:
        """Commits that came before it had."""
        return sum(at <= self.span.speech_end for at in self.commits)

    @property
    def audible(self) -> int | None:
        """When the answer is heard; None of speech that wants none."""
        if self.span.backchannel:
            return None
        return self.span.first_audible(self.listener, self.following, self.ear)

    def samples(self) -> NDArray[np.float32]:
        """The answer's audio as far as it was heard, without gaps."""
        nothing = np.zeros(0, dtype=np.float32)
        return np.concatenate([nothing, *(self.ear.item(item_id) for item_id in self.answer_ids)])

    def since_end_ms(self, at: int | None) -> float | None:
        """From the last sample of speech."""
        return None if at is None else _ms(at - self.span.speech_end)


def measure(
    span: Span, listener: Listener, following: Span | None = None, ear: Ear | None = None
) -> TurnResult:
    """Work out one turn's figures; ``following`` is the next turn's span, if it has begun.
    ``ear`` is where the answers are heard, if not at the listener's loudspeaker."""
    turn = _Turn(span, following, listener, ear or listener.playout)
    responses, item_ids, samples = turn.responses, turn.answer_ids, turn.samples()
    first, playout = turn.first_answer, listener.playout
    barge_in = _barge_in(turn)
    return TurnResult(
        question_id=span.recording.id,
        question=span.recording.text,
        transcript=" ".join(item.transcript.strip() for item in turn.items).strip(),
        answer=" ".join(response.transcript.strip() for response in responses).strip(),
        speech_start_ms=_ms(span.speech_start),
        speech_end_ms=_ms(span.speech_end),
        speech_ms=_ms(span.speech_end - span.speech_start),
        v2v_ms=turn.since_end_ms(turn.audible),
        committed_ms=turn.since_end_ms(turn.end_commit),
        created_ms=turn.since_end_ms(first.created if first else None),
        first_delta_ms=turn.since_end_ms(first.first_delta if first else None),
        marks=dict(first.marks) if first else {},
        counts=dict(first.counts) if first else {},
        cut_offs=turn.cut_offs,
        interrupts=span.interrupts,
        interrupted=barge_in.stopped,
        barge_in_ms=barge_in.last_ms,
        answer_cut=any(item_id in playout.cut for item_id in item_ids),
        answer_ms=_ms(len(samples)),
        underruns=sum(playout.underruns.get(item_id, 0) for item_id in item_ids),
        status=responses[-1].status if responses else None,
        errors=turn.errors,
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


def _barge_in(turn: _Turn) -> _BargeIn:
    """How long the answer went on after this speech began, whether that cut it short, and whether
    it went on after all, in a response of its own, among the responses to this speech."""
    span, following, listener = turn.span, turn.following, turn.listener
    playing = turn.ear.items_at(span.speech_start) if span.interrupts else []
    last = _last_heard(playing[-1], turn.ear) if playing else None
    if last is None or last < span.speech_start:  # it had run dry: nothing was interrupted
        return _BargeIn()
    last_ms = _ms(last - span.speech_start)
    cut = next((r for r in listener.responses.values() if playing[-1] in r.item_ids), None)
    given_up = cut is not None and cut.status in ("cancelled", "incomplete")
    stopped = playing[-1] in listener.playout.cut or given_up
    if following is not None and last >= following.speech_start:  # what is said next stopped it
        stopped = False
    if not stopped or cut is None:
        return _BargeIn(last_ms, stopped)
    return _BargeIn(last_ms, stopped, _resume_gap_ms(turn, cut, last))


def _last_heard(item_id: str, ear: Ear) -> int | None:
    """When the last of an item is heard. One that is cut off in a pause of the voice lasts until
    the cut: that it did not sound just then is not to the server's credit."""
    last = ear.last_audible(item_id)
    return None if last is None else max(last, ear.stopped_at(item_id) or 0)


def _resume_gap_ms(turn: _Turn, cut: Response, last: int) -> float | None:
    """The silence after which the answer that was cut goes on; None if it does not in time."""
    for response in turn.responses:
        heard = _first_audible([response], turn.ear)
        if heard is not None and _goes_on(turn.span, turn.listener, cut, response):
            gap_ms = _ms(heard - last)
            return gap_ms if gap_ms <= RESUME_WITHIN_MS else None
    return None


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
