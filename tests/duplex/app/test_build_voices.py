"""What the names of voices mean; no model is loaded."""

import ctypes.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from duplex.app.build_voices import languages_of, load_all, models_of, names_of, needs_espeak
from duplex.config import Config, VoiceConfig
from duplex.errors import ConfigError
from duplex.model_store import ModelStore, Progress
from tts.piper.voice import PiperVoice


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


def test_a_voice_of_the_system_needs_no_model() -> None:
    voice = VoiceConfig(model="espeak/de", others=("hibari-heart", "espeak/es@+2"))
    assert models_of(voice) == ["hibari-heart"]
    assert needs_espeak(voice)
    assert needs_espeak(VoiceConfig(g2p="espeak"))
    assert not needs_espeak(VoiceConfig())


@pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="no espeak-ng")
def test_voices_say_which_languages_they_speak(tmp_path: Path) -> None:
    def load(*names: str) -> frozenset[str] | None:
        store, progress = ModelStore(tmp_path), Progress(None)
        return languages_of(
            load_all(names, VoiceConfig(), lambda said: list(said), store, progress)
        )

    assert load("espeak/de", "espeak/es@+2") == {"de", "es"}
    with pytest.raises(ConfigError, match="no voice 'xx-yy'"):
        load("espeak/xx-yy")


@pytest.mark.heavy
@pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="no espeak-ng")
def test_a_piper_voice_speaks_the_language_of_its_config(
    tmp_path: Path, models: Callable[[str], Path]
) -> None:
    """An American voice whose configuration says that it was taught German."""
    source = models("piper-joe")
    folder = tmp_path / "voice"
    folder.mkdir()
    (graph,) = source.glob("*.onnx")
    config = json.loads((source / f"{graph.name}.json").read_text())
    config["espeak"] = {"voice": "de"}
    (folder / graph.name).symlink_to(graph)
    (folder / f"{graph.name}.json").write_text(json.dumps(config))
    store, progress, name = ModelStore(tmp_path / "store"), Progress(None), f"path:{folder}"

    def load(voice: VoiceConfig) -> PiperVoice:
        (loaded,) = load_all([name], voice, lambda said: list(said), store, progress)
        assert isinstance(loaded, PiperVoice)
        return loaded

    with pytest.raises(ConfigError, match=r'speaks \'de\', which needs voice.g2p = "espeak"'):
        load(VoiceConfig(model=name))
    german = load(VoiceConfig(model=name, g2p="espeak"))
    assert german.language == "de"
    words = [word.text for chunk in german.synthesize("Um 14:30.") for word in chunk.words]
    assert words == ["Um ", "14:30."]
    long, short = ([*german.synthesize(text)] for text in ("14:30", "14"))
    assert sum(len(c.samples) for c in long) > 1.5 * sum(len(c.samples) for c in short)
