"""Both sides of one call in the order of time: the caller speaks, pauses, and is answered.

Read it from top to bottom: audio comes in; a turn opens; at a pause the dialogue speculates that
the turn is over; at its end the turn is committed and the reply is released; the caller barges in.
The client's commands come last. Whether a turn goes on with the one before is for `Reopening`.

`TurnMachine` decides about the floor, `ReplyState` about a reply. Here is what follows from them.
"""

import asyncio
from typing import Literal

from duplex.audio.formats import Samples
from duplex.dialogue.call import CallContext, stop_task
from duplex.dialogue.open_turn import EndedTurn, OpenTurn, Speculation, TurnEnds
from duplex.dialogue.out_of_band import OutOfBand
from duplex.dialogue.reopening import Reopening
from duplex.dialogue.replies import Replies
from duplex.dialogue.unprompted import Unprompted
from duplex.errors import ProtocolError
from duplex.interruption.words import asks_to_go_on
from duplex.metrics import TurnMarks
from duplex.protocol.codes import Code
from duplex.protocol.input_stream import InputStream, transcription_failed
from duplex.protocol.response_plan import (
    ResponsePlan,
    plan_continuation,
    plan_response,
)
from duplex.turns.events import BufferOpened, SpeechEvent, SpeechStarted, TurnDiscarded, TurnEnded
from duplex.turns.floor import (
    BeginTurn,
    DiscardTurn,
    DropSpeculation,
    Interrupt,
    Speculate,
    TurnMachine,
)
from duplex.turns.turn_detector import TurnDetection, TurnDetector
from duplex.turns.vad import SAMPLE_RATE
from engine.types import Message


