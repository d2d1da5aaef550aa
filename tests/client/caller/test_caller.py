"""A caller against a scripted server: what is sent when, and what is measured."""

import numpy as np
import pytest

from client.caller.caller import CallOptions, CallResult, Utterance, hold_call
from client.realtime import CHUNK_SAMPLES, SAMPLE_RATE_HZ, SessionOptions, connect
from client.sound.speech import Recording


async def call(server, lines, **options) -> CallResult:
    client = await connect(server.url)
    return await hold_call(client, lines, CallOptions(**options))


def said(samples, name="q") -> Utterance:
    return Utterance(Recording(name, f"text of {name}", samples))


def ms(samples: int) -> float:
    return samples * 1000 / SAMPLE_RATE_HZ


@pytest.mark.parametrize("delay_ms", [250.0, 431.7, 1234.5])
@pytest.mark.parametrize("at", [1000, 1439, 1440, 2345])
def test_the_delay_of_a_click_is_measured_to_the_sample(lab, delay_ms, at):
    """The bench measures itself: the server answers at a known delay after the caller's click,
    with a known silence before its own."""
    lead = 777
    server = lab.FakeServer(answer=lab.click(lead, 12_000), delay_ms=delay_ms)

    async def scenario():
        async with lab.running(server):
            return await call(server, [said(lab.click(at, 4000))])

    (turn,) = lab.run(scenario()).turns
    assert turn.v2v_ms == pytest.approx(delay_ms + ms(lead), abs=0.1)
    assert turn.speech_end_ms == pytest.approx(300 + ms(at), abs=0.01)
    assert turn.cut_offs == 0
    assert turn.transcript == "question 0"
    assert turn.answer == "answer 0"
    assert turn.status == "completed"
    assert turn.errors == ()


def test_audio_is_sent_at_real_time_pace_without_drift(lab):
    server = lab.FakeServer(answer=lab.tone(3000))

    async def scenario():
        async with lab.running(server):
            return await call(server, [said(lab.tone(500)), said(lab.tone(700))])

    result = lab.run(scenario())
    times = [at for at, event in server.received if event["type"].endswith("append")]
    assert len(times) > 300
    first = times[0]
    for index, at in enumerate(times):
        assert at - first == pytest.approx(index * CHUNK_SAMPLES / SAMPLE_RATE_HZ, abs=1e-6)
    assert result.late_ms < 0.001


def test_the_caller_hears_the_answer_out_before_speaking_again(lab):
    server = lab.FakeServer(answer=lab.tone(2000), delay_ms=400)

    async def scenario():
        async with lab.running(server):
            lines = [said(lab.tone(500), "a"), said(lab.tone(500), "b")]
            return await call(server, lines, gap_ms=600)

    result = lab.run(scenario())
    first, second = result.turns
    heard_until_ms = first.speech_end_ms + 400 + 2000
    assert heard_until_ms + 600 <= second.speech_start_ms <= heard_until_ms + 600 + 41
    assert [turn.question_id for turn in result.turns] == ["a", "b"]
    assert [turn.transcript for turn in result.turns] == ["question 0", "question 1"]
    assert first.answer_ms == pytest.approx(2000)
    assert len(result.said) == len(result.heard)
    # the saved timeline holds the answer where it was heard
    at = round((first.speech_end_ms + first.v2v_ms) * SAMPLE_RATE_HZ / 1000)
    assert np.abs(result.heard[:at]).max() == 0
    assert np.abs(result.heard[at : at + 48_000]).min() > 0.4


def test_a_gap_in_the_answer_is_an_underrun(lab):
    server = lab.FakeServer(answer=lab.tone(500), pace=0.15)  # 100 ms pieces, 150 ms apart

    async def scenario():
        async with lab.running(server):
            return await call(server, [said(lab.tone(300))])

    (turn,) = lab.run(scenario()).turns
    assert turn.underruns == 4
    assert turn.answer_ms == pytest.approx(500)


def test_a_pause_that_the_server_takes_for_the_end_is_a_cut_off(lab):
    pause = np.zeros(round(0.35 * SAMPLE_RATE_HZ), dtype=np.float32)
    samples = np.concatenate([lab.tone(400), pause, lab.tone(400)])
    server = lab.FakeServer(answer=lab.tone(800), hangover_ms=200, delay_ms=500)

    async def scenario():
        async with lab.running(server):
            return await call(server, [said(samples)])

    (turn,) = lab.run(scenario()).turns
    assert turn.cut_offs == 1
    assert turn.v2v_ms == pytest.approx(500, abs=0.1)
    assert turn.transcript == "question 0 question 1"


