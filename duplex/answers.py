"""The replies of one call on their way to the caller: held back, released, cut, accounted for."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from duplex.call import Call, stop
from duplex.errors import ProtocolError
from duplex.events import ReplyEnded, ReplyStarted
from duplex.interfaces import EngineSession
from duplex.metrics import TurnMarks
from duplex.pcm import encode_alaw, encode_pcm16, encode_ulaw
from duplex.playback import PlaybackLedger
from duplex.protocol import server_events as wire
from duplex.protocol.codes import Code
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.response_stream import (
    CLIENT_CANCELLED,
    COMPLETED,
    MAX_OUTPUT_TOKENS,
    ResponseStream,
    failed,
)
from duplex.protocol.response_types import StatusDetails, Usage
from duplex.protocol.session_config import Pcm, Pcma, Pcmu
from duplex.response import Reply, ReplyAudio, ReplyEvent, ReplyText, ReplyThought, VoiceSetup
from duplex.turn import TurnMachine
from engine.errors import EngineError
from engine.types import CallArguments, CallEnded, CallStarted, Finished, Message
from tts.types import MIN_SPEED

logger = logging.getLogger(__name__)

MAX_BESIDE = 4  # answers out of band at a time: each has an engine session of its own
_ENCODERS = {Pcm: encode_pcm16, Pcmu: encode_ulaw, Pcma: encode_alaw}


@dataclass(slots=True)
class Answer:
    """One reply and its place in the protocol."""

    reply: Reply
    stream: ResponseStream
    turn_item_id: str | None  # the caller's turn it answers; set at the latest when released
    engine: EngineSession  # the call's, or out of band one of its own: a session answers one
    done: asyncio.Event = field(default_factory=asyncio.Event)  # set with response.done
    gate_open: bool = True  # shut first of all when the answer is cut
    task: asyncio.Task[None] = field(init=False)  # set by `Answers.begin`


class Answers:
    """Begins, releases and cuts answers. At most one is released and not played out, apart from
    those out of band: they concern nobody who speaks, and run beside it."""

    def __init__(self, call: Call, machine: TurnMachine) -> None:
        self._call = call
        self._machine = machine
        self.current: Answer | None = None  # released, and generating or playing
        self.heard_id: str | None = None  # the last response, if words of it were played to the end
        self._beside: dict[str, Answer] = {}  # out of band, by response id
        self._ledgers: dict[str, PlaybackLedger] = {}  # item id -> what was sent of it

    @property
    def current_stream(self) -> ResponseStream | None:
        """The last released response, active or still playing."""
        return self.current.stream if self.current is not None else None

    def begin(
        self,
        plan: ResponsePlan,
        history: Sequence[Message],
        marks: TurnMarks,
        turn_item_id: str | None = None,
    ) -> Answer:
        """Start to make an answer; nothing of it goes out before `release`."""
        call = self._call
        stream = ResponseStream(plan, call.conversation, call.conversation_id, call.new_id)

        async def deliver(event: ReplyEvent) -> None:
            await self._deliver(answer, event)

        answer = Answer(
            Reply(stream.response_id, self._voice(plan), marks, deliver, call.clock),
            stream,
            turn_item_id,
            call.engine if plan.in_conversation else call.thinker.open(),
        )
        answer.task = call.spawn(self._make(answer, history))
        return answer

    @property
    def has_beside(self) -> bool:
        """Whether an answer out of band is being made."""
        return bool(self._beside)

    def check_can_begin_beside(self, due: int) -> None:
        """Refuse one more answer out of band; ``due`` are not begun yet.

        Raises:
            ProtocolError: too_many_active_responses.
        """
        if len(self._beside) + due >= MAX_BESIDE:
            raise ProtocolError(
                f"{MAX_BESIDE} responses out of band are active. Wait until one is finished.",
                code=Code.TOO_MANY_RESPONSES,
                param="response.conversation",
            )

    def release(self, answer: Answer) -> None:
        """Let an answer out. One that is still playing is taken to be over."""
        if not answer.stream.plan.in_conversation:
            self._beside[answer.stream.response_id] = answer
            self._call.send(*answer.stream.start())
            answer.reply.released.set()
            return
        if self.current is not None:
            self._retire(self.current)
        kept = self._call.conversation
        self._ledgers = {item: ledger for item, ledger in self._ledgers.items() if item in kept}
        self.current, self.heard_id = answer, None
        self._machine.reply_changed(ReplyStarted(answer.stream.response_id))
        self._call.send(*answer.stream.start())
        answer.reply.released.set()

    async def drop(self, answer: Answer) -> None:
        """Forget an answer that was not released. When this returns, its work has stopped."""
        answer.gate_open = False
        await stop(answer.task)

    async def cut(self, ending: StatusDetails) -> None:
        """Stop the current answer; history keeps what was heard of it by now."""
        answer = self.current
        if answer is None:
            return
        heard_samples = answer.reply.ledger.heard_samples(self._call.clock())
        answer.gate_open = False
        self._call.outbox.drop_audio(answer.stream.response_id)
        if answer.stream.is_active:  # told before its work has stopped: the caller waits
            self._finish(answer, ending)
        await stop(answer.task)
        self._retire(answer)
        if answer.stream.plan.modality == "audio" and answer.stream.words:
            self._cut_history(answer.stream.item_id, 0, heard_samples)

    async def cut_beside(self, response_id: str) -> bool:
        """Stop an answer out of band, as the client wants; False if there is none of that id."""
        answer = self._beside.get(response_id)
        if answer is None or not answer.stream.is_active:
            return False
        answer.gate_open = False
        self._call.outbox.drop_audio(response_id)
        self._finish(answer, CLIENT_CANCELLED)
        await stop(answer.task)
        return True

    async def made(self) -> None:
        """Wait until no released answer is being made any more."""
        while self.current is not None and self.current.stream.is_active:
            await self.current.done.wait()

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """The client says how much of an answer was played.

        Raises:
            ProtocolError: there is no such audio.
        """
        self._call.conversation.check_truncate(item_id, content_index)
        ledger = self._ledgers.get(item_id)
        if ledger is None:
            raise ProtocolError(
                f"No audio of the item '{item_id}' was sent.",
                code=Code.ITEM_TRUNCATE_INVALID,
                param="item_id",
            )
        self._cut_history(item_id, content_index, ledger.cut(audio_end_ms))

    def forget(self, item_id: str) -> None:
        """The item was deleted."""
        self._ledgers.pop(item_id, None)
        self._call.sounds.pop(item_id, None)

    def _voice(self, plan: ResponsePlan) -> VoiceSetup | None:
        if plan.modality == "text":
            return None
        return VoiceSetup(
            self._call.parts.voice_of(plan.voice),
            self._call.parts.voice_steps,
            plan.audio_format.sample_rate,
            max(MIN_SPEED, plan.speed * self._call.config.voice.speed),
            self._call.config.server.playout_lead_s,
        )

    async def _make(self, answer: Answer, history: Sequence[Message]) -> None:
        """The answer's task: make it, close it, and wait until it was played."""
        try:
            await self._run(answer, history)
        finally:
            if answer.engine is not self._call.engine:
                self._beside.pop(answer.stream.response_id, None)
                await answer.engine.close()

    async def _run(self, answer: Answer, history: Sequence[Message]) -> None:
        options = self._call.generation_options(answer.stream.plan)
        ending = COMPLETED
        try:
            finished = await answer.reply.run(answer.engine, history, options)
            ending = MAX_OUTPUT_TOKENS if finished.reason == "length" else COMPLETED
        except* EngineError as errors:
            message = str(errors.exceptions[0])
            kind = type(errors.exceptions[0]).__name__  # its message may quote what was said
            logger.warning("%s: the engine failed: %s", self._call.call_id, kind)
            ending = failed(message)
        if not answer.gate_open:  # cut or dropped while it failed: a cancel is lost in that
            return
        await answer.reply.released.wait()  # one that failed early has not waited for it
        if ending.type == "failed":
            self._call.send(wire.server_error(str(ending.error.message)))  # type: ignore[union-attr]
        self._finish(answer, ending)
        if not answer.stream.plan.in_conversation:
            return
        await asyncio.sleep(answer.reply.ledger.ahead_s(self._call.clock()))
        if self.current is answer:
            self._retire(answer)
            if answer.stream.words and not answer.stream.called:
                self.heard_id = answer.stream.response_id

    async def _deliver(self, answer: Answer, event: ReplyEvent) -> None:
        if isinstance(event, ReplyAudio):
            await self._call.outbox.room()
        if not answer.gate_open:
            return
        stream = answer.stream
        match event:
            case ReplyAudio(samples, words):
                pcm = _ENCODERS[type(stream.plan.audio_format)](samples)
                text = "".join(word.text for word in words)
                if pcm or text:
                    self._call.send_audio(stream.response_id, *stream.audio(pcm, text))
                    if stream.plan.in_conversation:
                        self._ledgers[stream.item_id] = answer.reply.ledger
            case ReplyText(text):
                self._call.send(*stream.text(text))
            case ReplyThought(text):
                self._call.send(*stream.thought(text))
            case CallStarted(name):
                self._call.send(*stream.call(name))
            case CallArguments(text):
                self._call.send(*stream.arguments(text))
            case CallEnded():
                self._call.send(*stream.end_call())
            case _:
                assert_never(event)

    def _finish(self, answer: Answer, ending: StatusDetails) -> None:
        """End the response on the wire, and tell its times to those who asked. What it cost is
        not known if it was stopped before the brain was done."""
        finished = answer.reply.finished
        usage = None if finished is None else _usage(finished)
        self._call.send(*answer.stream.finish(ending, usage))
        answer.done.set()
        marks = answer.reply.marks.as_ms()
        if answer.stream.plan.in_conversation:
            self._call.metrics.turn(ending.type, marks, self._call.clock())
        if self._call.session_config.duplex.metrics:
            self._call.send(
                wire.TurnMetrics(
                    response_id=answer.stream.response_id,
                    item_id=answer.turn_item_id,
                    marks_ms=marks,
                )
            )
        logger.info("%s: response %s, ms %s", self._call.call_id, ending.type, marks)

    def _retire(self, answer: Answer) -> None:
        """The answer no longer sounds."""
        if self.current is answer:
            self.current = None
            self._machine.reply_changed(ReplyEnded(answer.stream.response_id))

    def _cut_history(self, item_id: str, content_index: int, samples: int) -> None:
        ledger = self._ledgers.get(item_id)
        if ledger is None or item_id not in self._call.conversation:  # the client deleted it
            return
        heard = ledger.text_heard(samples)
        self._call.conversation.truncate(item_id, content_index, heard)
        end_ms = samples * 1000 // ledger.rate_hz
        self._call.send(
            wire.ItemTruncated(item_id=item_id, content_index=content_index, audio_end_ms=end_ms)
        )


def _usage(finished: Finished) -> Usage:
    return Usage.of_text(
        input_tokens=finished.input_tokens,
        cached_tokens=finished.cached_tokens,
        output_tokens=finished.output_tokens,
    )
