import pytest

from duplex.turns.endpointing import (
    EndpointConfig,
    PauseSigns,
    from_eagerness,
    from_silence_duration,
    looks_unfinished,
    silence_to_end_ms,
)


@pytest.mark.parametrize(
    "words",
    [
        "What time is it?",
        "Yes.",
        "No, thank you.",
        "Which team did she play for?",
        "What is the table made of?",
        "Who do you think of?",
        "You did what?",
        "Can you tell me why?",
        "What are you looking for?",
        "Where are you from?",
        "Turn it on.",
        "I do not know what it is.",
        "That is all I wanted to know.",
        "When is the next train?",
        "Because it was raining, we stayed at home.",
        "If it rains tomorrow, call me.",
        "Set a timer for 10 minutes.",
        "It costs about $20.",
        "I think so.",
        "Very well.",
        "Stop!",
        "I've had enough. Goodbye.",
        "Ich möchte gern ein Bier.",
        "5",
        "Yes",
        "My number is 415 555 0199.",
        "",
        "  ",
        "?",
    ],
)
def test_finished(words: str) -> None:
    assert not looks_unfinished(words)


@pytest.mark.parametrize(
    "words",
    [
        "I would like to",
        "I would like to.",
        "What is the...",
        "What is the…",
        "Tell me about the.",
        "I like apples and",
        "I would go there, but.",
        "Buy milk,",
        "So, um.",
        "Well.",
        "Well...",
        "It's",
        "I think it’s.",
        "Because",
        "Because it was raining.",
        "When I was young.",
        "Nice. But if it rains tomorrow.",
        "Please send it to.",
        "Could you send it to?",
        "Can you tell me?",
        "What is the capital of?",
        "Tell me the history of.",
        "Could you explain what?",
        "First of all.",
        "My number is 555.",
        "It's 415.",
        "My email is John.",
        "A, B, C.",
        "It is 5-5-5.",
        "1, 2, 3.",
        "Ich möchte gern",
    ],
)
def test_unfinished(words: str) -> None:
    assert looks_unfinished(words)


@pytest.mark.parametrize(
    ("words", "expected"), [("It is noon.", 300), ("It is the", 800), ("", 300), (None, 800)]
)
def test_the_wait_follows_from_the_words(words: str | None, expected: int) -> None:
    assert silence_to_end_ms(PauseSigns(words), EndpointConfig(300, 800)) == expected


def wait(
    words: str,
    completeness: float,
    config: EndpointConfig | None = None,
    *,
    is_asked: bool = False,
) -> int:
    return silence_to_end_ms(PauseSigns(words, completeness, is_asked), config or EndpointConfig())


def test_the_surer_the_sound_the_shorter_the_wait() -> None:
    waits = [wait("Is it noon?", p / 20) for p in range(21)]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] > EndpointConfig().finished_ms > waits[-1] >= 200
    assert len(set(waits)) > 10


def test_words_that_call_for_more_and_several_sentences_are_waited_for() -> None:
    once = wait("Is it noon?", 0.9)
    assert once < wait("It is the", 0.9) <= EndpointConfig().unfinished_ms
    assert once < wait("It is noon. Do we go home?", 0.9) <= EndpointConfig().unfinished_ms
    assert wait("Is it 3.5 degrees?", 0.9) == once
    assert wait("My number is 33, 4", 1.0) == EndpointConfig().unfinished_ms


LONG = "I would like to book a table for four people on Friday."


@pytest.mark.parametrize(
    "told",
    [
        "We need two tickets.",
        "Turn on the lights.",
        "Montreal",
        "5",
        "Yes.",
        "I lost my keys!",
        "I went to the station this morning. The train had left before I was there.",
    ],
)
def test_a_few_words_or_sentences_that_ask_nothing_are_waited_for(told: str) -> None:
    config = EndpointConfig()
    assert wait(told, 1.0) > 900
    assert wait(told, 1.0) <= config.unfinished_ms
    asked = wait("What is the capital of France?", 1.0)
    assert asked == wait(LONG, 1.0) == config.finished_ms - 100
    assert wait(told, 1.0, from_eagerness("high")) <= from_eagerness("high").unfinished_ms


@pytest.mark.parametrize("answer", ["Yes.", "5", "Montreal", "Two tickets.", "10 of clubs"])
def test_a_few_words_that_answer_the_assistant_end_a_turn_soon(answer: str) -> None:
    assert wait(answer, 1.0, is_asked=True) == EndpointConfig().finished_ms - 100
    assert wait(answer, 1.0) > wait(answer, 1.0, is_asked=True)


def test_a_question_does_not_make_stories_and_open_words_answers() -> None:
    for words in ("and the", "My number is 33, 4", "I need two. And one for my brother."):
        assert wait(words, 0.9, is_asked=True) == wait(words, 0.9)


def test_a_sentence_that_answers_the_assistant_is_waited_for_half_as_long() -> None:
    answer = "My name is John Smith."
    assert 400 < wait(answer, 1.0, is_asked=True) < 600 < wait(answer, 1.0) - 300


@pytest.mark.parametrize(
    "question",
    ["who wrote the play.", "On which continent is Brazil.", "I am lost. Where is the exit."],
)
def test_a_question_is_known_without_its_mark(question: str) -> None:
    assert wait(question, 1.0) < 600


@pytest.mark.parametrize("question", ["Is it noon?", "\u039c\u03b9\u03b1;", "\u0623\u061f"])
def test_questions_of_other_alphabets_are_questions(question: str) -> None:
    assert wait(question, 1.0) < 900


@pytest.mark.parametrize("words", ["\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002", ""])
def test_words_that_cannot_be_counted_are_not_few(words: str) -> None:
    assert wait(words, 1.0) < 700


@pytest.mark.parametrize("completeness", [0.0, 0.3, 1.0])
def test_the_wait_moves_with_the_client_s_and_stays_in_its_bounds(completeness: float) -> None:
    for finished_ms in (1, 50, 300, 900):
        config = from_silence_duration(finished_ms, EndpointConfig())
        for words in ("", "Yes.", "Yes. No.", "and the", "¿Qué hora es?"):
            found = wait(words, completeness, config)
            assert max(1, finished_ms - 100) <= found <= config.unfinished_ms


def test_the_client_sets_the_wait() -> None:
    default = EndpointConfig()
    added = default.unfinished_ms - default.finished_ms
    assert from_silence_duration(500, default) == EndpointConfig(500, 500 + added)
    assert from_silence_duration(0, default) == EndpointConfig(1, 1 + added)
    assert from_silence_duration(default.finished_ms, default) == default
    assert from_eagerness("auto") == from_eagerness("medium") == default
    waits = [from_eagerness(eagerness) for eagerness in ("high", "medium", "low")]
    assert sorted(waits, key=lambda c: (c.finished_ms, c.unfinished_ms)) == waits
    for config, limit_ms in zip(waits, (2000, 4000, 8000), strict=True):
        assert config.unfinished_ms <= limit_ms  # OpenAI's


@pytest.mark.parametrize(("finished", "unfinished"), [(0, 100), (-5, 100), (500, 400)])
def test_waits_that_make_no_sense_are_refused(finished: int, unfinished: int) -> None:
    with pytest.raises(ValueError, match="finished_ms"):
        EndpointConfig(finished, unfinished)
