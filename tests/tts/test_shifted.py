"""A shifted voice says the same words, as fast, at another pitch."""

import pytest

from duplex.testing.voice import ScriptedVoice
from tts.shifted import ShiftedVoice, parse_shift


def test_a_name_tells_how_far_a_voice_is_moved() -> None:
    assert parse_shift("piper-joe") == ("piper-joe", 0)
    assert parse_shift("piper-joe@+4") == ("piper-joe", 4)
    assert parse_shift("/voices/amy@-2") == ("/voices/amy", -2)
    assert parse_shift("hub:org/name@main") == ("hub:org/name@main", 0)


def test_a_voice_is_not_moved_out_of_reach() -> None:
    with pytest.raises(ValueError, match="6 semitones"):
        parse_shift("piper-joe@+7")


@pytest.mark.parametrize("semitones", [-2, 4])
def test_what_is_said_and_how_long_it_takes_stays(semitones: int) -> None:
    plain = ScriptedVoice()
    moved = ShiftedVoice(plain, semitones)
    as_made = list(plain.synthesize("one two three"))
    as_moved = list(moved.synthesize("one two three"))
    assert [w.text for c in as_moved for w in c.words] == [w.text for c in as_made for w in c.words]
    lasts_s = sum(len(c.samples) for c in as_made) / plain.sample_rate
    lasts_moved_s = sum(len(c.samples) for c in as_moved) / moved.sample_rate
    assert lasts_moved_s == pytest.approx(lasts_s, rel=0.02)
    assert (moved.sample_rate > plain.sample_rate) == (semitones > 0)
