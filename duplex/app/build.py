"""From configuration to concrete parts: the only place that names them.

What is given, or comes from a plug-in, is used as it is (`duplex.app.plugins`); the rest is made
here. Model code is imported inside the functions, so that the command line starts without it.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from duplex.app.build_native import load_native, load_own_voice
from duplex.app.plugins import Given, is_made, name_of, with_plugins
from duplex.config import Config
from duplex.errors import ConfigError, ModelError
from duplex.model_store import ModelStore, Progress, parse_source
from duplex.model_store.manifest import load_manifest

if TYPE_CHECKING:
    from duplex.dialogue.interfaces import Engine
    from duplex.dialogue.parts import Parts
    from duplex.protocol.session_config import SessionConfig
    from duplex.turns.interfaces import Vad
    from engine.brain.interface import Brain
    from engine.ear.interface import Ear
    from engine.types import GenerationOptions
    from tts.piper.shifted import ShiftedVoice
    from tts.piper.voice import PiperVoice
    from tts.types import Voice

    PlainVoice = PiperVoice | ShiftedVoice

VAD = "silero-vad"
G2P = "g2p-en"
NOTHING_GIVEN = Given()


def open_store(config: Config, given: Given = NOTHING_GIVEN) -> ModelStore:
    """The models on this machine.

    Raises:
        ConfigError: a model is named in a way that cannot be a source.
    """
    known = load_manifest()
    for ref in _references(config, given):
        try:
            if ref not in known:
                parse_source(ref)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    return ModelStore(config.cache_dir())


def install(
    config: Config, store: ModelStore, progress: Progress, given: Given = NOTHING_GIVEN
) -> None:
    """Fetch, check and convert all that ``config`` needs; quick if it is all there.

    Raises:
        ModelError: something could not be fetched or is not what it should be.
    """
    store.ensure(_references(config, given), progress)
    for voice in _models_of_voices(config, given):
        _voice_dir(voice, store, progress)
    if config.brain.kind == "embedded" and is_made(config, given, "brain"):
        for brain in (config.brain.model, *config.brain.others):
            _brain_dir(brain, store, progress)


def load(
    config: Config, store: ModelStore, progress: Progress, given: Given = NOTHING_GIVEN
) -> "Parts":
    """Install what is missing and load everything that is not given.

    Raises:
        ConfigError: the configuration asks for what is not there.
        ModelError: as `install`.
    """
    from duplex.dialogue.parts import Parts
    from engine.worker import Worker

    defaults = defaults_of(config, given)
    with progress.task("loading the plug-ins"):
        given = with_plugins(config, given)
    install(config, store, progress, given)
    with progress.task("loading the models"):
        engine, engines = load_engines(config, store, progress, given)
        voice, voices = _load_voices(config, store, progress, given)
        vad = _load_vad(store) if given.vad is None else given.vad
    worker = Worker("voice")
    return Parts(engine, vad, voice, worker, defaults, generation(config), engines, voices)


def defaults_of(config: Config, given: Given = NOTHING_GIVEN) -> "SessionConfig":
    """What a call starts with. ``given`` is from before its plug-ins were loaded."""
    from duplex.protocol.session_config import (
        AudioConfig,
        AudioInput,
        AudioOutput,
        ServerVad,
        SessionConfig,
    )
    from engine.brain.style import system_prompt

    turn = config.turn
    thinking = config.brain.thinking != "off" and config.brain.kind != "native"
    detection = ServerVad(
        threshold=turn.threshold,
        prefix_padding_ms=turn.prefix_padding_ms,
        silence_duration_ms=turn.hangover_ms,
        idle_timeout_ms=round(turn.idle_prompt_s * 1000) or None,
    )
    voice = name_of(config, given, "voice") or config.voice.model
    is_engine = given.ear is None and given.brain is None  # else no engine is a plug-in
    model = (name_of(config, given, "engine") if is_engine else None) or name_of(
        config, given, "brain"
    )
    return SessionConfig(
        model=model or config.brain.model,
        instructions=config.brain.instructions or system_prompt(thinking=thinking),
        audio=AudioConfig(AudioInput(turn_detection=detection), AudioOutput(voice=voice)),
    )


def _load_vad(store: ModelStore) -> "Vad":
    from duplex.turns.vad import SileroVad

    return SileroVad(store.path(VAD) / "silero_vad.onnx")


def load_engines(
    config: Config, store: ModelStore, progress: Progress, given: Given = NOTHING_GIVEN
) -> "tuple[Engine, dict[str, Engine]]":
    """The first engine, and all others by the name of their model. They share the ear.

    Raises:
        ConfigError: the configuration asks for what is not there or cannot be.
        ModelError: the native engine's checkpoint cannot be used.
    """
    has_others = config.brain.kind != "native" and is_made(config, given, "brain")
    if config.brain.others and not has_others:
        raise ConfigError("brain.others: the native engine, and a brain of your own, is alone")
    if given.engine is not None:
        return given.engine, {}
    ear = load_ear(config, store) if given.ear is None else given.ear
    others: dict[str, Engine] = {}
    for name in config.brain.others:
        other = structs.replace(config, brain=structs.replace(config.brain, model=name))
        others[name] = _load_engine(other, ear, None, store, progress)
    return _load_engine(config, ear, given.brain, store, progress), others


def _load_engine(
    config: Config, ear: "Ear", brain: "Brain | None", store: ModelStore, progress: Progress
) -> "Engine":
    from engine.embedded import EmbeddedEngine

    if brain is None and config.brain.kind == "native":
        from engine.native.engine import NativeEngine

        model = load_native(config, store, progress)
        if model.tower is not None:
            return NativeEngine(ear, model.tower, model.brain)
        brain = model.brain
    elif brain is None:
        brain = load_brain(config, store, progress)
    return EmbeddedEngine(ear, brain, incremental=config.brain.incremental_prefill)


def generation(config: Config) -> "GenerationOptions":
    """How replies are decoded, where a client does not limit them further."""
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


def load_ear(config: Config, store: ModelStore) -> "Ear":
    """The Whisper that ``ear.model`` names, which must be installed.

    Raises:
        ConfigError: it cannot be used, or does not know the language.
    """
    from engine.ear.whisper import WhisperEar

    ear = config.ear
    try:
        return WhisperEar(store.path(ear.model), threads=ear.threads, language=ear.language)
    except ValueError as error:
        raise ConfigError(f"ear: {error}") from error


def load_voice(config: Config, store: ModelStore, progress: Progress) -> "PlainVoice":
    """The Piper voice that ``voice.model`` names, installed if it is missing.

    Raises:
        ConfigError: espeak is asked for and not installed.
        ModelError: it cannot be installed.
    """
    store.ensure([G2P], progress)
    return load_voices(config, [config.voice.model], store, progress)[0]


def load_voices(
    config: Config, names: Sequence[str], store: ModelStore, progress: Progress
) -> "list[PlainVoice]":
    """The Piper voices of those names, which must be installed. Names that differ only in pitch
    share one model.

    Raises:
        ConfigError: espeak is asked for and not installed.
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


