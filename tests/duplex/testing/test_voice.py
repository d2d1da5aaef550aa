import numpy as np
import pytest

from duplex.testing.voice import CHARACTER_MS, ScriptedVoice


@pytest.mark.parametrize("text", ["Hello there, you.", " a\nb ", "one"])
def test_length_and_words_follow_the_text(text: str) -> None:
    chunks = list(ScriptedVoice().synthesize(text))
    total = sum(len(chunk.samples) for chunk in chunks)
    words = [word for chunk in chunks for word in chunk.words]
    assert total == len(text) * round(ScriptedVoice.sample_rate * CHARACTER_MS / 1000)
    assert "".join(word.text for word in words) == text
    assert words[-1].end_sample == total


def test_speaks_the_same_each_time_and_faster_on_demand() -> None:
    first, second, fast = (
        np.concatenate([c.samples for c in ScriptedVoice().synthesize("Hello there", speed)])
        for speed in (1.0, 1.0, 2.0)
    )
    np.testing.assert_array_equal(first, second)
    assert len(fast) == pytest.approx(len(first) / 2, rel=0.01)


@pytest.mark.parametrize("text", ["😀", " \n", "..."])
def test_nothing_to_say_is_still_accounted_for(text: str) -> None:
    (chunk,) = ScriptedVoice().synthesize(text)
    assert len(chunk.samples) == 0
    assert "".join(word.text for word in chunk.words) == text
