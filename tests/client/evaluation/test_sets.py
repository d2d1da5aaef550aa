"""The sets that are made on the spot: their answers are true of their sounds."""

import json
from pathlib import Path

import numpy as np
import pytest

from client.evaluation.items import RATE_HZ, Item, Samples, Sound
from client.evaluation.scorers import score
from client.evaluation.sets import clips, sounds
from client.evaluation.sets.catalogue import Wanted, load


class Hum:
    """A speaker whose voice is a tone: its pitch and length are known."""

    def __init__(self) -> None:
        self.said: list[tuple[str, float, int]] = []

    def __call__(self, text: str, *, speed: float = 1.0, semitones: int = 0) -> Samples:
        self.said.append((text, speed, semitones))
        return clips.tone(200 * 2 ** (semitones / 12), 0.1 * len(text.split()) / speed + 0.3)


def pitch_hz(samples: Samples) -> float:
    """By the highest peak of the spectrum: the fundamental is the strongest."""
    windowed = samples * np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(windowed, 4 * len(samples)))
    return float(np.argmax(spectrum)) * RATE_HZ / (4 * len(samples))


def loud_runs(samples: Samples) -> list[tuple[int, int]]:
    """Where sounds begin and end, with gaps of 30 ms and more between them."""
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    breaks = np.flatnonzero(np.diff(loud) > 0.03 * RATE_HZ)
    starts = [loud[0], *loud[breaks + 1]]
    return list(zip(map(int, starts), map(int, [*loud[breaks], loud[-1]]), strict=True))


def asked(kind: str, count: int) -> list[tuple[Item, Samples]]:
    """The first of a kind with their sounds, without the silence around."""
    found = []
    for item in sounds.load(count * len(sounds.KINDS), 3, Hum()):
        if item.category == kind and item.condition == "sound":
            sound = item.parts[0]
            assert isinstance(sound, Sound)
            found.append((item, clips.trimmed(sound.render())))
    return found


def test_pitch_moves_as_the_answer_says() -> None:
    for item, samples in asked("pitch", 6):
        fifth = len(samples) // 5
        ratio = pitch_hz(samples[-fifth:]) / pitch_hz(samples[:fifth])
        direction = "steady" if 0.97 < ratio < 1.03 else "rising" if ratio > 1 else "falling"
        assert direction == item.gold["answer"]


def test_there_are_as_many_beeps_as_the_answer_says() -> None:
    for item, samples in asked("count", 6):
        assert len(loud_runs(samples)) == item.gold["answer"]


def test_the_longest_beep_is_the_one_that_the_answer_says() -> None:
    for item, samples in asked("length", 6):
        lengths = [end - start for start, end in loud_runs(samples)]
        assert len(lengths) == 6
        assert int(np.argmax(lengths)) + 1 == item.gold["answer"]


def test_the_beat_changes_as_the_answer_says() -> None:
    for item, samples in asked("tempo", 6):
        gaps = np.diff([start for start, _ in loud_runs(samples)])
        ratio = gaps[-1] / gaps[0]
        change = "steady" if 0.98 < ratio < 1.02 else "slower" if ratio > 1 else "faster"
        assert change == item.gold["answer"]


def test_level_moves_as_the_answer_says() -> None:
    for item, samples in asked("loudness", 4):
        half = len(samples) // 2
        grows = np.square(samples[half:]).sum() > np.square(samples[:half]).sum()
        assert ("louder" if grows else "softer") == item.gold["answer"]


def test_the_end_bends_as_the_answer_says() -> None:
    for item, samples in asked("intonation", 4):
        tenth = len(samples) // 10
        rises = pitch_hz(samples[-tenth:]) > pitch_hz(samples[:tenth])
        assert ("rising" if rises else "falling") == item.gold["answer"]


def test_the_voices_are_as_many_as_the_answer_says() -> None:
    for item, samples in asked("speakers", 4):
        tenth = len(samples) // 10
        ratio = pitch_hz(samples[-tenth:]) / pitch_hz(samples[:tenth])
        assert ("one" if 0.97 < ratio < 1.03 else "two") == item.gold["answer"]


def test_numbers_are_added_only_if_the_second_voice_is_higher() -> None:
    values = {word: number for number, word in enumerate(sounds.COUNT_WORDS)}
    for item, samples in asked("sum", 4):
        (first, second) = loud_runs(samples)
        rises = pitch_hz(samples[slice(*second)]) > pitch_hz(samples[slice(*first)])
        sound = item.parts[0]
        assert isinstance(sound, Sound)
        a, b = (values[word] for word in sound.words.replace(".", "").split())
        assert item.gold["answer"] == (a + b if rises else a - b)


