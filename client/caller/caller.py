"""One caller who plays recordings into a call and listens to the answers as a person would.

The caller is a pure state machine that is asked once per 20 ms chunk whether to speak; around
it, one task sends the microphone at real-time pace and one receives.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.caller.listener import Listener
from client.caller.turns import Ear, Span, TurnResult, measure
from client.realtime import (
    CHUNK_SAMPLES,
    SAMPLE_RATE_HZ,
    ClientError,
    ConnectionLost,
    RealtimeClient,
    Received,
    SessionOptions,
    error_text,
)
from client.sound.microphone import Microphone
from client.sound.speech import Recording, SpeechBounds, speech_bounds
from client.telephone.channel import Earpiece, LineConditions, Telephone

LEAD_IN_MS = 300  # a caller does not speak in the first instant
SETTLE_MS = 3000  # after a cut-off, silence for this long means that no second answer comes
TRANSCRIPT_PATIENCE_MS = 1000  # a transcript may come after the answer; not much later
SETUP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """One thing to say. With ``interrupt_after_ms`` it is said into the answer before it, when
    that has been audible for so long; else after that answer has been heard to its end. A
    ``backchannel`` ("mm-hm") wants no answer; what follows it is said a few seconds later, into
    the answer that goes on."""

    recording: Recording
    interrupt_after_ms: float | None = None
    backchannel: bool = False


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a caller behaves, and from where: ``background`` is heard in the room (24 kHz, over
    and over), ``line`` is the telephone line between, in both directions."""

    session: SessionOptions = field(default_factory=SessionOptions)
    gap_ms: float = 600.0  # between hearing an answer's end and speaking again
    noise_dbfs: float | None = -70.0
    background: NDArray[np.float32] | None = None
    line: LineConditions | None = None
    seed: int = 0
    answer_timeout_s: float = 20.0  # silence on the line for so long ends a turn with an error


@dataclass(frozen=True, slots=True)
class CallResult:
    """A call that has ended.

    ``said`` and ``heard`` are 24 kHz timelines from the call's beginning: the caller's speech,
    and the assistant as a person would have heard it, at the end of the line if there is one.
    ``lost`` tells why a call ended early. ``late_ms`` is the longest that a chunk left after its
    time: the client's own fault.
    """

    turns: tuple[TurnResult, ...]
    said: NDArray[np.float32]
    heard: NDArray[np.float32]
    errors: tuple[str, ...]
    late_ms: float
    lost: str | None = None


@dataclass(slots=True)
class Caller:
    """Says the ``utterances`` one after another. ``tick`` is called after each chunk; it acts on
    what `judge_end` says of the turn under way."""

    utterances: Sequence[Utterance]
    options: CallOptions
    listener: Listener = field(default_factory=Listener)
    microphone: Microphone = field(default_factory=Microphone)
    spans: list[Span] = field(default_factory=list)
    next_at: int = LEAD_IN_MS * SAMPLE_RATE_HZ // 1000  # not before this
    finished: bool = False
    _bounds: list[SpeechBounds] = field(init=False)

    def __post_init__(self) -> None:
        self._bounds = [speech_bounds(one.recording.samples) for one in self.utterances]

    def tick(self) -> int | None:
        """Speak, wait or end; returns the number of the turn that has just ended, if one has."""
        now = self.microphone.position
        ended = None
        if self.spans and self.spans[-1].over is None:
            if self._may_interrupt(now):
                self._close_span(now)
                self._speak(interrupts=True)
                return None
            if not self._over(now):
                return None
            ended = len(self.spans) - 1
            self._close_span(now)
            self.next_at = now + _samples(self.options.gap_ms)
        if len(self.spans) == len(self.utterances):
            self.finished = True
        elif now >= self.next_at:
            self._speak(interrupts=self.listener.playout.end > now)
        return ended

    def results(self, ear: Ear | None = None) -> tuple[TurnResult, ...]:
        """The turns so far, measured at the loudspeaker or at another ``ear``."""
        return tuple(
            measure(
                span,
                self.listener,
                self.spans[index + 1] if index + 1 < len(self.spans) else None,
                ear,
            )
            for index, span in enumerate(self.spans)
        )

    def _speak(self, *, interrupts: bool) -> None:
        index = len(self.spans)
        recording = self.utterances[index].recording
        start = self.microphone.say(recording.samples)
        bounds = self._bounds[index]
        self.spans.append(
            Span(
                recording=recording,
                start=start,
                end=start + len(recording.samples),
                speech_start=start + bounds.first_sample,
                speech_end=start + bounds.last_sample,
                interrupts=interrupts,
                inputs_before=len(self.listener.inputs),
                responses_before=len(self.listener.responses),
                errors_before=len(self.listener.errors),
                backchannel=self.utterances[index].backchannel,
            )
        )

    def _close_span(self, now: int) -> None:
        self.spans[-1] = replace(self.spans[-1], over=now)

    def _may_interrupt(self, now: int) -> bool:
        index = len(self.spans)
        wait_ms = (
            self.utterances[index].interrupt_after_ms if index < len(self.utterances) else None
        )
        if wait_ms is None or now < self.spans[-1].end or self.listener.playout.end <= now:
            return False
        audible = self.spans[-1].first_audible(self.listener)
        return audible is not None and now - audible >= _samples(wait_ms)

    def _over(self, now: int) -> bool:
        over, problem = judge_end(self.spans[-1], self.listener, self.options, now)
        if problem is not None:
            self.listener.errors.append(problem)
        return over


