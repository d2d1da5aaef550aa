"""The voice that speaks questions, and what it keeps."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from duplex.app import build
from duplex.cli.recordings import CachedSpeaker
from duplex.config import Config, ModelsConfig, VoiceConfig
from duplex.testing.voice import ScriptedVoice
from tts.types import AudioChunk


class Counting(ScriptedVoice):
    """Speaks, and counts how often."""

    said: list[tuple[str, float]]

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        self.said.append((text, speed))
        yield from super().synthesize(text, speed)


def test_what_was_said_before_is_read_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = Counting()
    voice.said = []
    monkeypatch.setattr(build, "load_voice", lambda *_: voice)
    config = Config(models=ModelsConfig(cache_dir=str(tmp_path)))
    first = CachedSpeaker(config)("Hello there.", semitones=4)
    said = len(voice.said)
    assert said
    again = CachedSpeaker(config)("Hello there.", semitones=4)
    assert len(voice.said) == said
    assert np.array_equal(first, again)
    assert first.dtype == np.float32
    for arguments in ({"speed": 1.5}, {"semitones": -2}):
        CachedSpeaker(config)("Hello there.", **arguments)  # type: ignore[arg-type]
        assert len(voice.said) == said + 1, arguments
        said += 1
    other = replace(config, voice=VoiceConfig(model="piper-joe"))
    CachedSpeaker(other)("Hello there.", semitones=4)
    assert len(voice.said) == said + 1
