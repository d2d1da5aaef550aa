"""The simulated end of Twilio's, by the frame; and a call with it to a real server."""

import base64
import json

import numpy as np
import pytest

from client.realtime import Refused, Unreachable
from client.telephone.channel import FRAME_SAMPLES, LINE_HZ, LineConditions, TelephoneChannel
from client.telephone.twilio import Misbehaviour, TwilioEnd, phone_call, phone_talk
from duplex.audio.formats import decode_ulaw, encode_ulaw
from tests._support.servers import scripted_server

TONE = (0.3 * np.sin(np.arange(LINE_HZ) * 0.3)).astype(np.float32)


def started() -> TwilioEnd:
    end = TwilioEnd({"assistant": "x"})
    end.start()
    return end


def media(end: TwilioEnd, samples: int) -> str:
    payload = base64.b64encode(encode_ulaw(TONE[:samples])).decode()
    return json.dumps(
        {"event": "media", "streamSid": end.stream_sid, "media": {"payload": payload}}
    )


def mark(end: TwilioEnd, name: str) -> str:
    return json.dumps({"event": "mark", "streamSid": end.stream_sid, "mark": {"name": name}})


def returned(messages: list[str]) -> list[str]:
    told = [json.loads(message) for message in messages]
    return [message["mark"]["name"] for message in told if message["event"] == "mark"]


def test_the_beginning_is_twilios():
    connected, start = map(json.loads, TwilioEnd({"assistant": "x"}).start())
    assert (connected["protocol"], connected["version"]) == ("Call", "1.0.0")
    assert start["sequenceNumber"] == "1"
    assert start["streamSid"] == start["start"]["streamSid"]
    assert start["start"]["customParameters"] == {"assistant": "x"}
    assert start["start"]["mediaFormat"] == {
        "encoding": "audio/x-mulaw",
        "sampleRate": 8000,
        "channels": 1,
    }


def test_the_caller_is_heard_in_frames_with_numbers_as_strings():
    end = started()
    end.say(TONE[: FRAME_SAMPLES + 1])
    told = [json.loads(message) for _ in range(3) for message in end.tick()]
    assert [message["event"] for message in told] == ["media"] * 3
    assert [message["media"]["chunk"] for message in told] == ["1", "2", "3"]
    assert [message["media"]["timestamp"] for message in told] == ["0", "20", "40"]
    audio = [base64.b64decode(message["media"]["payload"]) for message in told]
    assert audio[0] == encode_ulaw(TONE[:FRAME_SAMPLES])
    assert {len(frame) for frame in audio} == {FRAME_SAMPLES}
    assert set(audio[2]) == {0xFF}


def test_marks_come_back_when_the_audio_before_them_was_played():
    end = started()
    end.receive(media(end, 2 * FRAME_SAMPLES))
    end.receive(mark(end, "a"))
    end.receive(media(end, 10))
    end.receive(mark(end, "b"))
    assert [returned(end.tick()) for _ in range(4)] == [[], ["a"], ["b"], []]
    assert np.abs(end.heard()[: 2 * FRAME_SAMPLES] - TONE[: 2 * FRAME_SAMPLES]).max() < 0.02
    assert np.abs(end.heard()[2 * FRAME_SAMPLES + 10 :]).max() < 0.001
    end.receive(mark(end, "c"))  # behind nothing
    assert returned(end.tick()) == ["c"]


def test_clear_empties_the_buffer_and_brings_all_marks_back():
    end = started()
    end.receive(media(end, LINE_HZ))
    end.receive(mark(end, "a"))
    end.tick()
    end.receive(json.dumps({"event": "clear", "streamSid": end.stream_sid}))
    assert end.buffered_ms == 0
    assert returned(end.tick()) == ["a"]
    assert np.abs(end.heard(FRAME_SAMPLES)).max() < 0.001
    assert end.clears == [FRAME_SAMPLES]


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        '{"event":"clear"}',
        '{"event":"clear","streamSid":"other"}',
        '{"event":"response.created","streamSid":"MZ00000000000000000000000000000001"}',
        '{"event":"media","streamSid":"MZ00000000000000000000000000000001"}',
    ],
)
def test_what_closes_a_stream_is_noticed(message: str):
    with pytest.raises(Misbehaviour):
        started().receive(message)


def test_a_piece_of_what_was_heard():
    end = started()
    end.receive(media(end, 4 * FRAME_SAMPLES))
    for _ in range(5):
        end.tick()
    whole = end.heard()
    assert len(whole) == 5 * FRAME_SAMPLES
    for start, stop in ((0, None), (100, 500), (170, None), (330, 331)):
        assert np.array_equal(end.heard(start, stop), whole[start:stop])
    assert np.array_equal(end.heard(-200), whole[-200:])


@pytest.mark.realtime
async def test_a_conversation_over_the_telephone():
    async with scripted_server() as (url, engine):
        heard = await phone_talk(
            url.replace("/v1/realtime", "/twilio"), [TONE, TONE], LINE_HZ, None
        )
        (session,) = engine.sessions
        assert len(session.histories) == 2
        assert np.abs(heard).max() > 0.1


async def test_servers_that_take_no_calls_are_told_apart():
    async with scripted_server() as (url, _):
        with pytest.raises(Refused, match="404"):
            async with phone_call(url.replace("/v1/realtime", "/nowhere")):
                pass
    with pytest.raises(Unreachable):
        async with phone_call("ws://127.0.0.1:1/twilio"):
            pass


def test_a_bad_line_lies_between_the_caller_and_the_server():
    conditions = LineConditions(loss=0.0, jitter_ms=0.0, buffer_ms=40, noise_dbfs=None)
    end = TwilioEnd(uplink=TelephoneChannel(conditions), downlink=TelephoneChannel(conditions))
    end.start()
    end.say(TONE)
    end.receive(media(end, LINE_HZ // 2))
    sent = [json.loads(message)["media"]["payload"] for _ in range(30) for message in end.tick()]
    heard = end.heard()
    spoken = decode_ulaw(b"".join(map(base64.b64decode, sent)))
    for way, seconds in ((spoken, 0.56), (heard, 0.5)):
        assert np.abs(way[: 2 * FRAME_SAMPLES]).max() < 0.01  # 40 ms late
        assert (np.abs(way) > 0.01).sum() / LINE_HZ == pytest.approx(seconds, abs=0.04)