def judge_end(
    span: Span, listener: Listener, options: CallOptions, now: int
) -> tuple[bool, str | None]:
    """Whether a turn is over, and what went wrong if patience ended it.

    A turn is over when its answer has been heard to the end. Without an answer it is over when the
    caller has waited long enough.
    """
    quiet_since = max(span.speech_end, listener.playout.end, listener.last_progress)
    if span.backchannel:  # what becomes of the answer is seen by then
        return now - span.end >= _samples(SETTLE_MS), None
    if now < span.end or listener.playout.end > now:
        return False, None
    answers = span.answers(listener)
    if now - quiet_since >= _samples(options.answer_timeout_s * 1000):
        missing = f"no answer within {options.answer_timeout_s:g} s"
        return True, "the answer was begun and never finished" if answers else missing
    if listener.busy or _awaits_transcript(span, listener, options, now - quiet_since):
        return False, None
    if answers:
        return True, None
    answered = any(response.resumes is None for response in span.responses(listener))
    return answered and now - quiet_since >= _samples(SETTLE_MS), None


def _awaits_transcript(
    span: Span, listener: Listener, options: CallOptions, quiet_samples: int
) -> bool:
    return (
        options.session.transcription_model is not None
        and quiet_samples < _samples(TRANSCRIPT_PATIENCE_MS)
        and not all(item.finished for item in span.items(listener))
    )


async def hold_call(
    client: RealtimeClient,
    utterances: Sequence[Utterance],
    options: CallOptions,
    on_event: Callable[[Received], None] | None = None,
    on_turn: Callable[[TurnResult], None] | None = None,
) -> CallResult:
    """Hold one call on an open connection and hang up. A call that is lost midway is a result.

    Raises:
        ValueError: a recording holds no speech.
        ClientError: the server did not accept the session.
    """
    microphone = Microphone(options.noise_dbfs, options.seed, background=options.background)
    session, telephone = options.session, None
    if options.line is not None:
        telephone = Telephone(options.line, options.seed)
        session = replace(session, audio_format=options.line.codec)
    listener = Listener(audio_format=session.audio_format)
    caller = Caller(utterances, options, listener, microphone)
    talk = _Talk(client, caller, telephone, on_event, on_turn)
    lost = None
    try:
        await set_up(client, session, on_event)
        await talk.hold()
    except ConnectionLost as error:
        lost = str(error)
    finally:
        await client.close()
    length = max(microphone.position, listener.playout.end)
    heard, ear = listener.playout.timeline(length), None
    if telephone is not None:  # what it did to the answers is worked out when there is time
        heard = await asyncio.to_thread(telephone.listen, heard)
        ear = Earpiece(listener.playout, heard, telephone.delay_samples)
    turns = caller.results(ear)
    if telephone is not None and on_turn is not None:
        for result in turns:
            on_turn(result)
    return CallResult(
        turns=turns,
        said=microphone.timeline(length),
        heard=heard,
        errors=tuple(listener.errors),
        late_ms=talk.late_s * 1000,
        lost=lost,
    )


@dataclass(slots=True)
class _Talk:
    """The call while it is held. ``late_s``: the longest that a chunk left after its time."""

    client: RealtimeClient
    caller: Caller
    telephone: Telephone | None
    on_event: Callable[[Received], None] | None
    on_turn: Callable[[TurnResult], None] | None
    late_s: float = 0.0

    async def hold(self) -> None:
        """Speak and listen until all is said.

        Raises:
            ConnectionLost: the call ended before.
        """
        began_s = asyncio.get_running_loop().time()
        receiving = asyncio.create_task(_receive(self.client, self.caller, began_s, self.on_event))
        try:
            while not self.caller.finished:
                await self._chunk(began_s)
                if receiving.done():
                    await receiving  # raises why
                turn = self.caller.tick()
                if turn is not None and self.on_turn is not None and self.telephone is None:
                    self.on_turn(self.caller.results()[turn])
        finally:
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionLost):
                await receiving

    async def _chunk(self, began_s: float) -> None:
        clock, microphone = asyncio.get_running_loop().time, self.caller.microphone
        due_s = began_s + (microphone.position + CHUNK_SAMPLES) / SAMPLE_RATE_HZ
        await asyncio.sleep(due_s - clock())
        self.late_s = max(self.late_s, clock() - due_s)
        chunk = microphone.take()
        if self.telephone is None:
            await self.client.append(chunk)
        else:
            await self.client.append_coded(self.telephone.speak(chunk))


async def set_up(
    client: RealtimeClient,
    session: SessionOptions,
    on_event: Callable[[Received], None] | None = None,
) -> None:
    """Send the session's options and wait until they are in effect.

    Raises:
        ClientError: the server rejects them or does not acknowledge them.
    """
    await client.send(session.update())
    try:
        async with asyncio.timeout(SETUP_TIMEOUT_S):
            while True:
                received = await client.receive()
                if on_event is not None:
                    on_event(received)
                kind = received.event.get("type")
                if kind == "error":
                    text = error_text(received.event)
                    raise ClientError(f"the server rejects the session: {text}")
                if kind == "session.updated":
                    return
    except TimeoutError as error:
        raise ClientError("the server did not acknowledge the session") from error


async def _receive(
    client: RealtimeClient,
    caller: Caller,
    began_s: float,
    on_event: Callable[[Received], None] | None,
) -> None:
    while True:
        received = await client.receive()
        now = round((received.at_s - began_s) * SAMPLE_RATE_HZ)
        try:
            answers: list[dict[str, Any]] = caller.listener.receive(received.event, now)
        except (AttributeError, TypeError) as error:  # a foreign server's fault, and its call's end
            raise ConnectionLost(f"the server sent what is no event: {error}") from error
        if on_event is not None:
            on_event(received)
        for event in answers:
            await client.send(event)


def _samples(duration_ms: float) -> int:
    return round(duration_ms * SAMPLE_RATE_HZ / 1000)
