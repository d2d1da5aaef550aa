"""The texts that come with the benchmark, and recordings made from them."""

import numpy as np
import pytest
import soundfile

from client.bench.questions import Question, load_questions, read_recordings, record
from client.sound.speech import longest_pause_ms, speech_bounds
from duplex.audio.files import write_wav


def test_the_sets_are_large_enough():
    sets = load_questions()
    assert len(sets.ordinary) >= 24
    assert len(sets.pauses) >= 10
    assert len(sets.dialogue) == 3
    assert len(sets.long) >= 5
    assert min(map(len, (sets.talkative, sets.interruptions, sets.backchannels))) >= 6
    into = [*sets.talkative, *sets.interruptions, *sets.backchannels]
    every = [*sets.ordinary, *sets.pauses, *sets.dialogue, *sets.long, *into]
    assert len({question.id for question in every}) == len(every)
    for question in every:
        assert len(question.pauses_ms) == len(question.parts) - 1
        assert question.text == " ".join(question.text.split())
    lengths = [len(question.text.split()) for question in sets.long]
    assert lengths == sorted(lengths)
    assert lengths[-1] > 8 * lengths[0]


@pytest.mark.parametrize("pauses", [(250,), (400, 600)])
def test_a_pause_lasts_as_long_as_it_should(lab, pauses):
    quiet = np.zeros(2000, dtype=np.float32)

    def speak(text: str) -> np.ndarray:
        return np.concatenate([quiet, lab.tone(100 * len(text)), quiet])

    question = Question("q", tuple("abc"[: len(pauses) + 1]), pauses)
    recording = record(question, speak)
    assert recording.text == " ".join(question.parts)
    assert longest_pause_ms(recording.samples) == pytest.approx(max(pauses), abs=10)
    bounds = speech_bounds(recording.samples)
    expected = (100 * len(question.parts) + sum(pauses)) * 24
    assert bounds.last_sample + 1 - bounds.first_sample == expected


def test_speech_without_a_pause_has_none(lab):
    assert longest_pause_ms(lab.tone(300)) == 0


def test_recordings_of_ones_own_are_read(lab, tmp_path):
    write_wav(tmp_path / "b.wav", lab.tone(100), 24_000)
    write_wav(tmp_path / "a.wav", lab.tone(300)[::3], 8000)
    (tmp_path / "a.txt").write_text("What is it?\n")
    (tmp_path / "backchannels").mkdir()
    write_wav(tmp_path / "backchannels" / "a.wav", lab.tone(60), 24_000)
    found = read_recordings(tmp_path)
    assert [item.text for item in found.ordinary] == ["What is it?", ""]
    assert [len(item.samples) for item in found.ordinary] == [7200, 2400]  # at 24 kHz
    assert [len(part) for part in (found.backchannels, found.pauses)] == [1, 0]
    assert len({item.id for item in found.all}) == 3


def test_recordings_come_in_several_formats_under_names_of_their_own(lab, tmp_path):
    for name in ("a.wav", "b.flac", "c.OGG"):
        soundfile.write(tmp_path / name, lab.tone(300), 24_000)
    assert [item.id.removeprefix(tmp_path.name) for item in read_recordings(tmp_path).all] == [
        "-a",
        "-b",
        "-c",
    ]
    soundfile.write(tmp_path / "a.flac", lab.tone(300), 24_000)
    with pytest.raises(ValueError, match=r"a\.flac and a\.wav are recordings of one name"):
        read_recordings(tmp_path)


def test_recordings_that_cannot_be_asked_are_told(lab, tmp_path):
    with pytest.raises(ValueError, match=r"there is no \.wav file"):
        read_recordings(tmp_path)
    write_wav(tmp_path / "silent.wav", lab.tone(100) * 0, 24_000)
    with pytest.raises(ValueError, match=r"silent\.wav: no speech"):
        read_recordings(tmp_path)
