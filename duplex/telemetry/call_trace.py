"""The trace of one call, from what the call reports.

A turn's span has the stages of hearing (``speech``, ``pause``, ``ear``, ``endpoint``) and the
replies to it; a reply's has the stages of making it (``first_token`` to ``released``) and its
``playback``. A turn ends, and is exported, when nothing more can come of it. Attributes are those
of OpenTelemetry's GenAI semantic conventions where there are any. No span says what was spoken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from duplex.audio.formats import Samples
from duplex.dialogue.observers import Answer, CallInfo, CallObserver, TurnEnd
from duplex.protocol import server_events as wire
from duplex.protocol.items import FunctionCall, FunctionCallOutput
from duplex.protocol.response_types import Response
from duplex.telemetry.spans import Span, Value
from duplex.telemetry.stages import Stage, begun_s, hearing, making
from duplex.turns.vad import SAMPLE_RATE
from tts.types import SpokenWord

_GRACE_S = 5.0  # for a response that follows a function's result, or is asked for by the client
_ERRORS = frozenset({"fault", "overrun", "engine_lost"})  # of how a call ends


@dataclass(slots=True)
class _Turn:
    span: Span
    end_s: float  # of all that is known of it
    is_answered: bool = False


@dataclass(slots=True)
class _Reply:
    """One whose response has ended, and that may still be played."""

    span: Span
    start_s: float
    item_id: str
    turn_id: str | None
    attributes: dict[str, Value]
    error: str


@dataclass(slots=True)
class _Playing:
    from_s: float
    to_s: float


@dataclass(slots=True)
class _Function:
    span: Span
    turn_id: str | None


@dataclass(slots=True)
class _Open:
    """What was begun and has not ended."""

    turns: dict[str, _Turn] = field(default_factory=dict)  # by item
    replies: list[_Reply] = field(default_factory=list)
    functions: dict[str, _Function] = field(default_factory=dict)  # by call id
    responses: dict[str, Response | None] = field(default_factory=dict)  # None: not done yet
    playing: dict[str, _Playing] = field(default_factory=dict)  # by item


class CallTrace(CallObserver):
    """Writes the spans of one call."""

    notice = ""

    def __init__(self, info: CallInfo, span: Span) -> None:
        """``span`` is the call's own, which this ends."""
        self._span = span
        self._model = info.session.model
        self._open = _Open()
        self._playing_to_s = 0.0  # all that went out
        self._last_turn: str | None = None
        self._turns = 0

    def heard(self, samples: Samples, rate_hz: int, at_s: float) -> None:
        """See `CallObserver`, as for all others. Sound comes all the time: it is the clock."""
        self._settle(at_s)

    def said(
        self, item_id: str, samples: Samples, rate_hz: int, words: Sequence[SpokenWord], at_s: float
    ) -> None:
        from_s = max(self._playing_to_s, at_s)
        self._playing_to_s = from_s + len(samples) / rate_hz
        playing = self._open.playing.setdefault(item_id, _Playing(from_s, from_s))
        playing.to_s = self._playing_to_s

    def cut(self, item_id: str, heard_s: float, words: str, at_s: float) -> None:
        self._playing_to_s = min(self._playing_to_s, at_s)
        if (playing := self._open.playing.get(item_id)) is not None:
            playing.to_s = min(playing.to_s, playing.from_s + heard_s)

    def turn_ended(self, turn: TurnEnd, at_s: float) -> None:
        self._last_turn = turn.item_id
        self._turns += 1
        lasts_s = (turn.to_sample - turn.from_sample) / SAMPLE_RATE
        # A client may send faster than its caller speaks, even in the call's first second.
        start_s = min(turn.ended_s, max(0.0, turn.ended_s - lasts_s))
        span = self._span.child("turn", start_s, {"duplex.turn.id": turn.item_id})
        _write(span, [Stage("speech", start_s, turn.ended_s)])
        self._open.turns[turn.item_id] = _Turn(span, max(turn.ended_s, at_s))
        self._settle(at_s)

    def understood(self, item_id: str, words: str, at_s: float) -> None:
        """A mark says when."""

    def taken_back(self, item_id: str, at_s: float) -> None:
        taken: dict[str, Value] = {"duplex.taken_back": True}
        for reply in [each for each in self._open.replies if each.item_id == item_id]:
            reply.attributes |= taken
            self._end_reply(reply, at_s)
        if (turn := self._open.turns.pop(item_id, None)) is not None:
            self._turns -= 1
            turn.span.end(max(turn.end_s, at_s), taken)

    def answered(self, answer: Answer, at_s: float) -> None:
        turn_id = answer.turn_item_id if answer.in_conversation else None
        turn = self._open.turns.get(turn_id or "")
        zero_s, marks = answer.speech_end_s, answer.marks_ms
        if turn is not None and not turn.is_answered:
            turn.is_answered = True
            _write(turn.span, hearing(zero_s, marks))
        parent = self._span if turn is None else turn.span
        start_s = min(at_s, begun_s(zero_s, marks))
        span = parent.child("reply", start_s, {})
        _write(span, making(zero_s, marks))
        response = self._open.responses.pop(answer.response_id, None)
        failure = answer.ending.error
        reply = _Reply(
            span,
            start_s,
            answer.item_id,
            turn_id if turn is not None else None,
            self._about(answer, response),
            failure.code if failure else "",
        )
        self._open.replies.append(reply)
        if answer.modality == "text" or not answer.in_conversation:
            self._end_reply(reply, at_s)
        self._settle(at_s)

    def sent(self, event: wire.ServerEvent, at_s: float) -> None:
        match event:
            case wire.SessionUpdated(session=session):
                self._model = str(session.get("model", self._model))
            case wire.ResponseCreated(response=response):
                self._open.responses[response.id] = None
            case wire.ResponseDone(response=response):
                self._open.responses[response.id] = response
            case wire.OutputItemDone(item=FunctionCall(status="completed") as call):
                self._begin_function(call, at_s)
            case wire.ItemAdded(item=FunctionCallOutput(call_id=call_id)):
                self._end_function(call_id, at_s)

    def ended(self, kind: str, at_s: float) -> None:
        for reply in [*self._open.replies]:
            self._end_reply(reply, at_s)
        for call_id in [*self._open.functions]:
            self._end_function(call_id, at_s)
        for turn in self._open.turns.values():
            turn.span.end(turn.end_s, {})
        attributes: dict[str, Value] = {
            "duplex.call.ending": kind,
            "duplex.call.turns": self._turns,
        }
        self._span.end(at_s, attributes, kind if kind in _ERRORS else "")

    def _settle(self, at_s: float) -> None:
        """End what is over by now."""
        if not (self._open.turns or self._open.replies):
            return
        for reply in [*self._open.replies]:
            playing = self._open.playing.get(reply.item_id)
            if playing is None or playing.to_s <= at_s:
                self._end_reply(reply, at_s)
        for turn_id, turn in [*self._open.turns.items()]:
            if self._is_over(turn_id, turn, at_s):
                del self._open.turns[turn_id]
                turn.span.end(turn.end_s, {})

    def _is_over(self, turn_id: str, turn: _Turn, at_s: float) -> bool:
        """Whether nothing more comes of a turn."""
        works: list[_Reply | _Function] = [*self._open.replies, *self._open.functions.values()]
        if self._open.responses or any(each.turn_id == turn_id for each in works):
            return False
        if turn_id != self._last_turn:
            return True
        return turn.is_answered and at_s >= turn.end_s + _GRACE_S

    def _end_reply(self, reply: _Reply, at_s: float) -> None:
        self._open.replies.remove(reply)
        end_s = at_s
        if (playing := self._open.playing.pop(reply.item_id, None)) is not None:
            end_s = max(reply.start_s, min(playing.to_s, at_s))
            _write(reply.span, [Stage("playback", min(playing.from_s, end_s), end_s)])
        reply.span.end(end_s, reply.attributes, reply.error)
        self._last_until(reply.turn_id, end_s)

    def _begin_function(self, call: FunctionCall, at_s: float) -> None:
        turn = self._open.turns.get(self._last_turn or "")
        about: dict[str, Value] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": call.call_id,
        }
        parent = self._span if turn is None else turn.span
        span = parent.child(f"execute_tool {call.name}", at_s, about)
        self._open.functions[call.call_id] = _Function(span, self._last_turn if turn else None)

    def _end_function(self, call_id: str, at_s: float) -> None:
        function = self._open.functions.pop(call_id, None)
        if function is not None:
            function.span.end(at_s, {})
            self._last_until(function.turn_id, at_s)

    def _last_until(self, turn_id: str | None, at_s: float) -> None:
        if (turn := self._open.turns.get(turn_id or "")) is not None:
            turn.end_s = max(turn.end_s, at_s)

    def _about(self, answer: Answer, response: Response | None) -> dict[str, Value]:
        about: dict[str, Value] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": self._model,
            "gen_ai.output.type": "speech" if answer.modality == "audio" else "text",
            "gen_ai.response.id": answer.response_id,
            "gen_ai.response.finish_reasons": [answer.ending.reason or answer.ending.type],
            "duplex.response.resumed": answer.is_resumed,
            "duplex.response.in_conversation": answer.in_conversation,
        }
        if response is not None and response.usage is not None:
            usage = response.usage
            about |= {
                "gen_ai.usage.input_tokens": usage.input_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.input_token_details.cached_tokens,
            }
        if response is not None and response.conversation_id:
            about["gen_ai.conversation.id"] = response.conversation_id
        return about


def beginning(info: CallInfo) -> Mapping[str, Value]:
    """The attributes of a call's span when it begins."""
    return {
        "duplex.call.id": info.call_id,
        "duplex.call.client": info.client,
        "duplex.call.key": info.key,
        "gen_ai.request.model": info.session.model,
    }


def _write(span: Span, stages: Sequence[Stage]) -> None:
    for stage in stages:
        span.child(stage.name, stage.start_s, {}).end(stage.end_s, {})
