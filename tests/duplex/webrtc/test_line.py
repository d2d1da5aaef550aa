"""What passes between the data channel, the track and the session."""

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from duplex.protocol import client_events, server_events
from duplex.protocol.response_types import Response
from duplex.protocol.session_config import Pcm, Pcmu, SessionConfig
from duplex.webrtc.line import Action, ToClient, ToSession, WebRtcLine, beginning
from duplex.webrtc.playout import FRAME_SAMPLES

FRAME = bytes([1, 0]) * FRAME_SAMPLES


@pytest.fixture
def line() -> WebRtcLine:
    numbers = itertools.count(1)
    return WebRtcLine(lambda kind: f"{kind}_{next(numbers)}")


def told(actions: Sequence[Action]) -> list[dict[str, Any]]:
    return [json.loads(action.text) for action in actions if isinstance(action, ToClient)]


def types(actions: Sequence[Action]) -> list[str]:
    return [event["type"] for event in told(actions)]


def asked(actions: Sequence[Action]) -> list[client_events.ClientEvent]:
    return [action.event for action in actions if isinstance(action, ToSession)]


def response(status: Any = "in_progress") -> Response:
    return Response(
        id="resp_1",
        status=status,
        max_output_tokens="inf",
        conversation_id="conv_1",
        output_modalities=("audio",),
    )


def speak(line: WebRtcLine, frames: int) -> None:
    line.handle_server_event(server_events.ResponseCreated(response=response()))
    delta = server_events.OutputAudioDelta(
        response_id="resp_1", item_id="item_1", delta=FRAME * frames
    )
    assert line.handle_server_event(delta) == []


def started() -> server_events.SpeechStarted:
    return server_events.SpeechStarted(item_id="item_2", audio_start_ms=5)


def test_the_sound_of_a_reply_is_played_and_its_beginning_and_end_told(line: WebRtcLine) -> None:
    speak(line, 2)
    audio, actions = line.frame()
    assert audio == FRAME
    assert told(actions) == [
        {
            "type": "output_audio_buffer.started",
            "event_id": told(actions)[0]["event_id"],
            "response_id": "resp_1",
        }
    ]
    done = server_events.ResponseDone(response=response("completed"))
    assert types(line.handle_server_event(done)) == ["response.done"]
    audio, actions = line.frame()
    assert audio == FRAME
    assert types(actions) == ["output_audio_buffer.stopped"]


def test_an_interruption_clears_and_cuts_to_what_was_heard(line: WebRtcLine) -> None:
    speak(line, 50)
    for _ in range(10):
        line.frame()
    actions = line.handle_server_event(started())
    assert types(actions) == ["input_audio_buffer.speech_started", "output_audio_buffer.cleared"]
    (cut,) = asked(actions)
    assert isinstance(cut, client_events.ItemTruncate)
    assert (cut.item_id, cut.audio_end_ms) == ("item_1", 200)
    assert line.frame() == (bytes(len(FRAME)), ())


@pytest.mark.parametrize("reckoned_ms", [190, 200])
def test_a_cut_is_told_once_and_as_it_was_heard(line: WebRtcLine, reckoned_ms: int) -> None:
    speak(line, 50)
    for _ in range(10):
        line.frame()
    line.handle_server_event(started())

    def cut(at_ms: int) -> list[dict[str, Any]]:
        event = server_events.ItemTruncated(item_id="item_1", content_index=0, audio_end_ms=at_ms)
        return told(line.handle_server_event(event))

    (event,) = [*cut(reckoned_ms), *cut(200)]
    assert (event["type"], event["audio_end_ms"]) == ("conversation.item.truncated", 200)
    own = {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0}
    line.receive(json.dumps({**own, "audio_end_ms": 100}))
    assert [event["audio_end_ms"] for event in cut(100)] == [100], (
        "what the client asks is answered"
    )


@pytest.mark.parametrize("kind", [server_events.SessionCreated, server_events.SessionUpdated])
def test_a_session_that_is_not_interrupted_plays_on(
    line: WebRtcLine, kind: Callable[..., server_events.ServerEvent]
) -> None:
    detection = {"turn_detection": {"interrupt_response": False}}
    session = SessionConfig().merge({"audio": {"input": detection}}).to_dict()
    line.handle_server_event(kind(session=session))
    speak(line, 2)
    assert types(line.handle_server_event(started())) == ["input_audio_buffer.speech_started"]
    assert line.frame()[0] == FRAME


