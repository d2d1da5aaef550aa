"""One reply, and the responses on the wire that report it."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from duplex.dialogue.call import CallContext
from duplex.dialogue.delivery import Delivery
from duplex.dialogue.fixed_words import or_else
from duplex.dialogue.observers import Answer
from duplex.dialogue.reply_parts import (
    ReplyAudio,
    ReplyPart,
    ReplyText,
    ReplyThought,
    UnheardRest,
)
from duplex.dialogue.reply_state import (
    AllSent,
    BargedIn,
    HeardOut,
    Phase,
    Released,
    ReplyState,
    Resumed,
    Stopped,
)
from duplex.dialogue.speech_pipeline import AnswerSource, SpeechPipeline, VoiceSetup
from duplex.logs import call_logger
from duplex.metrics import TurnMarks
from duplex.protocol import server_events as wire
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.response_stream import (
    COMPLETED,
    CONTENT_FILTER,
    MAX_OUTPUT_TOKENS,
    ResponseStream,
    failed,
)
from duplex.protocol.response_types import ResponseError, StatusDetails, Usage
from engine.errors import EngineError
from engine.types import CallArguments, CallEnded, CallStarted, Finished, FinishReason, Message
from tts.errors import VoiceError
from tts.types import MIN_SPEED

logger = logging.getLogger(__name__)

RESUMES = "duplex_resumes"  # key of a response's metadata: the id of the one that it goes on with
_MAX_METADATA = 16  # pairs, by the protocol
_TEXT_HZ = 24_000  # of the ledger of a reply without a voice, which stays empty
_ENDINGS: dict[FinishReason, StatusDetails] = {
    "stop": COMPLETED,
    "length": MAX_OUTPUT_TOKENS,
    "content_filter": CONTENT_FILTER,
}
_REPORTED_BEFORE = Finished("stop", 0, 0, 0)


class Reply:
    """A reply from its beginning, HELD, to its end; see `duplex.dialogue.reply_state`.

    It owns how it is made (`pipeline`), what of it goes out (`delivery`) and the response that
    reports it: a new one each time that it is resumed. `run` is its task.
    """

    def __init__(
        self,
        call: CallContext,
        plan: ResponsePlan,
        marks: TurnMarks,
        turn_item_id: str | None = None,
        rest: UnheardRest | None = None,
        source: AnswerSource | None = None,
    ) -> None:
        """``turn_item_id`` is the caller's turn that it answers, which is known at the latest
        when it is released. ``rest`` is spoken in place of what the brain would say. ``source``
        is the call's engine, unless the words are fixed, or the reply is out of band: a session
        answers one at a time."""
        self.plan = plan  # what it is to be like
        self.state = ReplyState()
        self.response = ResponseStream(plan, call.conversation, call.conversation_id, call.new_id)
        self.turn_item_id = turn_item_id
        self.is_rest = rest is not None
        self.is_resumed = False
        self._is_heard = plan.in_conversation and plan.modality == "audio"
        self.task: asyncio.Task[None]  # set by the owner, who starts `run`
        self._call = call
        self._source = rest or source or or_else(call, plan, call.engine)
        speech = _voice(call, plan)
        audio = rest.audio if rest else ()
        rate_hz = speech.output_hz if speech else _TEXT_HZ
        self.delivery = Delivery(self.state, marks, call.clock, rate_hz, audio)
        if speech is None:
            self.delivery.is_ready = True  # there is no sound to wait for
        self.pipeline = SpeechPipeline(speech, self.state, self.delivery)
        self._is_usage_sent = False

    async def run(self, history: Sequence[Message]) -> None:
        """Make the reply and send it, until it is played, however often it is suspended and
        resumed. Returns early if it is stopped while the engine fails; else its owner cancels
        it."""
        ending = await self._make(history)
        if self.state.phase is Phase.STOPPED:
            return  # a cancel is lost when it comes with a failure
        await self.state.leaves(Phase.HELD)  # a reply that failed early has not waited for it
        await self._send_parts()
        if isinstance(ending.error, ResponseError):
            self._call.send(wire.server_error(ending.error.message))
        while True:
            self.state.move(AllSent())
            self._close_response(ending)
            ahead_s = self.delivery.ledger.ahead_s(self._call.clock())
            is_heard_out = not self.plan.in_conversation or not await self.state.leaves(
                Phase.DELIVERED, within_s=ahead_s
            )
            if is_heard_out:
                self.state.move(HeardOut())
            if self.state.phase is Phase.PLAYED:
                return
            await self._send_parts()  # waits while it is suspended

    def release(self) -> None:
        """Let it be heard: its turn is over."""
        self.state.move(Released())
        self._call.send(*self.response.start())

    def silence(self, move: Stopped | BargedIn, ending: StatusDetails) -> int:
        """Let nothing more of it go out, and end its response. The client is informed before the
        work has stopped, because the caller waits. Returns the samples that were heard.

        After `Stopped` the owner cancels the task; after `BargedIn` the work waits for `resume`,
        or to be cancelled. The owner also cuts history to what was heard.
        """
        is_open = self.state.phase is Phase.SPEAKING
        self.state.move(move)  # first: nothing is sent from here on
        ledger = self.delivery.ledger
        heard_samples = ledger.heard_samples(self._call.clock())
        self._call.outbox.drop_audio(self.response.response_id)
        if self._is_heard:
            words = ledger.text_heard(heard_samples)
            self._call.observers.cut(self.response.item_id, heard_samples / ledger.rate_hz, words)
        if is_open:
            self._close_response(ending)
        return heard_samples

    def resume(self, from_sample: int, marks: TurnMarks, turn_item_id: str) -> None:
        """Go on at the item's sample ``from_sample``, as a response of its own. ``marks`` and
        ``turn_item_id`` are those of the caller's turn after which it goes on."""
        call, old = self._call, self.response
        plan = replace(old.plan, metadata=_resuming(old.plan.metadata, old.response_id))
        self.response = ResponseStream(plan, call.conversation, call.conversation_id, call.new_id)
        self.turn_item_id = turn_item_id
        self.is_resumed = True
        self.state.move(Resumed())
        call.send(*self.response.start())
        self.delivery.reopen(from_sample, marks)

    async def _make(self, history: Sequence[Message]) -> StatusDetails:
        """Make all of it, and send it meanwhile. Returns how its response is to end."""
        options = self._call.generation_options(self.plan)
        try:
            async with asyncio.TaskGroup() as tasks:
                brain = self.pipeline.start(tasks, self._source, history, options)
                tasks.create_task(self._send_parts())
        except* (EngineError, VoiceError) as errors:
            error = errors.exceptions[0]
            kind = type(error).__name__  # its message may quote what was said
            call_logger(logger, self._call.call_id).warning(
                "the engine or the voice failed: %s", kind
            )
            self.delivery.cut_short()
            ending = failed(str(error))
        else:
            ending = _ENDINGS[brain.result().reason]
        return ending

    async def _send_parts(self) -> None:
        """Send all that the delivery gives."""
        while (part := await self.delivery.next_part()) is not None:
            response = self.response
            if isinstance(part, ReplyAudio):
                await self._call.outbox.room()
            # What is resumed is sent again, in another response, from where it was not heard.
            if self.state.phase is Phase.SPEAKING and self.response is response:
                self._send(part)

    def _send(self, part: ReplyPart) -> None:
        call, response = self._call, self.response
        match part:
            case ReplyAudio(samples, words):
                pcm = response.plan.audio_format.codec.encode(samples)
                text = ""
                for word in words:
                    text += word.text
                if pcm or text:
                    call.send_audio(response.response_id, *response.audio(pcm, text))
                    if self._is_heard:
                        call.observers.said(
                            response.item_id, samples, self.delivery.ledger.rate_hz, words
                        )
            case ReplyText(text):
                call.send(*response.text(text))
            case ReplyThought(text):
                call.send(*response.thought(text))
            case CallStarted(name):
                call.send(*response.call(name))
            case CallArguments(text):
                call.send(*response.arguments(text))
            case CallEnded():
                call.send(*response.end_call())
            case _:
                assert_never(part)

    def _close_response(self, ending: StatusDetails) -> None:
        """End the response, and send its times to clients that asked for them. Its cost is sent
        once, and not if it was stopped before the brain was done: then it is not known."""
        call, response = self._call, self.response
        usage = None
        if self.pipeline.finished is not None:
            usage = _usage(_REPORTED_BEFORE if self._is_usage_sent else self.pipeline.finished)
            self._is_usage_sent = True
        call.send(*response.finish(ending, usage))
        marks = self.delivery.marks.as_ms()
        if self.plan.in_conversation:
            # What was made before says nothing of how long making takes.
            call.metrics.turn(ending.type, {} if self.is_resumed else marks, call.clock())
        if call.session_config.duplex.metrics:
            call.send(
                wire.TurnMetrics(
                    response_id=response.response_id, item_id=self.turn_item_id, marks_ms=marks
                )
            )
        call.observers.answered(self._answer(ending, marks))
        call_logger(logger, call.call_id).info("response %s, ms %s", ending.type, marks)

    def _answer(self, ending: StatusDetails, marks_ms: dict[str, float]) -> Answer:
        response, observers = self.response, self._call.observers
        return Answer(
            response_id=response.response_id,
            item_id=response.item_id,
            turn_item_id=self.turn_item_id,
            words=response.words,
            modality=self.plan.modality,
            in_conversation=self.plan.in_conversation,
            is_resumed=self.is_resumed,
            ending=ending,
            speech_end_s=observers.since_began_s(self.delivery.marks.speech_end_s),
            marks_ms=marks_ms,
        )


def _voice(call: CallContext, plan: ResponsePlan) -> VoiceSetup | None:
    if plan.modality == "text":
        return None
    return VoiceSetup(
        call.parts.voice_of(plan.voice),
        call.parts.voice_steps,
        plan.audio_format.sample_rate,
        max(MIN_SPEED, plan.speed * call.config.voice.speed),
        call.config.server.playout_lead_s,
    )


def _resuming(metadata: dict[str, str] | None, response_id: str) -> dict[str, str] | None:
    """The client's ``metadata``, which it gets back unchanged, and what is resumed, if that
    fits."""
    own = {key: value for key, value in (metadata or {}).items() if key != RESUMES}
    return {**own, RESUMES: response_id} if len(own) < _MAX_METADATA else metadata


def _usage(finished: Finished) -> Usage:
    return Usage.of_text(
        input_tokens=finished.input_tokens,
        cached_tokens=finished.cached_tokens,
        output_tokens=finished.output_tokens,
    )
