"""From configuration to concrete parts: the only place that names them.

Model code is imported inside the functions, so that the command line starts without it.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from duplex.app.build_native import load_native, load_own_voice
from duplex.config import Config
from duplex.errors import ConfigError, ModelError
from duplex.model_store import ModelStore, Progress, parse_source
from duplex.model_store.manifest import load_manifest

if TYPE_CHECKING:
    from duplex.dialogue.interfaces import Engine
    from duplex.dialogue.parts import Parts
    from engine.brain.interface import Brain
    from engine.ear.whisper import WhisperEar
    from engine.types import GenerationOptions
    from tts.piper.shifted import ShiftedVoice
    from tts.piper.voice import PiperVoice
    from tts.types import Voice

    PlainVoice = PiperVoice | ShiftedVoice

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
    for voice in sorted({_shift(name)[0] for name in _voices(config)}):
        _voice_dir(voice, store, progress)
    if config.brain.kind == "embedded":
        for brain in (config.brain.model, *config.brain.others):
            _brain_dir(brain, store, progress)


def load(config: Config, store: ModelStore, progress: Progress) -> "Parts":
    """Install what is missing and load everything.

    Raises:
        ConfigError: the configuration asks for what is not there.
        ModelError: as `install`.
    """
    from duplex.dialogue.parts import Parts
    from duplex.protocol.session_config import (
        AudioConfig,
        AudioInput,
        AudioOutput,
        ServerVad,
        SessionConfig,
    )
    from duplex.turns.vad import SileroVad
    from engine.brain.style import system_prompt
    from engine.worker import Worker

    install(config, store, progress)
    with progress.task("loading the models"):
        engine, engines = load_engines(config, store, progress)
        voice, *others = _answer_voices(config, store, progress)
        vad = SileroVad(store.path(VAD) / "silero_vad.onnx")
    turn = config.turn
    thinking = config.brain.thinking != "off" and config.brain.kind != "native"
    detection = ServerVad(
        threshold=turn.threshold,
        prefix_padding_ms=turn.prefix_padding_ms,
        silence_duration_ms=turn.hangover_ms,
        idle_timeout_ms=round(turn.idle_prompt_s * 1000) or None,
    )
    defaults = SessionConfig(
        model=config.brain.model,
        instructions=config.brain.instructions or system_prompt(thinking=thinking),
        audio=AudioConfig(
            AudioInput(turn_detection=detection), AudioOutput(voice=config.voice.model)
        ),
    )
    voices = dict(zip(_voices(config)[1:], others, strict=True)) if others else {}
    worker = Worker("voice")
    return Parts(engine, vad, voice, worker, defaults, generation(config), engines, voices)


def load_engines(
    config: Config, store: ModelStore, progress: Progress
) -> "tuple[Engine, dict[str, Engine]]":
    """What hears and thinks, and the others by the name of their model. They share the ear.

    Raises:
        ConfigError: the configuration asks for what is not there, or what cannot be.
        ModelError: the native engine's checkpoint cannot be used.
    """
    if config.brain.kind == "native" and config.brain.others:
        raise ConfigError('brain.others: brain.kind = "native" has one model at a time')
    ear = load_ear(config, store)
    others: dict[str, Engine] = {}
    for name in config.brain.others:
        other = structs.replace(config, brain=structs.replace(config.brain, model=name))
        others[name] = _load_engine(other, ear, store, progress)
    return _load_engine(config, ear, store, progress), others


def _load_engine(
    config: Config, ear: "WhisperEar", store: ModelStore, progress: Progress
) -> "Engine":
    from engine.embedded import EmbeddedEngine

    if config.brain.kind == "native":
        from engine.native.engine import NativeEngine

        model = load_native(config, store, progress)
        if model.tower is not None:
            return NativeEngine(ear, model.tower, model.brain)
        brain: Brain = model.brain
    else:
        brain = load_brain(config, store, progress)
    return EmbeddedEngine(ear, brain, incremental=config.brain.incremental_prefill)


def generation(config: Config) -> "GenerationOptions":
    """How answers are decoded if the client says nothing else."""
    from engine.types import GenerationOptions

    brain, native = config.brain, config.native
    options = GenerationOptions(brain.max_tokens, temperature=brain.temperature)
    if brain.kind == "native":
        options = replace(
            options,
            temperature=native.temperature,
            top_p=native.top_p,
            repetition_penalty=native.repetition_penalty,
        )
    if brain.thinking == "off":
        return options
    return replace(options, think_tokens=brain.thoughts(), thinking=brain.thinking)


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


def load_voice(config: Config, store: ModelStore, progress: Progress) -> "PlainVoice":
    """The voice.

    Raises:
        ConfigError: espeak is asked for and not there.
    """
    return load_voices(config, [config.voice.model], store, progress)[0]


def load_voices(
    config: Config, names: Sequence[str], store: ModelStore, progress: Progress
) -> "list[PlainVoice]":
    """The voices of those names. What only differs in pitch is loaded once.

    Raises:
        ConfigError: espeak is asked for and not there.
    """
    from tts.g2p.espeak import Espeak
    from tts.g2p.g2p import G2P as DictionaryG2P
    from tts.piper.shifted import ShiftedVoice
    from tts.piper.voice import PiperVoice

    try:
        espeak = config.voice.g2p == "espeak"
        phonemizer = Espeak() if espeak else DictionaryG2P(store.path(G2P))
    except ImportError as error:
        raise ConfigError(f"voice.g2p: {error}") from error
    shifts = [_shift(name) for name in names]
    loaded = {
        model: PiperVoice(
            _voice_dir(model, store, progress),
            phonemizer,
            locale=config.voice.locale,
            threads=config.voice.threads,
        )
        for model in {model for model, _ in shifts}
    }
    return [
        ShiftedVoice(loaded[model], semitones) if semitones else loaded[model]
        for model, semitones in shifts
    ]


def _answer_voices(config: Config, store: ModelStore, progress: Progress) -> "Sequence[Voice]":
    """The voice of those who name none, and the others."""
    if config.brain.kind == "native" and config.native.speaks:
        return [load_own_voice(config, store)]
    return load_voices(config, _voices(config), store, progress)


def _voices(config: Config) -> list[str]:
    """All voices by name, the one of those who name none first."""
    model = config.voice.model
    plain = _shift(model)[0]
    return [model, *(plain + o if o.startswith("@") else o for o in config.voice.others)]


def _shift(name: str) -> tuple[str, int]:
    """A voice's name apart from how far it is moved.

    Raises:
        ConfigError: too far.
    """
    from tts.piper.shifted import parse_shift

    try:
        return parse_shift(name)
    except ValueError as error:
        raise ConfigError(f"voice: {error}") from error


def load_brain(config: Config, store: ModelStore, progress: Progress) -> "Brain":
    """The language model, if it is not the native engine's.

    Raises:
        ConfigError: kind "openai" without an address.
    """
    brain = config.brain
    assert brain.kind != "native"
    match brain.kind:
        case "embedded":
            from engine.brain.local_brain import LocalBrain

            return LocalBrain(
                _brain_dir(brain.model, store, progress),
                threads=brain.threads,
                context_tokens=brain.context(),
            )
        case "huggingface":
            from engine.brain.hf import HuggingFaceBrain

            return HuggingFaceBrain(store.path(brain.model), context_tokens=brain.context())
        case "openai":
            from engine.brain.openai_compatible import OpenAIBrain

            if not brain.base_url:
                raise ConfigError('brain.base_url must be set for brain.kind = "openai"')
            key = os.environ.get(brain.api_key_env, "")
            return OpenAIBrain(brain.base_url, brain.model, api_key=key or "none")


def _references(config: Config) -> list[str]:
    """All models that ``config`` needs."""
    references = [VAD, G2P, config.ear.model, *dict.fromkeys(_shift(v)[0] for v in _voices(config))]
    if config.brain.kind != "openai":
        references += [config.brain.model, *config.brain.others]
    return references


def _voice_dir(model: str, store: ModelStore, progress: Progress) -> Path:
    from tts.piper.split import RECIPE, split

    def build(target: Path, progress: Progress) -> None:
        split(_only(store.path(model), "*.onnx"), target)

    return store.derived(f"{model}-split", RECIPE, [model], build, progress)


def _brain_dir(model: str, store: ModelStore, progress: Progress) -> Path:
    from engine.brain.convert import RECIPE, convert

    def build(target: Path, progress: Progress) -> None:
        with progress.task(f"converting {model}") as task:

            def tell(what: str, done: float) -> None:
                task.detail = f"{what}, {done:.0%}"

            convert(_only(store.path(model), "*.gguf"), target, tell)

    return store.derived(f"{model}-onnx", RECIPE, [model], build, progress)


def _only(directory: Path, pattern: str) -> Path:
    """The one file of that kind.

    Raises:
        ModelError: there is none, or more than one.
    """
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise ModelError(f"{directory} should hold one {pattern} file and holds {len(found)}")
    return found[0]
