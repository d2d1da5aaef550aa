"""What spans a call writes, from what it reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from duplex.dialogue.observers import Answer, CallInfo, TurnEnd
from duplex.protocol import server_events as wire
from duplex.protocol.items import FunctionCall, FunctionCallOutput
from duplex.protocol.response_stream import COMPLETED, TURN_DETECTED, failed
from duplex.protocol.response_types import Response, StatusDetails, Usage
from duplex.protocol.session_config import SessionConfig
from duplex.telemetry.call_trace import CallTrace

MARKS = {
    "pause": 40.0,
    "ear": 140.0,
    "first_token": 200.0,
    "first_clause": 260.0,
    "first_audio": 290.0,
    "endpoint": 320.0,
    "released": 321.0,
}
SECOND = np.zeros(24_000, np.float32)


@dataclass
class Written:
    """A span, kept."""

    name: str
    start_s: float
    attributes: dict[str, Any] = field(default_factory=dict)
    inside: list["Written"] = field(default_factory=list)
    end_s: float | None = None
    error: str = ""

    def child(self, name: str, start_s: float, attributes: Mapping[str, Any]) -> "Written":
        self.inside.append(Written(name, start_s, dict(attributes)))
        return self.inside[-1]

    def end(self, end_s: float, attributes: Mapping[str, Any], error: str = "") -> None:
        assert self.end_s is None, f"{self.name} ends twice"
        assert end_s >= self.start_s, self
        self.end_s, self.error = end_s, error
        self.attributes |= attributes

    def times(self) -> dict[str, tuple[float, float | None]]:
        """When what is inside began and ended, in ms."""
        return {
            each.name: (round(each.start_s * 1000), each.end_s and round(each.end_s * 1000))
            for each in self.inside
        }

    def find(self, name: str) -> list["Written"]:
        """All spans of that name inside it."""
        own = [self] if self.name == name else []
        return own + [found for each in self.inside for found in each.find(name)]


class Reported:
    """A call that reports."""

    def __init__(self) -> None:
        self.root = Written("call", 0)
        info = CallInfo("call-1", 1e9, "alice", "websocket", "127.0.0.1", SessionConfig(model="m"))
        self.trace = CallTrace(info, self.root)

    def turn(self, item_id: str, end_s: float, lasts_s: float = 1.0) -> None:
        to_sample = round(end_s * 16_000)
        from_sample = round((end_s - lasts_s) * 16_000)
        self.trace.turn_ended(TurnEnd(item_id, from_sample, to_sample, end_s), end_s + 0.32)

    def answer(
        self,
        turn: str | None,
        at_s: float,
        end_s: float = 2.0,
        name: str = "1",
        ending: StatusDetails = COMPLETED,
        modality: str = "audio",
        marks: Mapping[str, float] = MARKS,
        *,
        in_conversation: bool = True,
    ) -> None:
        usage = Usage.of_text(input_tokens=30, cached_tokens=20, output_tokens=7)
        response = _response(f"resp_{name}", ending, usage)
        self.trace.sent(wire.ResponseDone(response=response), at_s)
        self.trace.answered(
            Answer(
                f"resp_{name}", f"item_{name}", turn, "words", modality, in_conversation, False,
                ending, end_s, dict(marks),
            ),
            at_s,
        )  # fmt: skip

    def hear_until(self, at_s: float) -> None:
        self.trace.heard(SECOND, 24_000, at_s)


def _response(name: str, ending: StatusDetails, usage: Usage | None = None) -> Response:
    return Response(
        id=name,
        status=ending.type,
        conversation_id="conv_1",
        output_modalities=("audio",),
        max_output_tokens="inf",
        usage=usage,
    )


def test_a_turn_has_its_stages_with_their_times_and_ends_after_its_playback() -> None:
    call = Reported()
    call.turn("turn_1", 2.0)
    call.trace.said("item_1", SECOND, 24_000, (), 2.321)
    call.trace.said("item_1", SECOND, 24_000, (), 2.4)
    call.answer("turn_1", 2.5)
    (turn,) = call.root.inside
    (reply,) = turn.find("reply")
    assert turn.times() == {
        "speech": (1000, 2000),
        "pause": (2000, 2040),
        "ear": (2040, 2140),
        "endpoint": (2000, 2320),
        "reply": (2140, None),
    }
    call.hear_until(4.3)
    assert reply.end_s is None
    call.hear_until(4.33)
    assert reply.end_s == pytest.approx(4.321)
    assert reply.times() == {
        "first_token": (2140, 2200),
        "first_clause": (2200, 2260),
        "first_audio": (2260, 2290),
        "released": (2290, 2321),
        "playback": (2321, 4321),
    }
    assert reply.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.output.type": "speech",
        "gen_ai.response.id": "resp_1",
        "gen_ai.response.finish_reasons": ["completed"],
        "gen_ai.conversation.id": "conv_1",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "duplex.response.resumed": False,
        "duplex.response.in_conversation": True,
    }
    assert turn.end_s is None  # a function's result may still bring more
    call.hear_until(9.4)
    assert turn.end_s == pytest.approx(4.321)
    assert call.root.end_s is None  # long before the call's end


def test_an_interrupted_reply_ends_where_the_caller_stopped_hearing_it() -> None:
    call = Reported()
    call.turn("turn_1", 2.0)
    call.trace.said("item_1", SECOND, 24_000, (), 2.3)
    call.trace.said("item_1", SECOND, 24_000, (), 2.3)
    call.trace.cut("item_1", 0.5, "", 2.8)
    call.answer("turn_1", 2.8, ending=TURN_DETECTED)
    call.turn("turn_2", 4.0)
    call.trace.said("item_2", SECOND, 24_000, (), 4.3)
    call.answer("turn_2", 4.4, 4.0, "2")
    first, second = call.root.inside
    (reply,) = first.find("reply")
    assert reply.end_s == pytest.approx(2.8)
    assert reply.attributes["gen_ai.response.finish_reasons"] == ["turn_detected"]
    assert first.end_s == pytest.approx(2.8)
    assert not reply.error
    assert second.find("reply")[0].times()["released"] == (4290, 4321)
    call.trace.ended("hung_up", 4.5)
    assert second.find("playback")[0].end_s == pytest.approx(4.5)
    assert (call.root.end_s, call.root.error) == (4.5, "")
    assert call.root.attributes == {"duplex.call.ending": "hung_up", "duplex.call.turns": 2}


def test_the_reply_to_a_functions_result_belongs_to_the_turn() -> None:
    call = Reported()
    call.turn("turn_1", 2.0)
    function = FunctionCall(id="f", name="weather", call_id="call_1", arguments="{}")
    done = wire.OutputItemDone(response_id="resp_1", output_index=0, item=function)
    call.trace.sent(done, 2.3)
    call.answer("turn_1", 2.4, marks={"pause": 40.0, "ear": 140.0, "released": 321.0})
    call.hear_until(30)  # it is slow
    output = FunctionCallOutput(id="o", call_id="call_1", output="rain")
    call.trace.sent(wire.ItemAdded(item=output, previous_item_id=None), 31)
    call.hear_until(33)
    started = wire.ResponseCreated(response=_response("resp_2", COMPLETED))
    call.trace.sent(started, 33)
    call.hear_until(60)  # so is the brain
    call.answer("turn_1", 60, 33.0, "2", marks={"first_token": 20.0, "released": 30.0})
    (turn,) = call.root.inside
    (tool,) = turn.find("execute_tool weather")
    assert (tool.start_s, tool.end_s) == (2.3, 31)
    assert tool.attributes["gen_ai.tool.name"] == "weather"
    assert len(turn.find("reply")) == 2
    assert len(turn.find("ear")) == 1
    call.hear_until(70)
    assert turn.end_s == 60


def test_what_fails_is_an_error_and_its_message_stays_out() -> None:
    call = Reported()
    call.turn("turn_1", 2.0)
    call.answer("turn_1", 2.5, ending=failed("it quotes the caller"))
    call.trace.ended("fault", 3)
    assert [reply.error for reply in call.root.find("reply")] == ["server_error"]
    assert call.root.error == "fault"
    assert "quotes" not in str(call.root)


def test_what_is_taken_back_says_so_and_is_not_counted() -> None:
    call = Reported()
    call.turn("turn_1", 2.0)
    call.trace.said("item_1", SECOND, 24_000, (), 2.3)
    call.trace.cut("item_1", 0.1, "", 2.4)
    call.answer("turn_1", 2.4, ending=TURN_DETECTED)
    call.trace.taken_back("item_1", 2.4)
    call.trace.taken_back("turn_1", 2.4)
    call.turn("turn_2", 5.0)
    call.trace.ended("hung_up", 6)
    first, second = call.root.find("turn")
    assert first.attributes["duplex.taken_back"] is True
    assert "duplex.taken_back" not in second.attributes
    assert call.root.attributes["duplex.call.turns"] == 1


def test_replies_without_a_turn_stand_beside_the_turns() -> None:
    call = Reported()
    call.trace.said("item_1", SECOND, 24_000, (), 0.2)
    call.answer(None, 0.3, 0.1, marks={"first_audio": 50.0, "released": 60.0})
    marks = {"first_token": 50.0, "released": 60.0}
    call.answer("turn_9", 0.5, 0.4, "2", modality="text", marks=marks, in_conversation=False)
    assert [each.name for each in call.root.inside] == ["reply", "reply"]
    assert call.root.inside[1].end_s == 0.5
    call.trace.ended("hung_up", 9)
    assert call.root.inside[0].end_s == pytest.approx(1.2)
