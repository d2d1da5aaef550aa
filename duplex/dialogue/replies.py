"""The replies in the conversation of one call: which one is held, sounds, or is suspended.

How one reply lives stands in `duplex.dialogue.reply_state`; here is what it means for the others
and for history. A reply ends in one of five ways:

- `discard`: it was held, and nobody heard of it.
- `stop`: the caller or the client wants no more of the reply that sounds.
- `barge_in` and then `give_up`: it was suspended, and is not resumed.
- `withdraw`: the turn that it answers goes on.
- it is heard out: nothing needs to be called.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from duplex.dialogue.call import CallContext, stop_task
from duplex.dialogue.misheard import Misheard
from duplex.dialogue.open_turn import Speculation
from duplex.dialogue.playback import PlaybackLedger
from duplex.dialogue.recordings import Recordings
from duplex.dialogue.reply import Reply
from duplex.dialogue.reply_parts import UnheardRest
from duplex.dialogue.reply_state import SOUNDING, BargedIn, HeardOut, Phase, Stopped
from duplex.dialogue.speech_pipeline import AnswerSource
from duplex.dialogue.suspension import LastUnheard, Suspension
from duplex.errors import ProtocolError
from duplex.interruption.words import asks_to_go_on
from duplex.metrics import TurnMarks
from duplex.protocol import server_events as wire
from duplex.protocol.codes import Code
from duplex.protocol.response_plan import ResponsePlan, plan_response
from duplex.protocol.response_stream import (
    CLIENT_CANCELLED,
    TURN_DETECTED,
    check_can_cancel,
    check_can_respond,
    response_active,
)
from duplex.protocol.response_types import StatusDetails
from engine.errors import EngineError
from engine.types import Message

# Items that were taken back are known for so long: a client may mean them that has not seen it.
_WITHDRAWN = 8


class Replies:
    """Begins, releases and ends replies. At most one sounds and at most one is suspended."""

    def __init__(self, call: CallContext, now_sample: Callable[[], int]) -> None:
        """``now_sample``: how much audio the call has had."""
        self.last_turn: Speculation | None = None  # the work on the last turn that was committed
        self.suspension: Suspension | None = None
        self.heard_id: str | None = None  # the last response, if words of it were heard to the end
        self.misheard = Misheard(call)
        self.recordings = Recordings(call)
        self.is_incomplete = False  # whether the last reply that was heard out came to its limit
        self._call = call
        self._last: Reply | None = None  # that was released or resumed
        self._unheard = LastUnheard(now_sample)
        self._leaving: set[asyncio.Task[None]] = set()  # of replies that let go of the engine
        self._ledgers: dict[str, PlaybackLedger] = {}  # item id -> what was sent of it
        self._due: asyncio.Task[None] | None = None  # begins a reply when that is possible
        self._prefilling: asyncio.Task[None] | None = None
        self._withdrawn: deque[str] = deque(maxlen=_WITHDRAWN)  # items, last to first

    # A reply's life, in the order of time.

    def begin(
        self,
        plan: ResponsePlan,
        history: Sequence[Message],
        marks: TurnMarks,
        turn_item_id: str | None = None,
        rest: UnheardRest | None = None,
        source: AnswerSource | None = None,
    ) -> Reply:
        """Start to make a reply, or to speak the ``rest`` of one, or what another ``source`` says
        than the brain; nothing of it goes out before `release`. A suspended one is given up."""
        self.give_up()
        reply = Reply(self._call, plan, marks, turn_item_id, rest, source)
        reply.task = self._call.spawn(self._run(reply, history))
        return reply

    def begin_later(self, plan: ResponsePlan) -> None:
        """Begin and release a reply when that is possible: when the words of the last turn are
        known, and all of the reply before is sent."""
        self._due = self._call.spawn(self._begin_when_possible(plan))

    async def discard(self, reply: Reply) -> None:
        """Forget a reply that is held. When this returns, its work has stopped."""
        reply.state.move(Stopped())
        await stop_task(reply.task)

    def release(self, reply: Reply) -> None:
        """Let a reply be heard. One that still plays is taken to be heard out.

        Raises:
            IllegalTransition: parts of another reply still go out; nothing has changed.
        """
        if (before := self.current) is not None:
            before.state.move(HeardOut())
        self.is_incomplete = False
        if reply.is_rest:  # if it is cut, what is left of it is kept
            self._unheard.forget()
        reply.release()
        self._sounds(reply)

    @property
    def current(self) -> Reply | None:
        """The reply that sounds, if one does."""
        last = self._last
        return last if last is not None and last.state.phase in SOUNDING else None

    async def barge_in(self, by_item_id: str, *, may_resume: bool, may_go_on: bool = False) -> None:
        """The caller's turn ``by_item_id`` interrupts the current reply. The client sees it end;
        it is suspended if it can be resumed, and stopped if not. ``may_go_on``: it may go on with
        the turn that is answered; then a reply that cannot be resumed is left to `withdraw`."""
        reply = self.current
        if reply is None:
            return
        is_plain = reply.plan.modality == "audio" and not reply.response.called
        if not (may_resume and is_plain and self._call.config.turn.resume_interrupted):
            if may_go_on:
                return
            self._count_barge_in(meant="yes")
            await self.stop(TURN_DETECTED)
            return
        heard_samples = reply.silence(BargedIn(), TURN_DETECTED)
        self.suspension = Suspension(reply, heard_samples, by_item_id, may_go_on)
        self._cut_item(reply, heard_samples)

    def resume(self, marks: TurnMarks, turn_item_id: str) -> None:
        """The caller did not mean to interrupt: go on with the suspended reply where they stopped
        hearing it. ``marks`` and ``turn_item_id`` are those of what they said."""
        suspension, self.suspension = self.suspension, None
        if suspension is None:
            return
        self._count_barge_in(meant="no")
        reply = suspension.reply
        if suspension.has_more:
            reply.resume(suspension.at_sample, marks, turn_item_id)
            self._sounds(reply)
        else:
            self._leave(reply, HeardOut())
            self._heard_out(reply)
            self.heard_id = reply.response.response_id

    def give_up(self, *, meant: bool = False) -> None:
        """End the suspended reply, if there is one. ``meant``: because the caller meant to
        interrupt it. What is not heard of it is kept for a while, in case they ask for it."""
        suspension, self.suspension = self.suspension, None
        if suspension is None:
            return
        if meant:
            self._count_barge_in(meant="yes")
        self._leave(suspension.reply, Stopped())
        self._keep_unheard(suspension.reply, suspension.at_sample)

    def withdraw(self, reply: Reply | None) -> None:
        """The turn that it answers goes on: nothing of the reply is left, at the client neither.
        None: it was not begun."""
        if self._due is not None:
            self._due.cancel()
        if reply is None:
            return
        if self.suspension is not None and self.suspension.reply is reply:
            self.suspension = None
        if reply.state.phase in SOUNDING:
            reply.silence(Stopped(), TURN_DETECTED)
            self._let_go(reply)
        elif reply.state.phase in (Phase.HELD, Phase.SUSPENDED):
            self._leave(reply, Stopped())
        if reply.is_rest:
            self._unheard.keep(reply, 0)
        item_id = reply.response.item_id
        self._ledgers.pop(item_id, None)
        if item_id in self._call.conversation:
            self._withdrawn.append(item_id)
        self._call.take_back(item_id)

    async def stop(self, ending: StatusDetails) -> None:
        """End the current reply. History keeps what was heard of it by now."""
        reply = self.current
        if reply is None:
            return
        heard_samples = reply.silence(Stopped(), ending)
        await stop_task(reply.task)
        if ending is TURN_DETECTED:
            self._keep_unheard(reply, heard_samples)
        self._cut_item(reply, heard_samples)

    # What the caller turns out to have said over a reply.

    def settle(self, speculation: Speculation, words: str) -> None:
        """The words up to a pause are known, in the turn that interrupted the suspended reply.
        The reply goes on when the turn is committed, or it is given up now."""
        if not (words or self.misheard.answers(speculation)):
            speculation.wants_reply = False
        suspension = self.suspension
        if suspension is None or speculation.item_id not in (None, suspension.by_item_id):
            return
        speculation.resumes = suspension.was_not_meant(
            words, speculation.speech_ms, speculation.sounds_false
        ) or (asks_to_go_on(words) and self._can_go_on)
        if speculation.resumes:
            speculation.wants_reply = False
        elif not suspension.may_go_on:  # else the reply is withdrawn
            self.give_up(meant=True)

    def rest_for(self, plan: ResponsePlan) -> UnheardRest | None:
        """What the caller did not hear of the last reply that they interrupted, if it is kept
        and can be spoken by that plan."""
        return self._unheard.rest_for(plan)

    # Whether another may begin.

    @property
    def is_due(self) -> bool:
        """Whether a reply waits to be begun."""
        return self._due is not None and not self._due.done()

    @property
    def is_busy(self) -> bool:
        """Whether parts of a reply still go out, or one waits to be begun."""
        last = self._last
        return self.is_due or (last is not None and last.state.phase is Phase.SPEAKING)

    @property
    def are_quiet(self) -> bool:
        """Whether none sounds, none waits to be begun, and none can come of the last turn."""
        works = self.last_turn is not None and not self.last_turn.task.done()
        is_due = self._due is not None and not self._due.done()
        return not works and not is_due and self.current is None

    def check_can_begin(self) -> None:
        """Refuse a reply that the client asks for while there is another.

        Raises:
            ProtocolError: conversation_already_has_active_response.
        """
        if self.is_due:
            raise response_active()
        check_can_respond(None if self.current is None else self.current.response)

    def prefill(self) -> None:
        """Bring the engine up to the conversation while nobody waits for it."""
        if self._prefilling is not None:
            self._prefilling.cancel()
        self._prefilling = self._call.spawn(self._prefill())

    # What the client says.

    async def cancel(self, response_id: str | None) -> bool:
        """The client wants no reply, or no more of it. Returns whether a response was cut short
        that it hears.

        Raises:
            ProtocolError: there is none, or not of that id.
        """
        if self._due is not None and self.is_due and response_id is None:
            self._due.cancel()
            return False
        if self.suspension is not None and self.suspension.is_meant_by(response_id):
            self.give_up()
            return False
        check_can_cancel(None if self.current is None else self.current.response, response_id)
        await self.stop(CLIENT_CANCELLED)
        return True

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """The client says how much of a reply was played.

        While the reply is suspended this is also where it goes on. A client that says so later
        is believed for history, but what lies between is not said again.

        Raises:
            ProtocolError: there is no such audio.
        """
        if item_id in self._withdrawn:
            return
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
        if self.suspension is not None and self.suspension.reply.response.item_id == item_id:
            self.suspension.at_sample = heard_samples

    def forget(self, item_id: str) -> None:
        """The item was deleted."""
        if self.suspension is not None and self.suspension.reply.response.item_id == item_id:
            self.give_up()
        self._ledgers.pop(item_id, None)

    @property
    def _can_go_on(self) -> bool:
        """Whether "go on" over the suspended reply is about that reply: more of it is left than
        its last words, and it is no aside after one that was interrupted."""
        suspension = self.suspension
        if suspension is None or not suspension.has_much_more:
            return False
        return not self._unheard.is_aside(suspension.reply)

    async def _begin_when_possible(self, plan: ResponsePlan) -> None:
        plan = await self.recordings.prepare(plan)
        if self.last_turn is not None:
            await asyncio.wait([self.last_turn.task])
        while self._last is not None and self._last.state.phase is Phase.SPEAKING:
            await self._last.state.leaves(Phase.SPEAKING)
        clock = self._call.clock
        last, marks, item_id = self.last_turn, TurnMarks(clock, clock()), None
        if last is not None:
            item_id = last.item_id
            if last.reply is None:
                marks = last.marks
        plan, source = self.misheard.reply_to(last, plan)
        reply = self.begin(plan, self._call.history(plan), marks, item_id, source=source)
        if last is not None:
            last.reply = reply
        self.release(reply)

    async def _prefill(self) -> None:
        await self._left_engine()
        history = self._call.history(plan_response(self._call.session_config))
        with contextlib.suppress(EngineError):  # the reply that needs it will say so
            await self._call.engine.prefill(history)

    async def _left_engine(self) -> None:
        """Wait until no reply that was given up holds the engine."""
        while self._leaving:
            await asyncio.wait(self._leaving)

    async def _run(self, reply: Reply, history: Sequence[Message]) -> None:
        await self._left_engine()
        await reply.run(history)
        if reply.state.phase is Phase.PLAYED and self._last is reply:
            self._heard_out(reply)
            response = reply.response
            if (response.words or reply.is_resumed) and not response.called:
                self.heard_id = response.response_id

    def _sounds(self, reply: Reply) -> None:
        """It was released or resumed: its item is the one that is heard."""
        kept = self._call.conversation
        for item_id in [*self._ledgers]:
            if item_id not in kept:
                del self._ledgers[item_id]
        if reply.plan.modality == "audio":
            self._ledgers[reply.response.item_id] = reply.delivery.ledger
        self._last, self.heard_id = reply, None

    def _leave(self, reply: Reply, move: Stopped | HeardOut) -> None:
        """End a reply without waiting for its work to stop; `_left_engine` does."""
        reply.state.move(move)
        self._let_go(reply)

    def _let_go(self, reply: Reply) -> None:
        reply.task.cancel()
        self._leaving.add(reply.task)
        reply.task.add_done_callback(self._leaving.discard)

    def _keep_unheard(self, reply: Reply, heard_samples: int) -> None:
        if not self._unheard.keep(reply, heard_samples):
            self._heard_out(reply)

    def _heard_out(self, reply: Reply) -> None:
        """The caller has heard the reply to its end. If it was no aside, "go on" is about what
        comes next."""
        self.is_incomplete = reply.pipeline.is_at_limit
        if not reply.pipeline.is_short:
            self._unheard.forget()

    def _cut_item(self, reply: Reply, heard_samples: int) -> None:
        if reply.plan.modality == "audio" and reply.response.words:
            self._cut_history(reply.response.item_id, 0, heard_samples)

    def _cut_history(self, item_id: str, content_index: int, samples: int) -> None:
        ledger = self._ledgers.get(item_id)
        if ledger is None or item_id not in self._call.conversation:  # the client deleted it
            return
        heard = ledger.text_heard(samples)
        self._call.observers.cut(item_id, samples / ledger.rate_hz, heard)
        self._call.conversation.truncate(item_id, content_index, heard)
        end_ms = samples * 1000 // ledger.rate_hz
        self._call.send(
            wire.ItemTruncated(item_id=item_id, content_index=content_index, audio_end_ms=end_ms)
        )

    def _count_barge_in(self, meant: str) -> None:
        self._call.metrics.count("duplex_interruptions_total", meant=meant)
