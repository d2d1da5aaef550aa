"""Golden answers of each rule."""

import pytest

from client.evaluation.scorers import score, split_thought

YES_NO = {"yes": ["yes"], "no": ["no"]}
PITCH = {"rising": ["rising", "up"], "falling": ["falling", "down"]}
VALIDITY = {"valid": ["valid"], "invalid": ["invalid"]}
OPTIONS = ["a man", "a woman", "twenty-one", "a man and a dog"]
WRONG, RIGHT, INVALID = 0.0, 1.0, "invalid"


def outcome(scorer: str, text: str, gold: dict) -> object:
    found = score(scorer, text, gold)
    return INVALID if found.is_invalid else found.value


@pytest.mark.parametrize(
    ("text", "answer", "choices", "expected"),
    [
        ("Yes.", "yes", YES_NO, RIGHT),
        ("**Yes**, you do.", "yes", YES_NO, RIGHT),
        ("No, you do not.", "yes", YES_NO, WRONG),
        ("You do not know? Yes, the answer is no.", "no", YES_NO, RIGHT),
        ("The answer is yes. Wait. The answer is: no.", "no", YES_NO, RIGHT),
        ("Well, yes or no.", "yes", YES_NO, INVALID),
        ("I cannot know that.", "no", YES_NO, INVALID),  # "know" is not "no"
        ("The argument is invalid.", "invalid", VALIDITY, RIGHT),
        ("The argument is invalid.", "valid", VALIDITY, WRONG),
        ("It goes up.", "rising", PITCH, RIGHT),
        ("Rising, not falling.", "rising", PITCH, RIGHT),
        ("It is rising and not falling.", "rising", PITCH, INVALID),
        ("<think>It is falling.</think> rising", "rising", PITCH, RIGHT),
        ("<think>It is rising.", "rising", PITCH, INVALID),
        ("", "rising", PITCH, INVALID),
    ],
)
def test_a_choice_is_the_marked_the_first_or_the_only_one(
    text: str, answer: str, choices: dict, expected: object
) -> None:
    assert outcome("choice", text, {"answer": answer, "choices": choices}) == expected


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("18", 18, RIGHT),
        ("She makes 9 * 2 = $18 every day. The answer is 18.", 18, RIGHT),
        ("The answer is 18 dollars, for 9 eggs.", 18, RIGHT),
        ("The answer is 17. No. The answer is: 18", 18, RIGHT),
        ("#### 1,024.00", 1024, RIGHT),
        ("It is 1,024", 1024, RIGHT),
        ("the answer is 2 + 3 = 5", 5, RIGHT),
        ("First 16-3 is 13, then 9.", 9, RIGHT),
        ("The answer is -4.", -4, RIGHT),
        ("0.5", 0.5, RIGHT),
        ("The answer is fourteen.", 14, RIGHT),
        ("the third", 3, RIGHT),
        ("The answer is: unknown. There are 3.", 3, RIGHT),
        ("18.5", 18, WRONG),
        ("none", 1, INVALID),
        ("<think>18</think>", 18, INVALID),
    ],
)
def test_a_number_is_the_marked_or_the_last_one(text: str, answer: float, expected: object) -> None:
    assert outcome("number", text, {"answer": answer}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bell, noise, siren", RIGHT),
        ("First a bell, then static, and a siren.", RIGHT),
        ("Siren, bell, noise", WRONG),
        ("bell and siren", INVALID),
    ],
)
def test_an_order_is_that_of_first_mentions(text: str, expected: object) -> None:
    gold = {"answer": ["bell", "noise", "siren"], "alike": {"noise": ["static"]}}
    assert outcome("order", text, gold) == expected


