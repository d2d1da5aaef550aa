"""What receivers are told of a call, and who is told what."""

import json
from typing import Any

import pytest

from duplex import Server
from duplex.config import Config, WebhookConfig, load_config
from duplex.dialogue.observers import Answer, CallInfo, TurnEnd
from duplex.errors import ConfigError
from duplex.metrics import Metrics
from duplex.protocol import server_events as wire
from duplex.protocol.items import FunctionCall
from duplex.protocol.response_stream import COMPLETED
from duplex.protocol.response_types import Response, Usage
from duplex.protocol.session_config import SessionConfig
from duplex.webhooks.events import Recording
from duplex.webhooks.hooks import Webhooks
from tests._support.receiver import SECRET, Receiver, receiving

PHONE = CallInfo(
    "call-7", 1e9, "alice", "twilio", "twilio", SessionConfig(), caller="+1555", called="+1666"
)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUPLEX_WEBHOOK_SECRET", SECRET)


def done(status: str = "completed") -> wire.OutputItemDone:
    item = FunctionCall(id="f", status=status, name="book", call_id="c1", arguments='{"day":"Mon"}')  # type: ignore[arg-type]
    return wire.OutputItemDone(response_id="r", output_index=0, item=item)


async def hold_a_call(webhooks: Webhooks, info: CallInfo = PHONE) -> None:
    call = webhooks.observe(info)
    assert call is not None
    for turn in ("turn_1", "turn_2"):
        call.turn_ended(TurnEnd(turn, 0, 16_000, 1.0), 1.3)
        call.understood(turn, "Book me in.", 1.4)
    call.taken_back("turn_1", 1.5)
    call.sent(done("incomplete"), 2)  # it was cut off: nobody is to obey it
    call.sent(done(), 2)
    usage = Usage.of_text(input_tokens=30, cached_tokens=20, output_tokens=7)
    for number in range(2):
        response = Response(
            id=f"resp_{number}",
            status="completed",
            conversation_id="conv_1",
            output_modalities=("audio",),
            max_output_tokens="inf",
            usage=usage,
        )
        call.sent(wire.ResponseDone(response=response), 2.5)
        answer = Answer(
            f"resp_{number}", "i", "turn_2", "Done.", "audio", not number, False, COMPLETED, 1.0,
            {"ear": 90.0},
        )  # fmt: skip
        call.answered(answer, 2.5)
    call.ended("hung_up", 3.25)


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in receiver.requests]


@pytest.mark.realtime
async def test_a_call_is_told_from_its_beginning_to_its_end() -> None:
    async with receiving() as receiver:
        webhooks = Webhooks(Config(webhooks=(WebhookConfig(url=receiver.url),)), Metrics())
        async with webhooks.running():
            await hold_a_call(webhooks)
    told = bodies(receiver)
    assert [each["type"] for each in told] == ["call.started", "call.function_called", "call.ended"]
    started, function, ended = told
    call = started["data"]["call"]
    assert call["id"].startswith("call_")
    assert {each["data"]["call"]["id"] for each in told} == {call["id"]}
    assert call | {"id": ""} == {
        "id": "",
        "log_id": "call-7",
        "key": "alice",
        "line": {"kind": "phone", "provider": "twilio", "caller": "+1555", "called": "+1666"},
        "started_at": "2001-09-09T01:46:40.000+00:00",
    }
    assert started["object"] == "event"
    assert started["created_at"] == 10**9
    assert started["timestamp"] == call["started_at"]
    for each, request in zip(told, receiver.requests, strict=True):
        assert each["id"] == request.headers["webhook-id"]
    assert function["data"]["function"] == {
        "name": "book",
        "arguments": '{"day":"Mon"}',
        "call_id": "c1",
    }
    del ended["data"]["call"]
    assert ended["data"] == {
        "ended_at": "2001-09-09T01:46:43.250+00:00",
        "duration_s": 3.25,
        "reason": "hung_up",
        "turns": 1,
        "responses": 2,
        "usage": {"input_tokens": 60, "cached_tokens": 40, "output_tokens": 14},
    }


@pytest.mark.realtime
async def test_each_address_is_told_what_it_wants_and_words_only_if_asked() -> None:
    async with receiving() as turns, receiving() as ends:
        wanted = (
            WebhookConfig(url=turns.url, events=("call.turn_ended",)),
            WebhookConfig(url=ends.url, events=("call.ended",)),
        )
        webhooks = Webhooks(Config(webhooks=wanted), Metrics())
        async with webhooks.running():
            await hold_a_call(webhooks)
    (turn,) = bodies(turns)
    assert turn["data"]["words"] == "Book me in."
    assert turn["data"]["answer"] == {
        "response_id": "resp_0",
        "words": "Done.",
        "status": "completed",
        "marks_ms": {"ear": 90.0},
    }
    assert [each["type"] for each in bodies(ends)] == ["call.ended"]
    assert b"Book me" not in ends.requests[0].body


@pytest.mark.realtime
async def test_a_recording_is_told_with_the_name_of_its_call() -> None:
    async with receiving() as receiver:
        webhooks = Webhooks(Config(webhooks=(WebhookConfig(url=receiver.url),)), Metrics())
        async with webhooks.running():
            await hold_a_call(webhooks)
            webhooks.recorded(PHONE, Recording("20010909T014640Z-call-7-abc", 3.25))
    started, *_, recorded = bodies(receiver)
    assert recorded["type"] == "call.recorded"
    assert recorded["data"] == {
        "call": started["data"]["call"],
        "recording": {"id": "20010909T014640Z-call-7-abc", "duration_s": 3.25},
    }


@pytest.mark.parametrize("client", ["websocket", "webrtc"])
@pytest.mark.realtime
async def test_the_line_says_what_the_call_comes_over(client: str) -> None:
    info = CallInfo("call-1", 1e9, "", client, "127.0.0.1", SessionConfig())
    async with receiving() as receiver:
        webhooks = Webhooks(Config(webhooks=(WebhookConfig(url=receiver.url),)), Metrics())
        async with webhooks.running():
            webhooks.observe(info)
    (started,) = bodies(receiver)
    assert started["data"]["call"]["line"] == {"kind": client}


@pytest.mark.parametrize("value", ["", "whsec_short", "geheim"])
def test_a_secret_that_is_none_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HOOK", value)
    config = Config(webhooks=(WebhookConfig(url="https://example.org", secret_env="HOOK"),))
    with pytest.raises(ConfigError, match=r"webhooks: .*HOOK") as error:
        Server(config)  # before any model is loaded
    assert not value or value not in str(error.value)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("secret = 'x'\nurl = 'https://a.example'", "has no option 'secret'"),
        ("", "[webhooks[0]] needs the option 'url'"),
        ("url = 'ftp://a.example'", "does not begin with https://"),
        ("url = 'https:///path'", "does not begin with https://"),
        (
            "url = 'https://a.example'\nevents = ['call.start']",
            "webhooks[0].events[0] is 'call.start' and may be 'call.started'",
        ),
    ],
)
def test_a_wrong_table_is_told_by_name(tmp_path: Any, table: str, told: str) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text(f"[[webhooks]]\n{table}\n")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert told in str(error.value)
