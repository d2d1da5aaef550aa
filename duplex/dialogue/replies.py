"""The replies of one call on their way to the caller: held back, released, cut, accounted for."""

import asyncio
import logging
from collections.abc import Sequence

from duplex.audio.formats import Samples
from duplex.dialogue.call import Call, stop
from duplex.dialogue.playback import PlaybackLedger
from duplex.dialogue.reply import Answer, Suspended
from duplex.dialogue.reply_parts import ReplyAudio, ReplyEvent, Rest
from duplex.dialogue.speech_pipeline import Reply, VoiceSetup
from duplex.dialogue.unheard import Unheard
from duplex.errors import ProtocolError
from duplex.logs import call_logger
from duplex.metrics import TurnMarks
from duplex.protocol import server_events as wire
from duplex.protocol.codes import Code
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.response_stream import (
    CLIENT_CANCELLED,
    COMPLETED,
    MAX_OUTPUT_TOKENS,
    TURN_DETECTED,
    ResponseStream,
    failed,
)
from duplex.protocol.response_types import StatusDetails
from duplex.turns.events import ReplyEnded, ReplyStarted
from duplex.turns.floor import TurnMachine
from engine.errors import EngineError
from engine.types import Message
from tts.types import MIN_SPEED

logger = logging.getLogger(__name__)

_LAST_WORDS = 2  # with no more than these left, "go on" is about what would come next
MAX_BESIDE = 4  # answers out of band at a time: each has an engine session of its own