@pytest.mark.parametrize(
    ("text", "answers", "expected"),
    [
        ("He died in Berlin, in 1945.", ["Berlin"], RIGHT),
        ("It is jamaican english.", ["Jamaican Creole", "Jamaican English"], RIGHT),
        ("Beyoncé", ["beyonce\u0301"], RIGHT),
        ("The Berliners", ["Berlin"], WRONG),  # a token, not a part of one
        ("Jamaican", ["Jamaican English"], WRONG),
        ("the U.S. dollar", ["U.S."], RIGHT),
    ],
)
def test_an_accepted_answer_is_a_run_of_tokens(
    text: str, answers: list[str], expected: object
) -> None:
    assert outcome("mentions", text, {"answers": answers}) == expected


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("Invalid, since valid ones differ.", {"answer": "invalid"}, RIGHT),
        ("I think it is Yes", {"answer": "yes"}, INVALID),
        ("valid", {"answer": "invalid"}, WRONG),
    ],
)
def test_the_first_of_the_words_counts(text: str, gold: dict, expected: object) -> None:
    assert outcome("first_word", text, {**gold, "among": ["valid", "invalid"]}) == expected


def test_the_first_number_counts_where_no_words_are_wanted() -> None:
    assert outcome("first_word", "12 of 15", {"answer": "12"}) == RIGHT
    assert outcome("first_word", "fifteen", {"answer": 15}) == RIGHT
    assert outcome("first_word", "many", {"answer": 15}) == INVALID


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", RIGHT),
        ("B. a woman", RIGHT),
        ("(B) it is her", RIGHT),
        ("The answer is B.", RIGHT),
        ("The correct answer is option B", RIGHT),
        ("a woman", RIGHT),
        ("I hear a woman speak", RIGHT),
        ("A", WRONG),
        ("A man speaks", WRONG),
        ("A woman speaks", RIGHT),  # the text of one option, not the letter A
        ("A: a man", WRONG),
        ("Option B", RIGHT),
        ("I'd say both", INVALID),
        ("a man, or a woman", INVALID),
        ("", INVALID),
    ],
)
def test_a_letter_or_the_text_of_one_option(text: str, expected: object) -> None:
    assert outcome("letter", text, {"answer": "A Woman", "options": OPTIONS}) == expected


def test_hyphens_and_spaces_of_options_are_alike() -> None:
    gold = {"answer": "twenty one", "options": OPTIONS}
    assert outcome("letter", "C", gold) == RIGHT
    assert outcome("letter", "Twenty One", gold) == RIGHT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a woman", RIGHT),
        ("It is a woman.", RIGHT),
        ("It is a woman, no man", WRONG),  # a word of another option
        ("woman", WRONG),  # not all words
        ("", INVALID),
    ],
)
def test_word_sets_hold_the_right_and_none_of_the_others(text: str, expected: object) -> None:
    assert outcome("word_sets", text, {"answer": "a woman", "options": OPTIONS}) == expected


@pytest.mark.parametrize(
    ("text", "iou"),
    [
        ("[00:10-00:20]", 1.0),
        ("From 00:15 to 00:25", 5 / 15),
        ("00:30 - 00:40", 0.0),
        ("1:00:10-1:00:20", 0.0),
        ("00:20-00:10", 0.0),  # turned round
    ],
)
def test_a_stretch_of_time_is_scored_by_its_overlap(text: str, iou: float) -> None:
    found = score("spans", text, {"start_s": 10, "end_s": 20})
    assert found.value == pytest.approx(iou)
    assert found.measures["iou_if_read"] == pytest.approx(iou)
    assert found.measures["r_at_0.3"] == float(iou >= 0.3)


def test_a_stretch_that_cannot_be_read_is_left_out_of_the_published_mean_only() -> None:
    found = score("spans", "about ten seconds in", {"start_s": 10, "end_s": 20})
    assert (found.value, found.is_invalid, found.measures["iou"]) == (0.0, True, 0.0)
    assert "iou_if_read" not in found.measures


def test_over_an_hour_is_read_too() -> None:
    found = score("spans", "[1:02:10-1:02:20]", {"start_s": 3730, "end_s": 3740})
    assert found.value == 1.0


def test_thoughts_are_cut_off() -> None:
    assert split_thought("<think>a</think> b") == ("a", "b")
    assert split_thought("a</think>b") == ("a", "b")
    assert split_thought("b <think>a") == ("a", "b")
    assert split_thought(" b ") == ("", "b")


def test_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no scorer guess"):
        score("guess", "x", {})
