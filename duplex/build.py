"""From configuration to concrete parts: the only place that names them.

Model code is imported inside the functions, so that the command line starts without it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from duplex.config import Config
from duplex.errors import ConfigError, ModelError
from duplex.models import ModelStore, Progress, parse_source
from duplex.models.manifest import load_manifest

if TYPE_CHECKING:
    from duplex.call import Parts
    from engine.brain.interface import Brain
    from engine.ear.whisper import WhisperEar
    from tts.piper import PiperVoice

VAD = "silero-vad"
G2P = "g2p-en"


def open_store(config: Config) -> ModelStore:
    """The models on this machine.

    Raises:
        ConfigError: a model is named in a way that cannot be a source.
    """
    known = load_manifest()
    for ref in _references(config):
        try:
            if ref not in known:
                parse_source(ref)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    return ModelStore(config.cache_dir())


def install(config: Config, store: ModelStore, progress: Progress) -> None:
    """Fetch, check and convert all that ``config`` needs; quick if it is all there.

    Raises:
        ModelError: something could not be fetched or is not what it should be.
    """
    store.ensure(_references(config), progress)
    _voice_dir(config, store, progress)
    if config.brain.kind == "embedded":
        _brain_dir(config, store, progress)


def load(config: Config, store: ModelStore, progress: Progress) -> "Parts":
    """Install what is missing and load everything.

    Raises:
        ConfigError: the configuration asks for what is not there.
        ModelError: as `install`.
    """
    from duplex.call import Parts
    from duplex.protocol.session_config import (
        AudioConfig,
        AudioInput,
        AudioOutput,
        ServerVad,
        SessionConfig,
    )
    from duplex.vad import SileroVad
    from engine.brain.prompt import system_prompt
    from engine.embedded import EmbeddedEngine
    from engine.worker import Worker

    install(config, store, progress)
    with progress.task("loading the models"):
        engine = EmbeddedEngine(
            load_ear(config, store),
            load_brain(config, store, progress),
            incremental=config.brain.incremental_prefill,
        )
        voice = load_voice(config, store, progress)
        vad = SileroVad(store.path(VAD) / "silero_vad.onnx")
    turn = config.turn
    detection = ServerVad(
        threshold=turn.threshold,
        prefix_padding_ms=turn.prefix_padding_ms,
        silence_duration_ms=turn.hangover_ms,
    )
    defaults = SessionConfig(
        model=config.brain.model,
        instructions=config.brain.instructions or system_prompt(thinking=config.brain.thinking),
        audio=AudioConfig(
            AudioInput(turn_detection=detection), AudioOutput(voice=config.voice.model)
        ),
    )
    return Parts(engine, vad, voice, Worker("voice"), defaults)


def load_ear(config: Config, store: ModelStore) -> "WhisperEar":
    """The speech recogniser.

    Raises:
        ConfigError: the model is none, or does not know the language.
    """
    from engine.ear.whisper import WhisperEar

    ear = config.ear
    try:
        return WhisperEar(store.path(ear.model), threads=ear.threads, language=ear.language)
    except ValueError as error:
        raise ConfigError(f"ear: {error}") from error


def load_voice(config: Config, store: ModelStore, progress: Progress) -> "PiperVoice":
    """The voice.

    Raises:
        ConfigError: espeak is asked for and not there.
    """
    from tts.espeak import Espeak
    from tts.g2p import G2P as DictionaryG2P
    from tts.piper import PiperVoice

    directory = _voice_dir(config, store, progress)
    try:
        espeak = config.voice.g2p == "espeak"
        phonemizer = Espeak() if espeak else DictionaryG2P(store.path(G2P))
    except ImportError as error:
        raise ConfigError(f"voice.g2p: {error}") from error
    return PiperVoice(directory, phonemizer, threads=config.voice.threads)


def load_brain(config: Config, store: ModelStore, progress: Progress) -> "Brain":
    """The language model.

    Raises:
        ConfigError: kind "openai" without an address.
    """
    brain = config.brain
    match brain.kind:
        case "embedded":
            from engine.brain.local import LocalBrain

            return LocalBrain(
                _brain_dir(config, store, progress),
                threads=brain.threads,
                context_tokens=brain.context_tokens,
            )
        case "huggingface":
            from engine.brain.hf import HuggingFaceBrain

            return HuggingFaceBrain(store.path(brain.model), context_tokens=brain.context_tokens)
        case "openai":
            from engine.brain.openai_compatible import OpenAIBrain

            if not brain.base_url:
                raise ConfigError('brain.base_url must be set for brain.kind = "openai"')
            key = os.environ.get(brain.api_key_env, "")
            return OpenAIBrain(brain.base_url, brain.model, api_key=key or "none")


def _references(config: Config) -> list[str]:
    """All models that ``config`` needs."""
    references = [VAD, G2P, config.ear.model, config.voice.model]
    if config.brain.kind != "openai":
        references.append(config.brain.model)
    return references


def _voice_dir(config: Config, store: ModelStore, progress: Progress) -> Path:
    from tts.split import RECIPE, split

    def build(target: Path, progress: Progress) -> None:
        split(_only(store.path(config.voice.model), "*.onnx"), target)

    return store.derived(
        f"{config.voice.model}-split", RECIPE, [config.voice.model], build, progress
    )


def _brain_dir(config: Config, store: ModelStore, progress: Progress) -> Path:
    from engine.brain.convert import RECIPE, convert

    def build(target: Path, progress: Progress) -> None:
        with progress.task(f"converting {config.brain.model}") as task:

            def tell(what: str, done: float) -> None:
                task.detail = f"{what}, {done:.0%}"

            convert(_only(store.path(config.brain.model), "*.gguf"), target, tell)

    return store.derived(
        f"{config.brain.model}-onnx", RECIPE, [config.brain.model], build, progress
    )


def _only(directory: Path, pattern: str) -> Path:
    """The one file of that kind.

    Raises:
        ModelError: there is none, or more than one.
    """
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise ModelError(f"{directory} should hold one {pattern} file and holds {len(found)}")
    return found[0]
