"""Server events in; what sounds, what the server is told and what the caller reads out."""

import base64

import numpy as np
import pytest

from client.live.conversation import Conversation
from client.live.loudspeaker import Loudspeaker
from duplex.audio.formats import encode_pcm16


def audio(item: str, count: int, response: str = "r1") -> dict:
    delta = base64.b64encode(encode_pcm16(np.full(count, 0.5))).decode()
    ids = {"response_id": response, "item_id": item}
    return {"type": "response.output_audio.delta", "delta": delta, **ids}


def created(response: str = "r1", **fields) -> dict:
    return {"type": "response.created", "response": {"id": response, **fields}}


def done(response: str = "r1", status: str = "completed", **fields) -> dict:
    return {"type": "response.done", "response": {"id": response, "status": status, **fields}}


def metrics(response: str = "r1", **marks: float) -> dict:
    return {"type": "duplex.turn_metrics", "response_id": response, "marks_ms": marks}


def answered(*events: dict, latency_samples: int = 0) -> Conversation:
    call = Conversation(Loudspeaker(latency_samples), speech_end_s=2.0)
    for event in ({"type": "input_audio_buffer.committed"}, *events):
        assert call.receive(event) == []
    return call


def test_a_turn_is_reported_once_it_is_heard():
    call = answered(created(), audio("a", 2400), metrics(endpoint=310, first_audio=500), done())
    assert call.reports() == [], "nothing has sounded yet"
    call.loudspeaker.take(480, at_s=2.64)
    assert call.reports() == ["  [endpoint 310 | first audio 500 | voice-to-voice 640 ms]"]
    assert call.reports() == []


def test_a_caller_who_speaks_stops_it_and_the_server_learns_what_was_heard():
    call = answered(created(), audio("a", 24_000), latency_samples=480)
    call.loudspeaker.take(2880, at_s=2.5)
    (truncate,) = call.receive({"type": "input_audio_buffer.speech_started", "item_id": "u"})
    assert truncate == {
        "type": "conversation.item.truncate",
        "item_id": "a",
        "content_index": 0,
        "audio_end_ms": 120,
    }
    assert not call.loudspeaker.take(480).any()
    call.receive(done(status="cancelled"))
    assert call.reports() == ["  [voice-to-voice 520 ms | interrupted]"]


def again(call: Conversation, *, at_s: float) -> list[str]:
    """Another answer, whose first sample is played at ``at_s``."""
    call.loudspeaker.take(24_000)
    for event in (created("r2"), audio("b", 480, "r2"), done("r2")):
        call.receive(event)
    call.loudspeaker.take(480, at_s=at_s)
    return call.reports()


@pytest.mark.parametrize("echo", [False, True])
def test_a_prompt_to_a_silent_caller_has_no_delay(echo):
    call = answered(created(), done())
    call.reports()
    if echo:  # of the answer, which the microphone took for speech
        call.speech_end_s = 3.0
    call.receive({"type": "input_audio_buffer.timeout_triggered", "item_id": "silence"})
    call.receive({"type": "input_audio_buffer.committed", "item_id": "silence"})
    assert again(call, at_s=12.0) == []


def test_each_turn_is_measured_from_its_own_speech():
    call = answered(created(), done())
    call.reports()
    call.receive({"type": "input_audio_buffer.committed", "item_id": "noise"})
    assert again(call, at_s=12.0) == [], "nothing was said since the turn before"
    call.speech_end_s = 13.0
    call.receive({"type": "input_audio_buffer.committed", "item_id": "said"})
    call.receive(created("r3"))
    call.receive(audio("c", 480, "r3"))
    call.receive(done("r3"))
    call.loudspeaker.take(480, at_s=13.5)
    assert call.reports() == ["  [voice-to-voice 500 ms]"]


def test_a_false_interruption_goes_on_without_a_delay_of_its_own():
    call = answered(created(), audio("a", 24_000))
    call.loudspeaker.take(2400, at_s=2.5)
    call.receive({"type": "input_audio_buffer.speech_started", "item_id": "u"})
    call.receive(done(status="cancelled"))
    call.reports()
    call.receive({"type": "input_audio_buffer.committed", "item_id": "u"})
    call.receive(created("r2", metadata={"duplex_resumes": "r1"}))
    call.receive(audio("rest of a", 480, "r2"))
    call.receive(done("r2"))
    assert call.loudspeaker.take(480).all()
    assert call.reports() == []


def test_stopping_by_key():
    call = answered(created(), audio("a", 24_000))
    assert call.answering
    call.loudspeaker.take(480)
    kinds = [event["type"] for event in call.stop_answer()]
    assert kinds == ["response.cancel", "conversation.item.truncate"]
    call.receive(done(status="cancelled"))
    assert not call.answering
    assert call.stop_answer() == []


def test_an_answer_that_was_sent_and_still_sounds_is_cut_without_a_cancel():
    call = answered(created(), audio("a", 24_000), done())
    call.loudspeaker.take(480)
    assert call.answering
    assert [event["type"] for event in call.stop_answer()] == ["conversation.item.truncate"]


def test_the_stages_that_come_after_the_end_are_waited_for():
    call = answered(created(), audio("a", 2400), done())
    call.expects_marks = True
    call.loudspeaker.take(480, at_s=2.64)
    assert call.reports() == []
    call.receive(metrics(endpoint=310))
    assert call.reports() == ["  [endpoint 310 | voice-to-voice 640 ms]"]
    call.speech_end_s = 2.5
    call.receive({"type": "input_audio_buffer.committed", "item_id": "u"})
    for event in (created("r2"), audio("b", 480, "r2"), done("r2")):
        call.receive(event)
    call.loudspeaker.take(2400, at_s=3.0)
    assert call.reports() == []
    call.receive({"type": "rate_limits.updated"})  # a server that tells no stages
    assert call.reports() == ["  [voice-to-voice 580 ms]"]


def test_an_answer_without_sound_is_reported_too():
    call = answered(created(), metrics(endpoint=310), done())
    assert call.reports() == ["  [endpoint 310]"]


def test_errors_in_words():
    failed = {"error": {"message": "the brain is gone"}}
    call = answered(created(), done(status="failed", status_details=failed))
    call.receive({"type": "error", "error": {"message": "no", "code": "bad"}})
    call.receive({"type": "error", "error": {"message": "-", "code": "response_cancel_not_active"}})
    call.receive({**audio("a", 1), "delta": "§"})
    assert call.notices[:2] == ["the answer failed: the brain is gone", "no (bad)"]
    assert call.notices[2].startswith("audio that cannot be decoded")
    assert len(call.notices) == 3
