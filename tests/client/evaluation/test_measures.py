"""What a question's draft says was measured is true of its sound."""

from itertools import pairwise

import numpy as np
import pytest

from client.evaluation.items import RATE_HZ, Samples
from client.evaluation.sets import sounds
from tests.client.evaluation.test_sets import Hum, loud_runs, pitch_hz


def heard(kind: str, number: int) -> tuple[list[float | str], Samples]:
    draft = sounds.draft(kind, 3, number)
    return [measure.value for measure in draft.measured], draft.render(Hum())


@pytest.mark.parametrize("number", range(3))
def test_pitches_are_those_of_the_ends(number: int) -> None:
    (start, end), samples = heard("pitch", number)
    inside = samples[round(0.3 * RATE_HZ) : -round(0.3 * RATE_HZ)]
    tenth = len(inside) // 10
    assert pitch_hz(inside[:tenth]) == pytest.approx(start, rel=0.1)
    assert pitch_hz(inside[-tenth:]) == pytest.approx(end, rel=0.1)


@pytest.mark.parametrize("number", range(6))
def test_beeps_begin_when_it_is_said(number: int) -> None:
    begins, samples = heard("count", number)
    found = [start / RATE_HZ for start, _ in loud_runs(samples)]
    assert found == pytest.approx(begins, abs=0.02)


@pytest.mark.parametrize("number", range(6))
def test_lengths_are_those_of_the_beeps(number: int) -> None:
    lengths, samples = heard("length", number)
    found = [(end - start) / RATE_HZ for start, end in loud_runs(samples)]
    assert found == pytest.approx(lengths, abs=0.03)


@pytest.mark.parametrize("number", range(3))
def test_gaps_are_those_between_the_first_and_the_last_beats(number: int) -> None:
    gaps, samples = heard("tempo", number)
    runs = loud_runs(samples)
    between = [(b[0] - a[1]) / RATE_HZ for a, b in pairwise(runs)]
    # The last gap of the draft lies behind the last beat, one step on.
    step = between[-1] / between[-2]
    assert [between[0], between[-1] * step] == pytest.approx(gaps, abs=0.02)


@pytest.mark.parametrize("number", range(8))
def test_agreement_and_conflict_differ_in_their_words_and_not_in_their_sound(number: int) -> None:
    agrees, conflicts = (sounds.draft(kind, 3, number) for kind in ("agreement", "conflict"))
    assert agrees.question == conflicts.question
    assert agrees.gold == conflicts.gold
    assert agrees.words != conflicts.words


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind smell"):
        sounds.draft("smell", 0, 0)


def test_level_is_that_of_the_voice() -> None:
    (start, end), samples = heard("loudness", 0)
    inside = samples[round(0.3 * RATE_HZ) : -round(0.3 * RATE_HZ)]
    tenth = len(inside) // 10
    level = [20 * np.log10(np.sqrt(np.mean(part**2))) for part in np.split(inside, [tenth, -tenth])]
    assert level[2] - level[0] == pytest.approx(float(end) - float(start), abs=3)
