"""What a person sees of a conversation, and what is kept."""

import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from client.realtime import SessionOptions
from client.talk import FAILED, OK, USAGE, TalkOptions, talk
from duplex.audio.files import read_sound, write_wav

MARKS = {
    "pause": 100.0,
    "ear": 180.0,
    "first_token": 260.0,
    "first_clause": 300.0,
    "first_audio": 380.0,
    "endpoint": 310.0,
    "released": 390.0,
}


@pytest.fixture
def question(lab, tmp_path):
    path = tmp_path / "question.wav"
    write_wav(path, lab.tone(400)[::2], 12_000)  # another rate
    return path


def spoken(lab, server, options) -> tuple[int, str]:
    out = io.StringIO()

    async def scenario():
        async with lab.running(server):
            return await talk(options(server.url), out)

    return lab.run(scenario()), out.getvalue()


def test_two_turns_are_shown_measured_and_saved(lab, question, tmp_path):
    server = lab.FakeServer(answer=lab.tone(900), delay_ms=400, marks=MARKS)
    save, picture = tmp_path / "answer.wav", tmp_path / "timeline.svg"
    code, text = spoken(
        lab,
        server,
        lambda url: TalkOptions(
            url, [question, question], save, picture, session=SessionOptions(duplex=True)
        ),
    )
    assert code == OK
    lines = text.splitlines()
    assert lines[0] == "      you> question 0"
    assert lines[1] == "assistant> answer 0"
    assert lines[2].startswith(
        "  [endpoint 310 | ear 180 | first token 260 | first clause 300 | first audio 380 | "
        "voice-to-voice 40"
    )
    assert lines[3] == "      you> question 1"
    heard, rate = read_sound(save)
    assert rate == 24_000
    loud = np.flatnonzero(np.abs(heard) > 0.4)
    assert len(loud) == pytest.approx(2 * 0.9 * 24_000, abs=2)
    root = ET.fromstring(picture.read_text())
    words = " ".join(root.itertext())
    assert "turn 2" in words
    assert "first clause 300" in words
    assert "“answer 1”" in words


def test_without_marks_the_events_are_told(lab, question):
    server = lab.FakeServer(answer=lab.tone(300))
    code, text = spoken(lab, server, lambda url: TalkOptions(url, [question]))
    assert code == OK
    assert "turn over 2" in text
    assert "answer begun 2" in text
    assert not any("duplex" in event.get("session", {}) for _, event in server.received)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"capacity": 0}, "error: .* does not take the call: all lines are busy"),
        ({"hang_up_after": 10}, "error: the server ended the call: the machine is on fire"),
        ({"mute": True}, "  ! no answer within 20 s"),
    ],
)
def test_failures_are_told_in_words(lab, question, change, words):
    server = lab.FakeServer(answer=lab.tone(300), **change)
    code, text = spoken(lab, server, lambda url: TalkOptions(url, [question]))
    assert code == FAILED
    assert re.search(words, text)
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.wav", None, "cannot read .*missing.wav: No such file"),
        ("text.wav", b"hello, this is no sound", "text.wav: not a sound file"),
    ],
)
def test_unusable_recordings(lab, tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    server = lab.FakeServer(answer=lab.tone(300))
    code, text = spoken(lab, server, lambda url: TalkOptions(url, [path]))
    assert code == USAGE
    assert re.search(words, text)
    assert server.received == []


def test_a_silent_recording(lab, tmp_path):
    path = tmp_path / "quiet.wav"
    write_wav(path, np.zeros(24_000, dtype=np.float32), 24_000)
    server = lab.FakeServer(answer=lab.tone(300))
    code, text = spoken(lab, server, lambda url: TalkOptions(url, [path]))
    assert code == USAGE
    assert "quiet.wav: no speech in it" in text


def test_a_place_that_cannot_be_written(lab, question, tmp_path):
    server = lab.FakeServer(answer=lab.tone(300))
    save = tmp_path / "no" / "answer.wav"
    code, text = spoken(lab, server, lambda url: TalkOptions(url, [question], save))
    assert code == USAGE
    assert f"error: cannot write {save}: No such file or directory" in text
    assert server.received == [], "told before the conversation, not after it"
