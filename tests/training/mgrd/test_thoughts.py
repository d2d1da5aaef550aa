"""What a thought states is held against what is true of the sound."""

import pytest

from client.evaluation.sets import sounds
from client.evaluation.sets.drafts import Measure
from training.mgrd import thoughts

GLIDE = (Measure("pitch", 203.0, "hz"), Measure("pitch", 391.0, "hz"))


@pytest.mark.parametrize("kind", [*sounds.KINDS, "agreement"])
def test_a_grounded_thought_is_true_and_concludes_with_the_answer(kind: str) -> None:
    for number in range(24):
        draft = sounds.draft(kind, 5, number)
        found = thoughts.check(thoughts.grounded(draft.measured, "it is"), draft.measured)
        assert draft.measured
        assert (found.stated, found.true) == (len(draft.measured), len(draft.measured))
        assert found.conclusion == "it is"


@pytest.mark.parametrize("kind", [*sounds.KINDS, "agreement"])
def test_a_surrogate_thought_states_nothing_that_was_measured(kind: str) -> None:
    draft = sounds.draft(kind, 5, 1)
    thought = thoughts.surrogate(draft.words, "rising")
    assert thoughts.check(thought, draft.measured).stated == 0
    assert thoughts.plain_words(draft.words) in thought


@pytest.mark.parametrize(
    ("thought", "stated", "true"),
    [
        ("pitch 200 hz then pitch 400 hz so rising", 2, 2),
        ("pitch 400 hz then pitch 200 hz so falling", 2, 0),  # each in the other's place
        ("pitch 200 hz then pitch 200 hz so steady", 2, 1),
        ("pitch 200 hz then pitch 400 hz then pitch 400 hz so rising", 3, 2),  # one too many
        ("pitch 200 s so rising", 1, 0),
        ("pitch x hz so rising", 1, 0),
        ("level 0 db so rising", 0, 0),  # of what was not measured nothing is known
        ("rising", 0, 0),
        ("", 0, 0),
    ],
)
def test_measures_are_checked_place_by_place(thought: str, stated: int, true: int) -> None:
    found = thoughts.check(thought, GLIDE)
    assert (found.stated, found.true) == (stated, true)


def test_every_number_that_is_stated_is_on_the_grid() -> None:
    grid = set(thoughts.grid())
    for kind in sounds.KINDS:
        for number in range(30):
            draft = sounds.draft(kind, 9, number)
            words = thoughts.grounded(draft.measured, "").split()
            units = [at for at, word in enumerate(words) if word in thoughts.UNITS]
            assert {words[at - 1] for at in units} <= grid


def test_a_denial_of_hearing_is_told_from_an_answer() -> None:
    assert thoughts.denies_hearing(f"\n</think>\n{thoughts.CANNOT_HEAR}")
    assert not thoughts.denies_hearing("the voice says i can hear you so rising")
