"""The caller's turn while it is open: its partial words, the speculation that it is over, and how
complete it sounds."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from duplex.audio.formats import Samples
from duplex.dialogue.call import CallContext
from duplex.dialogue.reply import Reply
from duplex.metrics import TurnMarks
from duplex.protocol.response_plan import plan_response
from duplex.turns.turn_detector import TurnDetector
from engine.errors import EngineError
from engine.types import Transcript

_EVEN = 0.5  # how complete a turn sounds that nobody has listened to yet


@dataclass(slots=True)
class Speculation:
    """Work on the caller's turn as if it had ended at a pause: its words, and a reply to them.

    If the caller goes on, it is dropped. If the turn is committed, it becomes the work on that
    turn: ``item_id`` is set then.
    """

    marks: TurnMarks
    wants_reply: bool  # whether the words call for one; not if the client ends its turns itself
    speech_ms: int  # how long the turn was at the pause
    sounds_false: float | None  # how little it sounded like a barge-in; see `TurnDetector`
    transcript: Transcript | None = None  # set when the exact pass is done
    failure: str | None = None  # set when the ear could not do it
    resumes: bool = False  # set when the words show that a reply was not meant to be interrupted
    reply: Reply | None = None  # set when one was begun
    item_id: str | None = None  # set when the turn is committed
    task: asyncio.Task[None] = field(init=False)  # set when it is started

    @property
    def is_unclear(self) -> bool:
        """Whether somebody spoke, and there are no words of it."""
        words = self.transcript
        return words is not None and not words.text and (words.is_unclear or bool(self.failure))

    @property
    def needs_reply(self) -> bool:
        """Whether somebody spoke, a reply to that is due, and none was begun."""
        has_words = self.transcript is not None and bool(self.transcript.text)
        return self.wants_reply and (has_words or self.is_unclear) and self.reply is None

    async def hear(self, call: CallContext) -> Transcript:
        """Make the exact pass over the turn's audio, which is taken as it is now."""
        try:
            transcript = await call.engine.end_turn()
        except EngineError as error:
            self.failure = str(error)
            transcript = Transcript("", "", 0)
        self.transcript = transcript
        if transcript.text:
            call.language = transcript.language
        self.marks.reach("ear")
        return transcript


class OpenTurn:
    """One turn of the caller's, from its beginning until it is committed or discarded.

    The dialogue has one while a turn is open, and None otherwise: nothing else says so there.
    """

    def __init__(
        self,
        call: CallContext,
        item_id: str,
        from_sample: int,
        audio: Samples | None,
        before: "EndedTurn | None" = None,
    ) -> None:
        """``item_id``: the turn's. ``audio``: its beginning, if that is known already. It
        follows the audio of ``before`` in the engine, if the turn may go on with that one."""
        self.speculation: Speculation | None = None  # set while the caller pauses
        self.before = before  # None when it is known that the turn goes on with it
        # Where its audio begins.
        self.from_sample: int = from_sample if before is None else before.turn.from_sample
        self._call = call
        self._item_id = item_id
        if before is None:
            call.engine.begin_turn()
        if audio is not None:
            call.engine.append_audio(audio)
        self._partials = call.spawn(self._send_partials())

    def pause(self) -> None:
        """There is no speech in it for now, or it is over: no more partial words."""
        self._partials.cancel()

    def go_on(self) -> None:
        """There is speech in it again."""
        self._partials = self._call.spawn(self._send_partials())

    async def _send_partials(self) -> None:
        """Send words as they become stable. They are only ever added to: a client cannot take
        words back; the completed transcript corrects them."""
        call = self._call
        history = call.history(plan_response(call.session_config))
        with contextlib.suppress(EngineError):  # the exact pass, or the reply, will say so
            async with aclosing(call.engine.listen(history)) as transcripts:
                async for transcript in transcripts:
                    if call.transcribes:
                        call.send(*call.shown_words.show(self._item_id, transcript.stable))


class TurnEnds:
    """What may end one call's turn beside its frames and its words, at a pause: how it sounds, and
    that a turn which waits for its reply has waited for long enough."""

    def __init__(
        self, call: CallContext, detector: TurnDetector, commit_if_over: Callable[[bool], bool]
    ) -> None:
        """``commit_if_over`` ends the turn if it is over by what ``detector`` then knows, and
        need not, or may not, wait for the sound of its reply."""
        self._call = call
        self._detector = detector
        self._commit_if_over = commit_if_over
        self._task: asyncio.Task[None] | None = None  # the last one that judges
        self._held: asyncio.Task[None] | None = None  # set when the turn waits at this pause

    def listen(self, paused_from: int, turn_from: int) -> None:
        """The turn that begins at ``turn_from`` pauses at ``paused_from``. Returns at once."""
        for task in (self._task, self._held):
            if task is not None:
                task.cancel()  # its pause is over
        self._held = None
        if self._call.parts.end_ear is None:
            return
        self._detector.sound_known(_EVEN, paused_from)  # until the answer is there
        sound = self._detector.last_of_turn(turn_from)
        self._task = self._call.spawn(self._judge(sound, paused_from))

    async def _judge(self, sound: Samples, paused_from: int) -> None:
        ear = self._call.parts.end_ear
        assert ear is not None
        completeness = await ear.completeness(sound)
        if completeness is not None:
            self._detector.sound_known(completeness, paused_from)
            self._commit_if_over(True)

    def hold(self, seconds: float) -> None:
        """The turn is over and waits for the sound of its reply, but no longer than so. Frames
        tell the time as well; a client may send no more of them."""
        if self._held is None:
            self._held = self._call.spawn(self._let_go(seconds))

    async def _let_go(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._commit_if_over(False)


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn that was committed, and that goes on if its end was wrong."""

    turn: OpenTurn
    work: Speculation  # on its words and its reply
    item_id: str
    silent_from: int  # where its speech ended
    to_sample: int  # the engine has its audio up to there
