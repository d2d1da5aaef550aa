"""What a caller makes of a server's events, whatever the server sends."""

import base64
import json

import numpy as np
import pytest

from client.caller.caller import Caller, CallOptions, Utterance, hold_call
from client.caller.listener import Listener
from client.caller.turns import Span, measure
from client.realtime import SAMPLE_RATE_HZ, SessionOptions, connect
from client.sound.speech import Recording
from duplex.audio.formats import encode_pcm16

MS = SAMPLE_RATE_HZ // 1000
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def recording(lab, duration_ms=1000):
    return Recording("q", "hello there", lab.tone(duration_ms))


def play(listener, response_id, item_id, duration_ms, at_ms, **metadata):
    """An answer that arrives all at once."""
    response = {"id": response_id, "metadata": metadata or None}
    listener.receive({"type": "response.created", "response": response}, at_ms * MS)
    audio = base64.b64encode(encode_pcm16(np.full(duration_ms * MS, 0.5, np.float32))).decode()
    ids = {"response_id": response_id, "item_id": item_id}
    delta = {"type": "response.output_audio.delta", "delta": audio, **ids}
    listener.receive(delta, at_ms * MS)
    done = {"type": "response.done", "response": {"id": response_id, "status": "completed"}}
    listener.receive(done, at_ms * MS)


def span(said, at_ms, listener):
    start = at_ms * MS
    end = start + len(said.samples)
    counts = len(listener.inputs), len(listener.responses), len(listener.errors)
    return Span(said, start, end, start, end - 1, True, *counts)


@pytest.mark.parametrize(
    "event",
    [
        {"type": f"{TRANSCRIPTION}.completed", "item_id": "a", "transcript": None},
        {"type": f"{TRANSCRIPTION}.delta", "item_id": "a", "delta": None},
        {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": None},
        {"type": "response.output_audio_transcript.delta", "response_id": "r", "delta": None},
        {"type": "response.done", "response": {"id": "r", "status": None}},
        {"type": "duplex.turn_metrics", "response_id": "r", "marks": {"ear": None}},
        {"type": "error", "error": "boom"},
        {"type": None},
        {},
    ],
)
def test_what_a_server_leaves_out_breaks_nothing(lab, event):
    caller = Caller([Utterance(recording(lab))], CallOptions())
    for _ in range(20):
        caller.microphone.take()
        caller.tick()
    caller.listener.receive({"type": "input_audio_buffer.committed", "item_id": "a"}, 30_000)
    assert caller.listener.receive(event, 40_000) == []
    (turn,) = caller.results()
    assert turn.transcript == turn.answer == ""
    assert turn.marks == {}
    made = list(caller.listener.responses.values())
    assert [response.status for response in made if event["type"] == "response.done"] in (
        [],
        ["completed"],
    )


@pytest.mark.parametrize(
    "event",
    [
        {"type": 7},
        {"type": "response.created", "response": "r"},
        {"type": "input_audio_buffer.committed", "item_id": {}},
        {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": 5},
    ],
)
def test_what_is_no_event_costs_the_call_and_not_the_run(lab, event):
    async def handler(websocket):
        await websocket.send('{"type": "session.created", "session": null}')
        async for message in websocket:
            if json.loads(message)["type"] == "session.update":
                await websocket.send('{"type": "session.updated"}')
                await websocket.send(json.dumps(event))

    async def scenario():
        async with lab.listening(handler) as url:
            return await hold_call(await connect(url), [Utterance(recording(lab))], CallOptions())

    assert "the server sent what is no event" in lab.run(scenario()).lost


def test_a_server_that_only_keeps_the_line_alive_does_not_answer(lab):
    caller = Caller([Utterance(recording(lab))], CallOptions(answer_timeout_s=5))
    chunks = 0
    kinds = ("ping", "rate_limits.updated", "input_audio_buffer.speech_started")
    while not caller.finished and chunks < 50 * 60:
        caller.microphone.take()
        chunks += 1
        if chunks % 100 == 0:
            event = {"type": kinds[chunks // 100 % 3], "item_id": "u"}
            caller.listener.receive(event, caller.microphone.position)
        caller.tick()
    assert caller.finished
    assert caller.results()[0].errors == ("no answer within 5 s",)


def test_an_answer_that_ends_by_itself_is_no_missed_stop(lab):
    listener = Listener()
    play(listener, "r", "a", 2000, 0)
    late = span(recording(lab), 1990, listener)
    early = span(recording(lab), 1400, listener)
    listener.receive({"type": "input_audio_buffer.speech_started", "item_id": "u"}, 2190 * MS)
    assert measure(late, listener).ended_by_itself
    assert not measure(early, listener).ended_by_itself  # the server had 600 ms


def test_an_answer_that_goes_on_is_no_answer_to_an_interruption(lab):
    listener = Listener()
    play(listener, "r1", "a", 4000, 0)
    said = span(recording(lab), 1000, listener)
    listener.receive({"type": "input_audio_buffer.speech_started", "item_id": "u"}, 1200 * MS)
    listener.receive({"type": "input_audio_buffer.committed", "item_id": "u"}, 2100 * MS)
    play(listener, "r2", "b", 2000, 2300, duplex_resumes="r1")
    turn = measure(said, listener)
    assert turn.v2v_ms is None
    assert turn.created_ms is None
    assert turn.resume_gap_ms == pytest.approx(2300 - 1200, abs=1)
    play(listener, "r3", "c", 500, 4300)
    assert measure(said, listener).v2v_ms == pytest.approx(4300 - 2000, abs=1)


def test_who_only_hears_the_old_answer_again_waits_for_the_new_one(lab):
    lines = [Utterance(recording(lab, 200)), Utterance(recording(lab, 200), interrupt_after_ms=300)]
    caller = Caller(lines, CallOptions(SessionOptions(transcription_model=None)))
    listener, resumed = caller.listener, False
    while not caller.finished and caller.microphone.position < 60 * SAMPLE_RATE_HZ:
        caller.microphone.take()
        now = caller.microphone.position
        if now == 800 * MS:
            play(listener, "r1", "a", 4000, 800)
        if len(caller.spans) == 2 and not resumed and now > caller.spans[1].end:
            resumed = True
            listener.receive({"type": "input_audio_buffer.speech_started", "item_id": "u"}, now)
            listener.receive({"type": "input_audio_buffer.speech_stopped", "item_id": "u"}, now)
            play(listener, "r2", "b", 500, now // MS, duplex_resumes="r1")
        caller.tick()
    assert resumed
    assert caller.results()[1].errors == ("no answer within 20 s",)


def test_all_that_is_cut_is_truncated(lab):
    listener = Listener()
    play(listener, "r1", "a", 1000, 0)
    play(listener, "r2", "b", 1000, 0)
    told = listener.receive({"type": "input_audio_buffer.speech_started", "item_id": "u"}, 500 * MS)
    assert [(event["item_id"], event["audio_end_ms"]) for event in told] == [("a", 500), ("b", 0)]
