"""The end of the caller's speech, in quiet and in noise."""

import numpy as np
import pytest

from client.live.latency import SpeechEnd


@pytest.mark.parametrize("noise_dbfs", [-80.0, -40.0])
def test_the_last_loud_chunk(noise_dbfs):
    random = np.random.default_rng(1)
    end = SpeechEnd()
    for number in range(300):
        level = -15.0 if 100 <= number < 200 else noise_dbfs
        chunk = 10 ** (level / 20) * random.standard_normal(480)
        loud = end.feed(chunk, (number + 1) * 0.02, 0.02)  # type: ignore[arg-type]
        assert loud == (100 <= number < 200)
    assert end.speech_end_s == pytest.approx(4.0)


def test_silence_has_no_end():
    end = SpeechEnd()
    end.feed(np.zeros(480, np.float32), 0.02, 0.02)
    assert end.speech_end_s is None
