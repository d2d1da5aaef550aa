"""What the names of voices mean; no model is loaded."""

from pathlib import Path

import pytest

from duplex.app.build_voices import load_all, models_of, names_of
from duplex.config import Config, VoiceConfig
from duplex.errors import ConfigError
from duplex.model_store import ModelStore, Progress


def test_the_default_needs_one_model() -> None:
    assert models_of(Config().voice) == ["hibari-heart"]
    assert names_of(Config().voice) == ["hibari-heart", "hibari-heart@+4", "hibari-heart@-2"]


def test_voices_of_all_kinds_are_named_together() -> None:
    voice = VoiceConfig(model="kokoro/af_heart@+2", others=("@-1", "piper-joe", "kokoro/am_puck"))
    assert names_of(voice)[1:] == ["kokoro/af_heart@-1", "piper-joe", "kokoro/am_puck"]
    assert models_of(voice) == ["kokoro", "piper-joe"]


def test_all_speakers_are_named_at_once() -> None:
    names = names_of(VoiceConfig(model="kokoro/bf_emma", others=("kokoro/*",)))
    assert len(names) == 28
    assert names[0] == "kokoro/bf_emma"
    assert {"kokoro/af_heart", "kokoro/bm_lewis"} < set(names)


def test_a_pitch_out_of_reach_is_told() -> None:
    with pytest.raises(ConfigError, match="6 semitones"):
        names_of(VoiceConfig(model="hibari-heart@+7"))


def test_a_piper_voice_that_was_asked_for_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Piper voice"):
        load_all(
            ["hibari-heart"],
            VoiceConfig(kind="piper"),
            lambda spoken: list(spoken),
            ModelStore(tmp_path),
            Progress(None),
        )
