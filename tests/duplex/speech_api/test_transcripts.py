"""Transcripts in the formats that clients ask for."""

from duplex.speech_api.transcripts import (
    HeardPassage,
    as_srt,
    as_verbose_json,
    as_vtt,
    segments_of,
)
from engine.ear.passage import Passage, TimedWord

WORDS = (
    TimedWord("Good", 3599.0, 3599.4),
    TimedWord("morning.", 3599.4, 3599.9),
    TimedWord("2", 3600.5, 3600.6),
    TimedWord("<", 3600.6, 3600.7),
    TimedWord("3!", 3600.7, 3601.0),
)
LONG = HeardPassage(3598.0, 3602.0, Passage("Good morning. 2 < 3!", "en", WORDS, (1, 2), -0.2, 0.1))
PLAIN = HeardPassage(0.0, 2.5, Passage("No times.", "en"))


def test_subtitles_follow_sentences_and_hours() -> None:
    assert as_srt([PLAIN, LONG]) == (
        "1\n00:00:00,000 --> 00:00:02,500\nNo times.\n\n"
        "2\n00:59:59,000 --> 00:59:59,900\nGood morning.\n\n"
        "3\n01:00:00,500 --> 01:00:01,000\n2 < 3!\n\n"
    )
    assert as_vtt([LONG]).endswith("01:00:00.500 --> 01:00:01.000\n2 &lt; 3!\n\n")


def test_a_long_sentence_is_cut_into_lines() -> None:
    words = tuple(TimedWord(f"w{n}", n / 2, n / 2 + 0.5) for n in range(40))
    passage = HeardPassage(0.0, 20.0, Passage(" ".join(w.text for w in words), "en", words))
    lines = segments_of([passage], lines=True)
    assert " ".join(line.text for line in lines) == passage.heard.text
    assert max(line.end_s - line.start_s for line in lines) <= 7.0
    assert len(segments_of([passage])) == 1


def test_words_without_spaces_stay_without() -> None:
    words = (TimedWord("你", 0.0, 0.2), TimedWord("好。", 0.2, 0.5))
    passage = HeardPassage(0.0, 0.5, Passage("你好。", "zh", words))
    assert [segment.text for segment in segments_of([passage])] == ["你好。"]


def test_verbose_json_has_what_was_asked_for() -> None:
    both = as_verbose_json([PLAIN, LONG], 3602.0, frozenset({"word", "segment"}))
    assert both["language"] == "english"
    assert both["text"] == "No times. Good morning. 2 < 3!"
    assert [word["word"] for word in both["words"]] == [word.text for word in WORDS]
    assert [segment["id"] for segment in both["segments"]] == [0, 1, 2]
    assert "segments" not in as_verbose_json([PLAIN], 2.5, frozenset({"word"}))
    assert as_verbose_json([], 1.0, frozenset({"segment"}))["text"] == ""
