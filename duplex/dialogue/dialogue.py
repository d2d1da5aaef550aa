"""What is done about the floor: the caller's turns are heard, answered ahead of their end, and
committed to history; replies are interrupted."""

import asyncio
import contextlib

from duplex.audio.formats import Samples
from duplex.dialogue.call import CallContext, stop
from duplex.dialogue.listening import Listening
from duplex.dialogue.replies import Replies
from duplex.dialogue.speculation import Speculation
from duplex.dialogue.suspension import Doubts
from duplex.errors import ProtocolError
from duplex.interruption.words import asks_to_go_on
from duplex.metrics import TurnMarks
from duplex.protocol.codes import Code
from duplex.protocol.input_stream import InputStream
from duplex.protocol.response_plan import (
    ResponsePlan,
    plan_continuation,
    plan_prompt,
    plan_response,
)
from duplex.protocol.response_stream import (
    CLIENT_CANCELLED,
    check_can_cancel,
    check_can_respond,
    response_active,
)
from duplex.protocol.session_config import ServerVad
from duplex.turns.events import BufferOpened, FloorEvent, SpeechStarted, TurnDiscarded, TurnEnded
from duplex.turns.floor import (
    Action,
    CommitTurn,
    DiscardTurn,
    DropSpeculation,
    Floor,
    Interrupt,
    OpenTurn,
    Speculate,
    TurnMachine,
)
from duplex.turns.idle import IdleTimeout
from duplex.turns.turn_detector import TurnDetection, TurnDetector
from duplex.turns.vad import SAMPLE_RATE
from engine.errors import EngineError
from engine.types import Message