def test_in_a_conflict_whoever_believes_the_words_is_wrong() -> None:
    answers = {  # of a reader
        "goes up": "rising",
        "goes down": "falling",
        "louder": "louder",
        "softer": "softer",
        "slowly": "slow",
        "quickly": "fast",
        "two of us": "two",
        "only one": "one",
    }
    items = [item for item, _ in asked("conflict", 8)]
    assert len(items) == 8
    for item in items:
        words = item.parts[0].words  # type: ignore[union-attr]
        (read,) = (answer for said, answer in answers.items() if said in words)
        assert score("choice", read, item.gold).value == 0.0


def test_answers_are_balanced_within_each_kind() -> None:
    items = [i for i in sounds.load(120, 0, Hum()) if i.condition == "sound"]
    for kind in ("pitch", "count", "order", "tempo", "loudness", "length", "speakers"):
        golds = [str(item.gold["answer"]) for item in items if item.category == kind]
        assert len({golds.count(gold) for gold in golds}) == 1, kind


def test_a_larger_count_begins_with_the_same_questions() -> None:
    few, many = (
        [(i.key, dict(i.gold)) for i in sounds.load(count, 7, Hum())] for count in (13, 40)
    )
    assert many[: len(few)] == few
    other = [(i.key, dict(i.gold)) for i in sounds.load(13, 8, Hum())]
    assert other != few


def test_the_same_question_sounds_the_same_each_time() -> None:
    first, second = (
        [item.parts[0].render() for item in sounds.load(30, 1, Hum()) if item.condition == "sound"]  # type: ignore[union-attr]
        for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_transcript_has_the_words_and_no_sound() -> None:
    for item in sounds.load(20, 0, Hum()):
        if item.condition == "transcript":
            assert all(isinstance(part, str) for part in item.parts)
    with_words = [i for i in sounds.load(20, 0, Hum()) if i.category == "loudness"]
    sound, told = (item.parts[0] for item in with_words[:2])
    assert isinstance(sound, Sound)
    assert sound.words in str(told)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    def big_bench(name: str, *examples: tuple[str, str]) -> None:
        entries = [{"input": text, "target": target} for text, target in examples]
        (tmp_path / f"bbh_{name}.json").write_text(json.dumps({"examples": entries}))

    options = "\nOptions:\n- valid \n- invalid"
    big_bench("formal_fallacies", (f'"All is well."\nIs it valid or invalid?{options}', "invalid"))
    big_bench("object_counting", ("I have two cats. How many animals?", "2"))
    big_bench("web_of_lies", ("Question: Ann lies. Does Ann tell the truth?", "No"))
    lines = [{"question": "What are 500 and 500?", "answer": "It is <<500+500=1000>>\n#### 1,000"}]
    (tmp_path / "gsm8k_test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    web = [{"qId": "w", "answers": ["Berlin"], "qText": "where is it?"}]
    (tmp_path / "webquestions_test.json").write_text(json.dumps(web))
    return tmp_path


def test_spoken_questions_are_the_same_words_in_speech_and_text(questions: Path) -> None:
    hum = Hum()
    items = load("spoken", Wanted(data=str(questions)), hum).items
    assert len(items) == 10
    for speech, text in zip(items[::2], items[1::2], strict=True):
        assert (speech.id, speech.condition, text.condition) == (text.id, "speech", "text")
        assert (speech.gold, speech.instructions) == (text.gold, text.instructions)
        sound = speech.parts[0]
        assert isinstance(sound, Sound)
        sound.render()
        assert hum.said[-1][0] == sound.words == text.parts[0]
    by_category = {item.category: item for item in items}
    assert by_category["formal_fallacies"].parts == ('"All is well." Is it valid or invalid?',)
    assert by_category["web_of_lies"].parts == ("Ann lies. Does Ann tell the truth?",)
    assert by_category["gsm8k"].gold == {"answer": 1000.0}
    assert score("choice", "The answer is no.", by_category["web_of_lies"].gold).value == 1.0


def test_a_limit_takes_from_all_files_in_turn(questions: Path) -> None:
    items = load("spoken", Wanted(limit=3, data=str(questions)), Hum()).items
    assert [i.category for i in items[::2]] == [
        "formal_fallacies",
        "object_counting",
        "web_of_lies",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "bbh_navigate.json"), ('{"examples": [{"inputs": "x"}]}', "bbh_navigate.json")],
)
def test_a_broken_file_of_questions_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "bbh_navigate.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        load("spoken", Wanted(data=str(tmp_path)), Hum())


def test_a_folder_without_questions_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has none of bbh_formal_fallacies\.json"):
        load("spoken", Wanted(data=str(tmp_path)), Hum())
    with pytest.raises(ValueError, match="needs --data"):
        load("spoken", Wanted(), Hum())
