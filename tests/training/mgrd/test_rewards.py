"""What an answer earns, and which prompts are learnt from."""

import numpy as np
import pytest

from client.evaluation.sets import clips
from client.evaluation.sets.drafts import Measure
from training.mgrd import rewards
from training.mgrd.distil import is_grounded
from training.mgrd.select import histogram, select
from training.mgrd.tasks import Question, at_speed, harder

COUNTED = Question(
    id="count-1-3",
    kind="count",
    text="How many beeps are there?",
    words="",
    answer="4",
    scorer="number",
    gold={"answer": 4},
    chance=1 / 6,
    measured=tuple(Measure("beep", at, "s") for at in (0.3, 0.6, 1.0, 1.5)),
    frames=np.zeros((2, 4), np.float16),
)
TRUE = "beep 0.3 s then beep 0.6 s then beep 1 s then beep 1.5 s so 4"


@pytest.mark.parametrize(
    ("completion", "right", "thinks"),
    [
        (f"{TRUE}\n</think>\n4", True, True),
        ("\n</think>\n4", True, False),
        ("so it\n</think>\n4", True, False),  # two words are no thought
        (f"{TRUE}\n</think>\n5", False, True),
        (f"{TRUE}\n</think>\n", False, True),
        (f"{TRUE} 4", False, False),  # it never ends
        ("", False, False),
    ],
)
def test_being_right_and_thinking_are_told_apart(
    completion: str, right: bool, thinks: bool
) -> None:
    assert rewards.is_right(COUNTED, completion) == right
    assert rewards.thinks(completion) == thinks


def test_without_the_format_reward_being_right_is_worth_one() -> None:
    questions = {COUNTED.id: COUNTED}
    asked = {"completions": ["\n</think>\n4", TRUE], "question": [COUNTED.id] * 2}
    functions, weights = rewards.functions("correct", questions)
    assert [f(**asked) for f in functions] == [[1.0, 0.0]]
    assert weights == [1.0]
    functions, weights = rewards.functions("correct+format", questions)
    assert [f(**asked) for f in functions] == [[1.0, 0.0], [0.0, 0.0]]
    assert weights == [0.8, 0.2]


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        (f"{TRUE}\n</think>\n4", True),
        ("beep 9 s then beep 9.5 s so 4\n</think>\n4", True),  # cited, not true
        (f"{TRUE}\n</think>\n5", False),  # the thought concludes otherwise
        ("beep 0.3 s so 4\n</think>\n4", False),
        ("the question asks what it sounds like so 4\n</think>\n4", False),
    ],
)
def test_a_grounded_answer_cites_measures_and_follows_from_them(
    completion: str, kept: bool
) -> None:
    assert is_grounded(COUNTED, completion) == kept


def test_prompts_are_chosen_by_how_often_they_are_right() -> None:
    counts = {f"q{right}-{n}": right for right in range(9) for n in range(5)}
    window = select(counts, "3-6", 100, seed=0)
    assert {counts[id_] for id_ in window} == {3, 4, 5, 6}
    assert {counts[id_] for id_ in select(counts, "0", 100, seed=0)} == {0}
    assert len(select(counts, "all", 100, seed=0)) == len(counts)
    assert select(counts, "3-6", 7, seed=0) == window[:7]  # a smaller set is part of a larger
    assert select(counts, "3-6", 100, seed=1) != window
    assert histogram(counts) == [5] * 9


def test_what_is_played_faster_is_higher_and_shorter() -> None:
    assert at_speed(Measure("pitch", 200.0, "hz"), 1.05).value == pytest.approx(210)
    assert at_speed(Measure("gap", 0.42, "s"), 1.05).value == pytest.approx(0.4)
    assert at_speed(Measure("level", -20.0, "db"), 1.05).value == -20
    assert at_speed(Measure("voice", "low"), 1.05).value == "low"
    tone = clips.tone(400, 1.0)
    played = harder(tone, 1.05, np.random.default_rng(0))
    assert len(played) == pytest.approx(len(tone) / 1.05, abs=2)
