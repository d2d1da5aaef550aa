"""What the assistant says of its own accord: a notice, a greeting, and a word to the silent."""

from dataclasses import replace

from duplex.dialogue.call import CallContext
from duplex.dialogue.fixed_words import FixedWords
from duplex.dialogue.misheard import FALLBACK
from duplex.dialogue.replies import Replies
from duplex.dialogue.speech_pipeline import AnswerSource
from duplex.metrics import TurnMarks
from duplex.protocol.input_stream import InputStream
from duplex.protocol.response_plan import ResponsePlan, plan_prompt, plan_response
from duplex.protocol.session_config import ServerVad
from duplex.turns.idle import IdleTimeout

GREETING = "greeting"  # in a response's metadata


class Unprompted:
    """Of one call."""

    def __init__(self, call: CallContext, replies: Replies, input_: InputStream) -> None:
        self._call = call
        self._replies = replies
        self._input = input_
        self._idle = IdleTimeout()
        self._has_greeted = False

    def caller_spoke(self) -> None:
        """Somebody speaks: nobody is waited for."""
        self._idle.caller_spoke()

    def restart(self, now_sample: int) -> None:
        """The audio before is forgotten: a wait begins anew."""
        self._idle.restart(now_sample)

    def greet(self) -> None:
        """Greet once, when the caller's first sound is there: the client has set what it wants by
        then, and listens. Not into a conversation that has begun, and not if the client asks for
        the replies itself. A notice is said whatever the client wants, if only later."""
        if self._has_greeted:
            return
        self._has_greeted = True
        call = self._call
        own = call.session_config.duplex.greeting
        text = call.config.dialogue.greeting if own is None else own
        if call.conversation.items or not call.creates_responses:
            text = ""
        if not self._replies.is_busy:
            self._say_words(f"{self._take_notice()} {text}".strip())

    def _take_notice(self) -> str:
        """The notice, if it was not said yet and anything is said in this session."""
        call = self._call
        return "" if call.session_config.only_transcribes else call.observers.take_notice()

    def _say_words(self, text: str) -> None:
        if not text:
            return
        call = self._call
        plan = replace(
            plan_response(call.session_config),
            metadata={FALLBACK: GREETING},
            must_call=False,
            call_name=None,
        )
        if call.can_say(plan):
            self._say(plan, None, FixedWords(text))
        else:
            self._say(replace(plan, note=f"Greet the caller with these words: {text}"), None)

    def prompt_if_idle(self, now_sample: int, *, is_callers_turn: bool) -> None:
        """Speak to a caller who has said nothing for too long since the last reply was heard."""
        call = self._call
        if call.observers.has_notice and is_callers_turn:  # another reply went before it
            self._say_words(self._take_notice())
            return
        detection = call.session_config.audio.input.turn_detection
        limit_ms = detection.idle_timeout_ms if isinstance(detection, ServerVad) else None
        heard_id = self._replies.heard_id if is_callers_turn else None
        if (began := self._idle.hear(now_sample, limit_ms, heard_id)) is None:
            return
        item_id, events = self._input.time_out(began, now_sample)
        call.send(*events)
        words = self._input.transcribed(item_id, "", 0)
        if call.transcribes:
            call.send(*words)
        if call.creates_responses:
            self._say(plan_prompt(call.session_config), item_id)

    def _say(
        self, plan: ResponsePlan, item_id: str | None, source: AnswerSource | None = None
    ) -> None:
        call = self._call
        marks = TurnMarks(call.clock, call.clock())
        reply = self._replies.begin(plan, call.history(plan), marks, item_id, source=source)
        self._replies.release(reply)