class Dialogue:
    """The floor of one call. `hear` and the other methods are called one at a time; only the
    end of a pause, which `_try` may find, comes from elsewhere, and nothing is awaited between
    its finding and the commit.

    At most one answer is being made at any time. One to a turn is begun at a pause, ahead of the
    turn's end; where another is still being made, it has to wait for that.
    """

    def __init__(self, call: CallContext) -> None:
        self._call = call
        self._machine = TurnMachine()
        self.answers = Replies(call, self._machine)
        self._input = InputStream(call.conversation, call.new_id, SAMPLE_RATE)
        self._limit_samples = round(call.config.turn.max_turn_s * SAMPLE_RATE)
        parts = call.parts
        self._hearing = TurnDetector(parts.vad.open(), self._limit_samples, parts.open_judge)
        self._doubts = Doubts(call, self._hearing, self.answers)
        self._detects = False  # whether turns are found in the audio, or told by the client
        self._listening = Listening(call, self._input)
        self._idle = IdleTimeout()
        self._attempt: Speculation | None = None  # at the open turn, while the caller pauses
        self._last: Speculation | None = None  # of the last committed turn
        self._due: asyncio.Task[None] | None = None  # begins an answer when it is possible
        self._beside_due = 0  # answers out of band that are not begun yet
        self._prefilling: asyncio.Task[None] | None = None

    async def configure(self, detection: TurnDetection | None) -> None:
        """Find turns in another way from now on. An open turn is discarded and that is told."""
        if self._machine.floor is not Floor.LISTENING:
            await self.clear()
        self._detects = detection is not None
        self._hearing.configure(detection)

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
        if not self._detects:
            if self._machine.floor is Floor.LISTENING:
                await self._happen(BufferOpened(self._hearing.now_sample))
            self._call.engine.append_audio(samples)
        for heard in self._hearing.feed(samples, self._doubts.sounding):
            if self._detects and self._machine.floor is not Floor.LISTENING:
                self._call.engine.append_audio(heard.samples)
            for event in heard.events:
                await self._happen(event)
            if self._doubts.are_over():
                self.prefill()
            self._prompt_if_idle()

    async def commit(self) -> None:
        """The client ends the turn.

        Raises:
            ProtocolError: too little audio is buffered; nothing has changed.
        """
        self._input.check_commit()
        now = self._hearing.now_sample
        if self._machine.floor is Floor.LISTENING:  # turns are detected, and none was
            await self._happen(BufferOpened(now))
        self._hearing.end_turn()
        await self._happen(TurnEnded(now, by_client=True))

    async def clear(self) -> None:
        """Forget the audio that is not committed."""
        self._hearing.end_turn()
        self.answers.drop_suspended()
        self._idle.restart(self._hearing.now_sample)
        await self._happen(TurnDiscarded(self._hearing.now_sample))
        self._call.send(*self._input.clear())

    async def respond(self, plan: ResponsePlan) -> None:
        """Answer the conversation as it stands; a turn that is still open is answered later.

        Raises:
            ProtocolError: an answer is being made or waits to be begun; or, out of band, too
                many of them.
        """
        if not plan.in_conversation:
            self.answers.check_can_begin_beside(self._beside_due)
            self._beside_due += 1
            self._call.spawn(self._answer_beside(plan))
            return
        if self._is_due:
            raise response_active()
        check_can_respond(self.answers.current_stream)
        self.answers.drop_suspended()
        if self._attempt is not None:
            await self._drop_answer(self._attempt)
        self._answer_when_possible(plan)

    async def cancel(self, response_id: str | None) -> None:
        """The client wants no answer, or no more of it.

        Raises:
            ProtocolError: there is none, or not of that id.
        """
        if response_id is not None and await self.answers.cut_beside(response_id):
            return
        if self._due is not None and self._is_due and response_id is None:
            self._due.cancel()
            return
        if self.answers.is_suspended(response_id):
            self.answers.drop_suspended()
            return
        check_can_cancel(self.answers.current_stream, response_id)
        await self.answers.cut(CLIENT_CANCELLED)
        self.prefill()

    def prefill(self) -> None:
        """Bring the engine up to the conversation while nobody waits for it."""
        if self._prefilling is not None:
            self._prefilling.cancel()
        self._prefilling = self._call.spawn(self._prefill())

    async def _prefill(self) -> None:
        await self.answers.left()
        with contextlib.suppress(EngineError):  # the answer that needs it will say so
            await self._call.engine.prefill(self._history())

    async def _happen(self, event: FloorEvent) -> None:
        """Move the floor and do what follows."""
        for action in self._machine.receive(event):
            await self._perform(action, event)

    async def _perform(self, action: Action, event: FloorEvent) -> None:
        match action:
            case Interrupt():
                if isinstance(event, SpeechStarted):  # first: clients stop their playback on it
                    self._call.send(*self._input.speech_started(event.from_sample))
                if self._doubts.interrupts:
                    # Clients that answer turns themselves would find an answer begun.
                    await self.answers.cut_in(self._input.item_id, may_resume=self._creates)
                    self.prefill()  # of what is suspended, once the brain is done with it
            case OpenTurn():
                self._open(event)
            case Speculate(at_sample):
                self._listening.stop()
                attempt = await self._start_attempt(at_sample, wants_answer=self._creates)
                attempt.marks.reach("pause")
            case DropSpeculation():
                await self._drop_attempt()
                self._listening.start()
            case CommitTurn(at_sample):
                await self._commit(at_sample, isinstance(event, TurnEnded) and event.by_client)
            case DiscardTurn():
                self._listening.stop()

    @property
    def _creates(self) -> bool:
        """Whether the end of a turn calls for an answer by itself."""
        detection = self._call.session_config.audio.input.turn_detection
        return detection is not None and detection.create_response

    def _open(self, event: FloorEvent) -> None:
        self._idle.caller_spoke()
        self._attempt = None
        if not self.answers.was_cut_in(self._input.item_id):  # but by a turn before, not judged yet
            self.answers.give_way()
        audio = None
        if isinstance(event, SpeechStarted):
            if not self._input.is_speaking:
                self._call.send(*self._input.speech_started(event.from_sample))
            audio = self._hearing.since(event.from_sample)
        elif self._detects:  # the client commits what was not detected as speech
            audio = self._hearing.since(0)
        self._listening.open(audio)

    def _prompt_if_idle(self) -> None:
        """Speak to a caller who has said nothing for too long since the last answer was played."""
        detection = self._call.session_config.audio.input.turn_detection
        limit_ms = detection.idle_timeout_ms if isinstance(detection, ServerVad) else None
        heard_id = self.answers.heard_id if self._is_callers_turn else None
        now = self._hearing.now_sample
        began = self._idle.hear(now, limit_ms, heard_id)
        if began is None:
            return
        item_id = self._listening.tell_silence(began, now)
        if self._creates:
            plan = plan_prompt(self._call.session_config)
            answer = self.answers.begin(plan, self._history(plan), self._marks_from_now(), item_id)
            self.answers.release(answer)

    async def _start_attempt(self, at_sample: int, wants_answer: bool) -> Speculation:
        """Work on the turn as if it had ended with the speech before ``at_sample``."""
        silence_s = (self._hearing.now_sample - at_sample) / SAMPLE_RATE
        clock = self._call.clock
        attempt = Speculation(TurnMarks(clock, clock() - silence_s), wants_answer=wants_answer)
        attempt.speech_ms = self._hearing.speech_ms(at_sample)
        attempt.sounds_false = self._hearing.sounds_false
        self._attempt = attempt
        attempt.task = self._call.spawn(self._try(attempt))
        await asyncio.sleep(0)  # it takes the audio as it is now, before more is appended
        return attempt

    async def _try(self, attempt: Speculation) -> None:
        transcript = await attempt.hear(self._call)
        self._doubts.settle(attempt, transcript.text)
        if attempt.item_id is not None:
            self._listening.tell_words(attempt, attempt.item_id)
            self._doubts.resume(attempt)
        else:
            for ended in self._hearing.words_known(transcript.text, resumes=attempt.resumes):
                await self._happen(ended)
        if attempt.is_answerable and attempt.answer is None:
            self._begin_answer(attempt)

    def _begin_answer(self, attempt: Speculation) -> None:
        """Begin the answer to a turn; release it if the turn is committed."""
        plan = plan_response(self._call.session_config)
        if self._is_busy:
            if attempt.item_id is not None and not self._is_due:  # one that waits answers it too
                self._answer_when_possible(plan)
            return
        if self._was_overtaken(attempt):
            return
        history = self._history()
        if attempt.item_id is None and attempt.transcript is not None:
            words = attempt.transcript
            history.append(Message("user", words.text, words.sound))
        rest = None
        if attempt.transcript is not None and asks_to_go_on(attempt.transcript.text):
            rest = self.answers.rest_for(plan)
            if rest is None and self.answers.is_incomplete:
                plan = plan_continuation(self._call.session_config)
                history.append(Message("system", plan.note))
        answer = self.answers.begin(plan, history, attempt.marks, attempt.item_id, rest)
        attempt.answer = answer
        if attempt.item_id is not None:
            self.answers.release(attempt.answer)

    async def _commit(self, at_sample: int, by_client: bool) -> None:
        """The turn becomes an item, its words are told, its answer is let out."""
        self._listening.stop()
        attempt = self._attempt
        if attempt is None:
            attempt = await self._start_attempt(at_sample, wants_answer=self._creates)
        if by_client:  # who ends turns also asks for the answers
            attempt.wants_answer = attempt.resumes = False
            self.answers.drop_suspended()
            await self._drop_answer(attempt)
        attempt.marks.reach("endpoint")
        if self._input.is_speaking:
            self._call.send(*self._input.speech_stopped(at_sample))
        attempt.item_id, events = self._input.commit()
        self._call.send(*events)
        self._last, self._attempt = attempt, None
        if attempt.transcript is None:
            return  # `_try` goes on when it is known
        self._listening.tell_words(attempt, attempt.item_id)
        self._doubts.resume(attempt)
        if attempt.answer is not None:
            attempt.answer.turn_item_id = attempt.item_id
            self.answers.release(attempt.answer)
        elif attempt.is_answerable and attempt.task.done():
            self._begin_answer(attempt)

    async def _drop_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        await stop(attempt.task)
        await self._drop_answer(attempt)

    async def _drop_answer(self, attempt: Speculation) -> None:
        answer, attempt.answer = attempt.answer, None
        if answer is not None:
            await self.answers.drop(answer)

    @property
    def _is_busy(self) -> bool:
        """Whether an answer is being made or waits to be begun."""
        stream = self.answers.current_stream
        return self._is_due or (stream is not None and stream.is_active)

    @property
    def is_quiet(self) -> bool:
        """Whether nobody speaks, nothing sounds, and no answer is being made or expected."""
        beside = self._beside_due > 0 or self.answers.has_beside
        return self._is_callers_turn and not beside

    @property
    def _is_callers_turn(self) -> bool:
        """Whether it is quiet but for answers out of band, which concern nobody who speaks."""
        works = self._last is not None and not self._last.task.done()
        quiet = self._machine.floor is Floor.LISTENING and self.answers.current is None
        return quiet and not works and not self._is_busy

    @property
    def _is_due(self) -> bool:
        """Whether an answer waits to be begun."""
        return self._due is not None and not self._due.done()

    def _was_overtaken(self, attempt: Speculation) -> bool:
        """Whether the caller speaks again and interrupts: the answer to that turn sees both."""
        speaks = self._detects and self._machine.floor is not Floor.LISTENING
        return attempt.item_id is not None and speaks and self._doubts.interrupts

    def _answer_when_possible(self, plan: ResponsePlan) -> None:
        self._due = self._call.spawn(self._answer_later(plan))

    async def _answer_later(self, plan: ResponsePlan) -> None:
        """Wait for the words of the last turn and for the end of the answer before; answer."""
        if self._last is not None:
            await asyncio.wait([self._last.task])
        await self.answers.made()
        fresh = self._last is not None and self._last.answer is None
        marks = self._last.marks if self._last and fresh else self._marks_from_now()
        item_id = self._last.item_id if self._last else None
        answer = self.answers.begin(plan, self._history(plan), marks, item_id)
        if self._last is not None:
            self._last.answer = answer
        self.answers.release(answer)

    async def _answer_beside(self, plan: ResponsePlan) -> None:
        """Answer out of band, when the words are known that are to be answered."""
        try:
            if plan.input is None and self._last is not None:
                await asyncio.wait([self._last.task])
        finally:
            self._beside_due -= 1
        answer = self.answers.begin(plan, self._history(plan), self._marks_from_now())
        self.answers.release(answer)

    def _marks_from_now(self) -> TurnMarks:
        return TurnMarks(self._call.clock, self._call.clock())

    def _history(self, plan: ResponsePlan | None = None) -> list[Message]:
        plan = plan or plan_response(self._call.session_config)
        return self._call.history(plan)
