"""What a judge of a turn's end is told."""

import numpy as np
import pytest

from benchmarks.turn_taking.end_judge import NAMES, TurnSoFar, features
from benchmarks.turn_taking.end_sound import SOUND_NAMES, sound_of
from duplex.audio.formats import Samples

RATE = 16_000


def turn(speech_ms: float = 1500, pauses_ms: tuple[float, ...] = ()) -> TurnSoFar:
    return TurnSoFar(speech_ms, speech_ms, pauses_ms, sound_of(voice(200, 160)).tolist())


def voice(first_hz: float, last_hz: float, ms: int = 1000) -> Samples:
    """A tone with overtones that glides."""
    pitch = np.linspace(first_hz, last_hz, ms * RATE // 1000)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return sum(np.sin(n * phase) / n for n in (1, 2, 3)).astype(np.float32) * 0.2  # type: ignore[no-any-return,attr-defined]


def test_a_falling_voice_has_a_falling_pitch_at_any_level() -> None:
    at = SOUND_NAMES.index("pitch_slope")
    falling = sound_of(voice(220, 150))
    assert falling[at] < -0.2 < 0.2 < sound_of(voice(150, 220))[at]
    quiet = sound_of(np.float32(0.1) * voice(220, 150))
    np.testing.assert_allclose(quiet, falling, atol=0.05)


@pytest.mark.parametrize("samples", [0, 100, 3000, 32000])
def test_silence_and_scraps_of_sound_have_features_too(samples: int) -> None:
    assert np.isfinite(sound_of(np.zeros(samples, np.float32))).all()


def test_features_are_named_and_finite() -> None:
    for words in ("", "Yes.", "¿Qué hora es?", "5", "...", "今天天气怎么样？"):
        found = features(words, turn(0.0))
        assert found.shape == (len(NAMES),)
        assert np.isfinite(found).all()