class Answers:
    """Begins, releases and cuts answers. At most one is released and not played out, apart from
    those out of band: they concern nobody who speaks, and run beside it."""

    def __init__(self, call: Call, machine: TurnMachine) -> None:
        self._call = call
        self._machine = machine
        self.current: Answer | None = None  # released, and generating or playing
        self.heard_id: str | None = None  # the last response, if words of it were played to the end
        self.suspended: Suspended | None = None
        self.is_incomplete = False  # whether the last answer that was played came to its limit
        self._leaving: set[asyncio.Task[None]] = set()  # of answers that still let go of the engine
        self._unheard = Unheard(call.spawn)
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
        rest: Rest | None = None,
    ) -> Answer:
        """Start to make an answer, or to speak the ``rest`` of one; nothing of it goes out before
        `release`. A suspended one is given up for it."""
        if plan.in_conversation:
            self.drop_suspended()
        call = self._call
        stream = ResponseStream(plan, call.conversation, call.conversation_id, call.new_id)

        async def deliver(event: ReplyEvent) -> None:
            await self._deliver(answer, event)

        answer = Answer(
            Reply(self._voice(plan), marks, deliver, call.clock, rest),
            stream,
            turn_item_id,
            call.engine if plan.in_conversation else call.thinker.open(),
            marks,
            tells_rest=rest is not None,
        )
        answer.task = call.spawn(self._make(answer, history, rest))
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
        self.is_incomplete = False
        if answer.tells_rest:  # if that is cut, what is left of it is kept
            self._unheard.drop()
        self._let_out(answer)
        answer.reply.released.set()

    def _let_out(self, answer: Answer) -> None:
        kept = self._call.conversation
        self._ledgers = {item: ledger for item, ledger in self._ledgers.items() if item in kept}
        self.current, self.heard_id = answer, None
        self._machine.reply_changed(ReplyStarted(answer.stream.response_id))
        self._call.send(*answer.stream.start())

    async def drop(self, answer: Answer) -> None:
        """Forget an answer that was not released. When this returns, its work has stopped."""
        answer.gate_open = False
        await stop(answer.task)

    async def cut(self, ending: StatusDetails) -> None:
        """Stop the current answer; history keeps what was heard of it by now."""
        answer = self.current
        if answer is None:
            return
        answer.gate_open = False
        heard_samples = self._silence(answer, ending)
        await stop(answer.task)
        if ending is TURN_DETECTED:
            self._give_up(answer, heard_samples)
        self._close_item(answer, heard_samples)

    async def cut_in(self, by_item_id: str, *, may_resume: bool) -> None:
        """The caller's turn ``by_item_id`` interrupts the current answer: it is cut for all to
        see, and suspended if it can be resumed."""
        answer = self.current
        if answer is None:
            return
        is_plain = answer.stream.plan.modality == "audio" and not answer.calls
        if not (may_resume and is_plain and self._call.config.turn.resume_interrupted):
            self._count_interruption(meant="yes")
            await self.cut(TURN_DETECTED)
            return
        answer.reply.pause()
        heard_samples = self._silence(answer, TURN_DETECTED)
        self.suspended = Suspended(answer, heard_samples, by_item_id)
        self._close_item(answer, heard_samples)

    def was_cut_in(self, by_item_id: str) -> bool:
        """Whether it was that turn which interrupted the suspended answer."""
        return self.suspended is not None and self.suspended.by_item_id == by_item_id

    def is_suspended(self, response_id: str | None) -> bool:
        """Whether an answer is suspended, and has that id if one is given."""
        if self.suspended is None:
            return False
        return response_id in (None, self.suspended.answer.stream.response_id)

    def _silence(self, answer: Answer, ending: StatusDetails) -> int:
        """Take back what was not sent yet, and end the response if it is not over. That is told
        before its work has stopped: the caller waits. Returns the samples that were heard."""
        heard_samples = answer.reply.ledger.heard_samples(self._call.clock())
        self._call.outbox.drop_audio(answer.stream.response_id)
        if answer.stream.is_active:
            answer.finish(self._call, ending)
        return heard_samples

    def _close_item(self, answer: Answer, heard_samples: int) -> None:
        self._retire(answer)
        if answer.stream.plan.modality == "audio" and answer.stream.words:
            self._cut_history(answer.stream.item_id, 0, heard_samples)

    def resume(self, marks: TurnMarks, turn_item_id: str) -> None:
        """The caller did not mean to interrupt: go on with what was suspended, where the caller
        stopped hearing it. ``marks`` and ``turn_item_id`` are those of what they said."""
        suspended, self.suspended = self.suspended, None
        if suspended is None:
            return
        self._count_interruption(meant="no")
        answer = suspended.answer
        if not answer.reply.has_more(suspended.at_sample):
            self._leave(answer)
            self._end(answer)
            self.heard_id = answer.stream.response_id
            return
        answer.open_next(self._call, marks, turn_item_id)
        self._let_out(answer)
        answer.reply.resume(suspended.at_sample)

    def is_to_go_on(self) -> bool:
        """Whether "go on" over the suspended answer is about that: more of it is left than its
        last words, and it is no aside after one that was cut."""
        if self.suspended is None:
            return False
        reply = self.suspended.answer.reply
        has_more = reply.has_more(self.suspended.at_sample, _LAST_WORDS)
        return has_more and not self._unheard.is_aside(reply)

    def give_way(self) -> None:
        """The caller meant to interrupt what is suspended."""
        if self.suspended is not None:
            self._count_interruption(meant="yes")
            self.drop_suspended()

    def drop_suspended(self) -> None:
        """Give up what is suspended, if anything is. What is not heard of it is kept for a while,
        in case the caller asks for it."""
        suspended, self.suspended = self.suspended, None
        if suspended is not None:
            self._leave(suspended.answer)
            self._give_up(suspended.answer, suspended.at_sample)

    def _count_interruption(self, meant: str) -> None:
        self._call.metrics.count("duplex_interruptions_total", meant=meant)

    def _leave(self, answer: Answer) -> None:
        """Stop work on an answer; `left` waits for it."""
        answer.gate_open = False
        answer.task.cancel()
        self._leaving.add(answer.task)
        answer.task.add_done_callback(self._leaving.discard)

    async def left(self) -> None:
        """Wait until no answer that was given up holds the engine."""
        while self._leaving:
            await asyncio.wait(self._leaving)

    def _give_up(self, answer: Answer, heard_samples: int) -> None:
        """The caller meant to interrupt it."""
        if answer.reply.has_more(heard_samples, _LAST_WORDS):
            self._unheard.keep(answer.reply, answer.stream.plan, heard_samples)
        else:
            self._end(answer)

    def _end(self, answer: Answer) -> None:
        """The caller has heard the answer to its end. If it was no aside, "go on" is about what
        comes next."""
        self.is_incomplete = answer.reply.is_at_limit
        if not answer.reply.is_short:
            self._unheard.drop()

    def rest_for(self, plan: ResponsePlan) -> Rest | None:
        """What the caller did not hear of the last answer that they interrupted, if it is kept
        and can be told by that plan."""
        return self._unheard.rest_for(plan)

    def sounding(self, frame_samples: int) -> Samples | None:
        """What of the current answer sounds at the caller, as the next frame of 16 kHz."""
        return None if self.current is None else self.current.reply.sounding(frame_samples)

    async def cut_beside(self, response_id: str) -> bool:
        """Stop an answer out of band, as the client wants; False if there is none of that id."""
        answer = self._beside.get(response_id)
        if answer is None or not answer.stream.is_active:
            return False
        answer.gate_open = False
        self._call.outbox.drop_audio(response_id)
        answer.finish(self._call, CLIENT_CANCELLED)
        await stop(answer.task)
        return True

    async def made(self) -> None:
        """Wait until no released answer is being made any more."""
        while self.current is not None and self.current.stream.is_active:
            await self.current.done.wait()

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """The client says how much of an answer was played.

        While the answer is suspended this is also where it goes on. What says so after it went on
        is believed for history, but what lies between is not told again.

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
        heard_samples = ledger.cut(audio_end_ms)
        self._cut_history(item_id, content_index, heard_samples)
        if self.suspended is not None and self.suspended.answer.stream.item_id == item_id:
            self.suspended.at_sample = heard_samples

    def forget(self, item_id: str) -> None:
        """The item was deleted."""
        if self.suspended is not None and self.suspended.answer.stream.item_id == item_id:
            self.drop_suspended()
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

    async def _make(self, answer: Answer, history: Sequence[Message], rest: Rest | None) -> None:
        """The answer's task: make it, close it, and wait until it was played."""
        try:
            if answer.stream.plan.in_conversation:
                await self.left()
            ending = await self._run(answer, history, rest)
            if answer.gate_open:  # cut or dropped while it failed: a cancel is lost in that
                await answer.reply.released.wait()  # one that failed early has not waited for it
                await self._play_out(answer, ending)
        finally:
            if answer.engine is not self._call.engine:
                self._beside.pop(answer.stream.response_id, None)
                await answer.engine.close()

    async def _run(
        self, answer: Answer, history: Sequence[Message], rest: Rest | None
    ) -> StatusDetails:
        options = self._call.generation_options(answer.stream.plan)
        ending = COMPLETED
        try:
            finished = await answer.reply.run(rest or answer.engine, history, options)
            ending = MAX_OUTPUT_TOKENS if finished.reason == "length" else COMPLETED
        except* EngineError as errors:
            message = str(errors.exceptions[0])
            kind = type(errors.exceptions[0]).__name__  # its message may quote what was said
            call_logger(logger, self._call.call_id).warning("the engine failed: %s", kind)
            ending = failed(message)
        return ending

    async def _play_out(self, answer: Answer, ending: StatusDetails) -> None:
        """It was made: end the response, and wait until it was played, however often it is
        interrupted and resumed meanwhile."""
        reply = answer.reply
        await reply.deliver_again()
        if ending.type == "failed":
            self._call.send(wire.server_error(str(ending.error.message)))  # type: ignore[union-attr]
        answer.finish(self._call, ending)
        if not answer.stream.plan.in_conversation:
            return
        while await reply.was_paused_within(reply.ledger.ahead_s(self._call.clock())):
            await reply.deliver_again()
            answer.finish(self._call, ending)
        if self.current is answer:
            self._retire(answer)
            self._end(answer)
            if (answer.stream.words or answer.is_resumed) and not answer.stream.called:
                self.heard_id = answer.stream.response_id

    async def _deliver(self, answer: Answer, event: ReplyEvent) -> None:
        stream = answer.stream
        if isinstance(event, ReplyAudio):
            await self._call.outbox.room()
        if not answer.gate_open or answer.reply.is_paused or answer.stream is not stream:
            return  # was cut; what is resumed sends again what was not heard
        answer.send(self._call, event)
        if isinstance(event, ReplyAudio) and stream.plan.in_conversation:
            self._ledgers[stream.item_id] = answer.reply.ledger

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