def test_a_pause_shorter_than_the_hangover_is_none(lab):
    pause = np.zeros(round(0.15 * SAMPLE_RATE_HZ), dtype=np.float32)
    samples = np.concatenate([lab.tone(400), pause, lab.tone(400)])
    server = lab.FakeServer(answer=lab.tone(800), hangover_ms=200)

    async def scenario():
        async with lab.running(server):
            return await call(server, [said(samples)])

    assert lab.run(scenario()).turns[0].cut_offs == 0


def test_barge_in_truncates_what_was_not_heard(lab):
    server = lab.FakeServer(answer=lab.tone(5000))

    async def scenario():
        async with lab.running(server):
            lines = [
                said(lab.tone(500), "a"),
                Utterance(Recording("b", "", lab.tone(500)), interrupt_after_ms=1000),
            ]
            return await call(server, lines)

    first, second = lab.run(scenario()).turns
    assert second.interrupts
    assert second.interrupted
    assert first.answer_cut
    assert not second.answer_cut
    # The onset is in the first packet, which leaves 20 ms after the onset; the server tells.
    assert second.barge_in_ms == pytest.approx(20, abs=0.1)
    assert first.answer_ms == pytest.approx(1020 + 20, abs=20)
    assert second.answer_ms == pytest.approx(5000)
    (truncate,) = [e for _, e in server.received if e["type"] == "conversation.item.truncate"]
    assert truncate["audio_end_ms"] == int(first.answer_ms)
    assert truncate["item_id"].startswith("answer_")
    assert truncate["content_index"] == 0


def test_what_the_next_question_stops_was_not_stopped_by_what_was_said_before(lab):
    server = lab.FakeServer(answer=lab.tone(20_000))
    unnoticed = Recording("b", "", lab.tone(300) * 0.02)

    async def scenario():
        async with lab.running(server):
            lines = [
                said(lab.tone(500), "a"),
                Utterance(unnoticed, interrupt_after_ms=1000, backchannel=True),
                Utterance(Recording("c", "", lab.tone(500)), interrupt_after_ms=1000),
            ]
            return await call(server, lines)

    _, unnoticed_turn, stopping = lab.run(scenario()).turns
    assert unnoticed_turn.barge_in_ms is not None
    assert not unnoticed_turn.interrupted
    assert stopping.interrupted
    assert stopping.barge_in_ms == pytest.approx(20, abs=0.1)


def test_an_answer_too_short_to_interrupt_is_heard_out(lab):
    server = lab.FakeServer(answer=lab.tone(500))

    async def scenario():
        async with lab.running(server):
            lines = [
                said(lab.tone(500), "a"),
                Utterance(Recording("b", "", lab.tone(500)), interrupt_after_ms=1000),
            ]
            return await call(server, lines)

    _, second = lab.run(scenario()).turns
    assert not second.interrupts
    assert second.barge_in_ms is None


def test_a_server_that_never_answers_ends_the_turn_with_an_error(lab):
    server = lab.FakeServer(answer=lab.tone(500), mute=True)

    async def scenario():
        async with lab.running(server):
            return await call(server, [said(lab.tone(300))], answer_timeout_s=5)

    (turn,) = lab.run(scenario()).turns
    assert turn.v2v_ms is None
    assert turn.errors == ("no answer within 5 s",)


def test_a_lost_call_keeps_what_was_measured(lab):
    server = lab.FakeServer(answer=lab.tone(500), hang_up_after=150)

    async def scenario():
        async with lab.running(server):
            return await call(server, [said(lab.tone(300)), said(lab.tone(9000))])

    result = lab.run(scenario())
    assert result.lost == "the server ended the call: the machine is on fire (close code 1011)"
    assert result.turns[0].v2v_ms == pytest.approx(400, abs=0.1)
    assert result.turns[1].v2v_ms is None


def test_marks_are_kept_and_only_asked_for_when_told(lab):
    marks = {"ear": 120.0, "first_audio": 300.0}
    server = lab.FakeServer(answer=lab.tone(500), marks=marks, counts={"input_tokens": 7})

    async def scenario(duplex):
        async with lab.running(server):
            session = SessionOptions(duplex=duplex)
            return await call(server, [said(lab.tone(300))], session=session)

    assert lab.run(scenario(True)).turns[0].marks == marks
    assert lab.run(scenario(False)).turns[0].counts == {"input_tokens": 7}
    updates = [e["session"] for _, e in server.received if e["type"] == "session.update"]
    assert updates[0]["duplex"] == {"metrics": True, "thoughts": False}
    assert "duplex" not in updates[1]


def test_a_silent_recording_is_the_callers_mistake(lab):
    server = lab.FakeServer(answer=lab.tone(500))

    async def scenario():
        async with lab.running(server):
            await call(server, [said(np.zeros(24_000, dtype=np.float32))])

    with pytest.raises(ValueError, match="silent"):
        lab.run(scenario())