def test_the_client_clears_what_it_does_not_want_to_hear(line: WebRtcLine) -> None:
    speak(line, 50)
    line.frame()
    actions = line.receive('{"type": "output_audio_buffer.clear", "event_id": "mine"}')
    assert types(actions) == ["output_audio_buffer.cleared"]
    cancel, cut = asked(actions)
    assert isinstance(cancel, client_events.ResponseCancel)
    assert isinstance(cut, client_events.ItemTruncate)
    assert (cancel.response_id, cut.audio_end_ms) == ("resp_1", 20)
    more = server_events.OutputAudioDelta(response_id="resp_1", item_id="item_1", delta=FRAME)
    assert line.handle_server_event(more) == []
    assert line.frame()[0] == bytes(len(FRAME)), "what was on its way is not heard"


def test_errors_of_what_the_line_asked_are_not_the_clients(line: WebRtcLine) -> None:
    speak(line, 5)
    (cancel, _) = asked(line.receive('{"type": "output_audio_buffer.clear"}'))
    ours = server_events.server_error("no such response", event_id=cancel.event_id)
    assert line.handle_server_event(ours) == []
    assert types(line.handle_server_event(server_events.server_error("other"))) == ["error"]


def test_a_clear_when_nothing_sounds_does_nothing(line: WebRtcLine) -> None:
    assert line.receive('{"type": "output_audio_buffer.clear"}') == []


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        b"\xff",
        '{"type": "output_audio_buffer.clear", "event_id": 5}',
        '{"type": "no.such.event"}',
        '{"type": "session.update"}',
        '{"type": "session.update", "session": {"a": ' + "[" * 9000 + "]" * 9000 + "}}",
    ],
)
def test_what_cannot_be_read_is_answered(line: WebRtcLine, message: str | bytes) -> None:
    actions = line.receive(message)
    assert types(actions) == ["error"]
    assert asked(actions) == []


def test_events_pass_without_what_the_transport_decides(line: WebRtcLine) -> None:
    session = {
        "instructions": "Hi",
        "audio": {
            "input": {"format": {"type": "audio/pcmu"}, "turn_detection": None},
            "output": {"format": {"type": "audio/pcmu"}, "voice": "default"},
        },
        "duplex": {"resume": True, "metrics": True},
    }
    message = json.dumps({"type": "session.update", "session": session})
    (update,) = asked(line.receive(message))
    assert isinstance(update, client_events.SessionUpdate)
    assert update.session == {
        "instructions": "Hi",
        "audio": {"input": {"turn_detection": None}, "output": {"voice": "default"}},
        "duplex": {"metrics": True},
    }
    audio = {"output": {"format": {"type": "audio/pcma"}, "voice": "x"}}
    message = json.dumps({"type": "response.create", "response": {"audio": audio}})
    (create,) = asked(line.receive(message))
    assert isinstance(create, client_events.ResponseCreate)
    assert create.response.audio.output.format is None
    assert create.response.audio.output.voice == "x"


@pytest.mark.parametrize("audio", [5, [], {"input": 5}, {"output": None}])
def test_a_session_of_an_odd_form_is_left_to_be_refused(line: WebRtcLine, audio: object) -> None:
    message = json.dumps({"type": "session.update", "session": {"audio": audio}})
    (update,) = asked(line.receive(message))
    assert isinstance(update, client_events.SessionUpdate)
    assert update.session == {"audio": audio}


def test_a_call_begins_with_pcm_whatever_its_secret_says() -> None:
    update = {
        "audio": {
            "input": {"format": {"type": "audio/pcmu"}},
            "output": {"format": {"type": "audio/pcmu"}},
        },
        "duplex": {"resume": True},
    }
    session = SessionConfig().merge(update)
    assert session.audio.input.format == Pcmu()
    began = beginning(session)
    assert (began.audio.input.format, began.audio.output.format) == (Pcm(), Pcm())
    assert not began.duplex.resume