def _load_voices(
    config: Config, store: ModelStore, progress: Progress, given: Given
) -> "tuple[Voice, dict[str, Voice]]":
    """The voice of calls that name none, and all others by name."""
    if given.voice is not None:
        return given.voice, {}
    if is_made(config, given, "brain") and config.brain.kind == "native" and config.native.speaks:
        return load_own_voice(config, store), {}
    names = _voices(config)
    first, *others = load_voices(config, names, store, progress)
    return first, dict(zip(names[1:], others, strict=True))


def _voices(config: Config) -> list[str]:
    """The names of all voices; first, that of calls that name none."""
    model = config.voice.model
    plain = _shift(model)[0]
    return [model, *(plain + o if o.startswith("@") else o for o in config.voice.others)]


def _shift(name: str) -> tuple[str, int]:
    """Split ``VOICE@+4`` into the voice's name and the semitones, 0 if there are none.

    Raises:
        ConfigError: the pitch is moved too far.
    """
    from tts.piper.shifted import parse_shift

    try:
        return parse_shift(name)
    except ValueError as error:
        raise ConfigError(f"voice: {error}") from error


def load_brain(config: Config, store: ModelStore, progress: Progress) -> "Brain":
    """The language model of the embedded engine.

    Raises:
        ConfigError: the kind is unknown, or "openai" without an address.
    """
    brain = config.brain
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
        case _:
            raise ConfigError(f"brain.kind: {brain.kind!r} is no language model of ours")


def _references(config: Config, given: Given) -> list[str]:
    """All models that are needed for what is made here."""
    references = []
    if is_made(config, given, "vad"):
        references.append(VAD)
    if is_made(config, given, "voice"):
        references += [G2P, *_models_of_voices(config, given)]
    if is_made(config, given, "ear"):
        references.append(config.ear.model)
    if is_made(config, given, "brain") and config.brain.kind != "openai":
        references += [config.brain.model, *config.brain.others]
    return references


def _models_of_voices(config: Config, given: Given) -> list[str]:
    """The Piper voices that are needed."""
    if not is_made(config, given, "voice"):
        return []
    return list(dict.fromkeys(_shift(name)[0] for name in _voices(config)))


def _voice_dir(model: str, store: ModelStore, progress: Progress) -> Path:
    from tts.piper.split import RECIPE, split

    def build(target: Path, progress: Progress) -> None:
        split(_only(store.path(model), "*.onnx"), target)

    return store.derived(f"{model}-split", RECIPE, [model], build, progress)


def _brain_dir(model: str, store: ModelStore, progress: Progress) -> Path:
    from engine.brain.convert import RECIPE, convert

    def build(target: Path, progress: Progress) -> None:
        with progress.task(f"converting {model}") as task:

            def report(what: str, done: float) -> None:
                task.detail = f"{what}, {done:.0%}"

            convert(_only(store.path(model), "*.gguf"), target, report)

    return store.derived(f"{model}-onnx", RECIPE, [model], build, progress)


def _only(directory: Path, pattern: str) -> Path:
    """The only file in ``directory`` that matches.

    Raises:
        ModelError: no file matches, or more than one does.
    """
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise ModelError(f"{directory} should hold one {pattern} file and holds {len(found)}")
    return found[0]