class Dialogue:
    """The two sides of one call.

    `hear` and the client's commands are awaited one at a time. Alongside them runs the work on
    the last turn (`_work_on`), which may find that the turn is over. Nothing can come between
    that finding and the commit, since `_commit_if_over` does both and awaits nothing.

    At most one reply in the conversation is being made. The reply to a turn is begun at a pause,
    ahead of the turn's end; while another is still being sent, it waits for that one.
    """

    def __init__(self, call: CallContext) -> None:
        self._call = call
        self._floor = TurnMachine()
        self._replies = Replies(call, lambda: self._detector.now_sample)
        self._out_of_band = OutOfBand(call, self._replies.recordings)
        self.recordings = self._replies.recordings
        self._input = InputStream(call.conversation, call.new_id, SAMPLE_RATE)
        self._limit_samples = round(call.config.turn.max_turn_s * SAMPLE_RATE)
        vad, open_judge = call.parts.vad.open(), call.parts.open_judge
        self._detector = TurnDetector(vad, self._limit_samples, open_judge)
        self._reopening = Reopening(call, self._replies, self._detector, self._limit_samples)
        self._ends = TurnEnds(call, self._detector, self._commit_if_over)
        self._detects = False  # whether turns are found in the audio, or ended by the client
        self._turn: OpenTurn | None = None  # set while a turn is open
        self._unprompted = Unprompted(call, self._replies, self._input)

    # 1. The caller's audio.

    async def hear(self, samples: Samples, seconds: float) -> None:
        """Take the caller's next 16 kHz samples, made from ``seconds`` of the client's audio
        (a resampler holds a little back).

        Raises:
            ProtocolError: the client ends its turns itself and this one is too long.
        """
        if not self._detects and self._input.buffered_samples > self._limit_samples:
            raise ProtocolError(
                f"The input audio buffer holds {self._call.config.turn.max_turn_s:g} s and is "
                "full. Commit or clear it.",
                code=Code.BUFFER_FULL,
            )
        self._input.append(round(seconds * SAMPLE_RATE))
        self._unprompted.greet()
        if not self._detects:
            if self._turn is None:
                await self._follow(BufferOpened(self._detector.now_sample))
            self._call.engine.append_audio(samples)
        for frame in self._detector.feed(samples, self._reopening.sounding):
            if self._detects and self._turn is not None:
                self._call.engine.append_audio(frame.samples)
            for event in frame.events:
                await self._follow(event)
            if self._commit_if_over():
                await asyncio.sleep(0)  # its audio is taken before more is appended
            self._reopening.speaks_on(self._turn)
            # Replies out of band concern nobody who speaks.
            is_callers_turn = self._turn is None and self._replies.are_quiet
            now = self._detector.now_sample
            self._unprompted.prompt_if_idle(now, is_callers_turn=is_callers_turn)

    async def _follow(self, event: SpeechEvent | BufferOpened | TurnDiscarded) -> None:
        """Move the floor, and do what follows."""
        reply = self._replies.current
        sounding_id = reply.response.response_id if reply is not None else None
        started = event if isinstance(event, SpeechStarted) else None
        before = None if started is None else self._reopening.take(started.at_sample)
        for action in self._floor.receive(event, sounding_id):
            match action:
                case Interrupt():
                    assert started is not None
                    await self._barge_in(started.from_sample, before)
                case BeginTurn():
                    await self._open_turn(started, before)
                case Speculate(at_sample):
                    self._speculate(at_sample, self._opened).marks.reach("pause")
                    self._ends.listen(at_sample, self._opened.from_sample)
                    await asyncio.sleep(0)  # its audio is taken before more is appended
                case DropSpeculation():
                    await self._drop_speculation(self._opened)
                case DiscardTurn():
                    self._opened.pause()
                    self._turn = None

    @property
    def _opened(self) -> OpenTurn:
        assert self._turn is not None, "the floor moves within a turn only while one is open"
        return self._turn

    # 2. A turn opens.

    async def _open_turn(self, started: SpeechStarted | None, before: EndedTurn | None) -> None:
        """It begins where speech ``started``; None: at what the client sends next. It may go on
        with the turn ``before``."""
        self._unprompted.caller_spoke()
        suspension = self._replies.suspension
        if suspension is not None and suspension.by_item_id != self._input.item_id:
            self._replies.give_up(meant=True)  # by a turn before, whose words came too late
        audio, from_sample = None, self._detector.now_sample
        if started is not None:
            from_sample = started.from_sample
            if not self._input.is_speaking:
                self._call.send(*self._input.speech_started(from_sample))
            audio = self._detector.since(from_sample)
        elif self._detects:  # the client commits what was not detected as speech
            audio = self._detector.since(0)
        item_id = self._input.item_id
        if before is not None:
            self._turn = await self._reopening.open_turn(item_id, from_sample, before)
        else:
            self._turn = OpenTurn(self._call, item_id, from_sample, audio)

    # 3. The caller pauses: work on the turn as if it were over.

    def _speculate(self, at_sample: int, turn: OpenTurn) -> Speculation:
        """The speech up to now ended at ``at_sample``."""
        turn.pause()
        silence_s = (self._detector.now_sample - at_sample) / SAMPLE_RATE
        clock = self._call.clock
        speculation = turn.speculation = Speculation(
            TurnMarks(clock, clock() - silence_s),
            wants_reply=self._call.creates_responses,
            speech_ms=self._detector.speech_ms(at_sample),
            sounds_false=self._detector.sounds_false,
        )
        speculation.task = self._call.spawn(self._work_on(speculation, turn))
        return speculation

    async def _drop_speculation(self, turn: OpenTurn) -> None:
        """The caller goes on, or the turn is discarded."""
        speculation, turn.speculation = turn.speculation, None
        if speculation is not None:
            await stop_task(speculation.task)
            await self._discard_reply(speculation)
        turn.go_on()

    async def _discard_reply(self, speculation: Speculation) -> None:
        reply, speculation.reply = speculation.reply, None
        if reply is not None:
            await self._replies.discard(reply)

    async def _work_on(self, speculation: Speculation, turn: OpenTurn) -> None:
        """Find the words of a turn, and begin a reply to them. The turn may be committed in
        between, or before: then the speculation has its item's id."""
        call = self._call
        words = await speculation.hear(call)
        self._reopening.settle(turn, speculation)
        if speculation.item_id is not None:
            self._words_known(speculation, speculation.item_id)
        else:
            text = (speculation.transcript or words).text
            self._detector.words_known(text, is_asked=call.is_asked, resumes=speculation.resumes)
        if speculation.needs_reply:
            self._begin_reply(speculation)
        self._commit_if_over()

    def _begin_reply(self, speculation: Speculation) -> None:
        """Begin the reply to a turn; release it if the turn is committed."""
        plan = plan_response(self._call.session_config)
        is_committed = speculation.item_id is not None
        if self._replies.is_busy:
            if is_committed and not self._replies.is_due:  # what is due answers this turn too
                self._replies.begin_later(plan)
            return
        speaks_again = self._detects and self._turn is not None
        if is_committed and speaks_again and self._call.interrupts_responses:
            return  # the reply to the turn that is open now answers both
        plan, source = self._replies.misheard.reply_to(speculation, plan)
        history = self._call.history(plan)
        rest = None
        if (words := speculation.transcript) is not None and words.text:
            if not is_committed:
                history.append(Message("user", words.text, words.sound))
            if asks_to_go_on(words.text):
                rest = self._replies.rest_for(plan)
                if rest is None and self._replies.is_incomplete:
                    plan = plan_continuation(self._call.session_config)
                    history.append(Message("system", plan.note))
        reply = self._replies.begin(
            plan, history, speculation.marks, speculation.item_id, rest, source
        )
        speculation.reply, reply.delivery.on_ready = reply, self._commit_if_over
        if is_committed:
            self._replies.release(reply)

    # 4. The turn ends: it is committed, and its reply is released.

    def _commit_if_over(self, may_wait: bool = True) -> bool:
        """Commit the open turn if it is over by now; whether it was. Nothing comes in between. It
        ``may_wait`` for a sound of its reply: nobody hears that, and who goes on was not answered.
        """
        if (ended := self._detector.find_end()) is None:
            return False
        speculation = self._opened.speculation
        if speculation is not None:
            speculation.marks.reach("endpoint")
            reply = speculation.reply
            waits_s = ended.may_wait_s if may_wait else 0.0
            if waits_s and reply is not None and not reply.delivery.is_ready:
                self._ends.hold(waits_s)
                return False
        self._detector.end_turn()
        self._commit(ended)
        return True

    def _commit(self, ended: TurnEnded) -> None:
        """The turn becomes an item, its words are sent, its reply is let out."""
        self._floor.receive(ended)
        turn, self._turn = self._opened, None
        turn.pause()
        speculation = turn.speculation or self._speculate(ended.at_sample, turn)
        speculation.marks.reach("endpoint")
        if self._input.is_speaking:
            self._call.send(*self._input.speech_stopped(ended.at_sample))
        speculation.item_id, events = self._input.commit()
        self._call.send(*events)
        self._replies.last_turn = speculation
        self._call.observers.turn_ended(
            speculation.item_id, turn.from_sample, ended.at_sample, speculation.marks.speech_end_s
        )
        self._reopening.ended(turn, speculation, speculation.item_id, ended.at_sample)
        if speculation.transcript is None:
            return  # `_work_on` goes on when it is known
        self._words_known(speculation, speculation.item_id)
        if speculation.reply is not None:
            speculation.reply.turn_item_id = speculation.item_id
            self._replies.release(speculation.reply)
        elif speculation.needs_reply:
            self._begin_reply(speculation)

    def _words_known(self, speculation: Speculation, item_id: str) -> None:
        """The turn is committed and its words are known: into history, and to the client."""
        call, transcript = self._call, speculation.transcript
        assert transcript is not None
        if transcript.sound is not None:
            call.sounds[item_id] = transcript.sound
        self._replies.misheard.turn_known(speculation)
        call.observers.understood(item_id, transcript.text)
        events = self._input.transcribed(item_id, transcript.text, transcript.samples)
        if speculation.failure is not None:
            call.send(transcription_failed(item_id, speculation.failure))
        elif call.transcribes:
            call.send(*call.last_words(item_id, transcript.text), *events)
        if speculation.resumes:
            self._replies.resume(speculation.marks, item_id)

    # 5. The caller barges in.

    async def _barge_in(self, from_sample: int, before: EndedTurn | None) -> None:
        """The caller's speech begins over a reply. It may go on with the turn ``before``."""
        # First: clients stop their playback on it.
        self._call.send(*self._input.speech_started(from_sample))
        if self._call.interrupts_responses:
            # A client that creates the replies itself would find one begun.
            may_resume = self._call.creates_responses
            may_go_on = before is not None
            await self._replies.barge_in(
                self._input.item_id, may_resume=may_resume, may_go_on=may_go_on
            )
            self._replies.prefill()  # of what is suspended, once the brain is done with it

    # 6. The client's commands.

    @property
    def phase(self) -> Literal["hearing", "speaking", "thinking", "waiting"]:
        """What goes on. Waiting: nobody speaks, nothing sounds, no reply is made or expected."""
        if self._turn is not None:
            return "hearing"
        if self._replies.current is not None:
            return "speaking"
        return "waiting" if self._replies.are_quiet and self._out_of_band.is_idle else "thinking"

    async def configure(self, detection: TurnDetection | None) -> None:
        """Find turns in another way from now on. An open turn is discarded; the client is told."""
        if self._turn is not None:
            await self.clear()
        self._detects = detection is not None
        self._detector.configure(detection)

    async def commit(self) -> None:
        """The client ends the turn. It also asks for the replies then, so none is begun here.

        Raises:
            ProtocolError: too little audio is buffered; nothing has changed.
        """
        self._input.check_commit()
        now = self._detector.now_sample
        if self._turn is None:  # turns are detected, and none was
            await self._follow(BufferOpened(now))
        self._detector.end_turn()
        speculation = self._opened.speculation
        if speculation is None:
            speculation = self._speculate(now, self._opened)
            await asyncio.sleep(0)  # its audio is taken before more is appended
        speculation.wants_reply = speculation.resumes = False
        self._replies.give_up()
        await self._discard_reply(speculation)
        self._commit(TurnEnded(now))

    async def clear(self) -> None:
        """Forget the audio that is not committed."""
        self._detector.end_turn()
        self._replies.give_up()
        self._unprompted.restart(self._detector.now_sample)
        await self._follow(TurnDiscarded(self._detector.now_sample))
        self._call.send(*self._input.clear())

    async def respond(self, plan: ResponsePlan) -> None:
        """Reply to the conversation as it stands; a turn that is still open is answered later.

        Raises:
            ProtocolError: a reply is being made or waits to be begun; or, out of band, too many
                of them.
        """
        if not plan.in_conversation:
            last = self._replies.last_turn if plan.input is None else None
            self._out_of_band.respond(plan, after=None if last is None else last.task)
            return
        self._replies.check_can_begin()
        self._reopening.close()
        self._replies.give_up()
        if self._turn is not None and self._turn.speculation is not None:
            await self._discard_reply(self._turn.speculation)
        self._replies.begin_later(plan)

    async def cancel(self, response_id: str | None) -> None:
        """The client wants no reply, or no more of it.

        Raises:
            ProtocolError: there is none, or not of that id.
        """
        if response_id is not None and await self._out_of_band.cancel(response_id):
            return
        if await self._replies.cancel(response_id):
            self._replies.prefill()

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """The client says how much of a reply was played; see `Replies.truncate`.

        Raises:
            ProtocolError: there is no such audio.
        """
        self._replies.truncate(item_id, content_index, audio_end_ms)

    def forget(self, item_id: str) -> None:
        """The item was deleted."""
        self._reopening.close()
        self._replies.forget(item_id)
        self._call.sounds.pop(item_id, None)

    def give_up_suspended(self) -> None:
        """A suspended reply could not go on as it began: the client wants another voice."""
        self._replies.give_up()

    def prefill(self) -> None:
        """Bring the engine up to the conversation while nobody waits for it."""
        self._replies.prefill()
