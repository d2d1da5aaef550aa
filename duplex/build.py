"""From configuration to concrete parts: the only place that names them.

Model code is imported inside the functions, so that the command line starts without it.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from duplex.config import Config
from duplex.errors import ConfigError, ModelError
from duplex.models import ModelStore, Progress, parse_source
from duplex.models.manifest import load_manifest

if TYPE_CHECKING:
    import torch

    from duplex.call import Parts
    from duplex.interfaces import Engine
    from engine.brain.interface import Brain
    from engine.ear.whisper import WhisperEar
    from engine.native.load import NativeModel
    from engine.types import GenerationOptions
    from tts.piper import PiperVoice
    from tts.types import Voice

VAD = "silero-vad"
G2P = "g2p-en"
LATENT_MS = 80  # of audio in one latent of Step-Audio's adaptor


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
    from engine.worker import Worker

    install(config, store, progress)
    with progress.task("loading the models"):
        engine = load_engine(config, store, progress)
        voice = _answer_voice(config, store, progress)
        vad = SileroVad(store.path(VAD) / "silero_vad.onnx")
    turn = config.turn
    thinking = config.brain.thinking != "off" and config.brain.kind != "native"
    detection = ServerVad(
        threshold=turn.threshold,
        prefix_padding_ms=turn.prefix_padding_ms,
        silence_duration_ms=turn.hangover_ms,
    )
    defaults = SessionConfig(
        model=config.brain.model,
        instructions=config.brain.instructions or system_prompt(thinking=thinking),
        audio=AudioConfig(
            AudioInput(turn_detection=detection), AudioOutput(voice=config.voice.model)
        ),
    )
    return Parts(engine, vad, voice, Worker("voice"), defaults, generation(config))


def load_engine(config: Config, store: ModelStore, progress: Progress) -> "Engine":
    """What hears and thinks.

    Raises:
        ConfigError: the configuration asks for what is not there.
        ModelError: the native engine's checkpoint cannot be used.
    """
    from engine.embedded import EmbeddedEngine

    ear = load_ear(config, store)
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


def _answer_voice(config: Config, store: ModelStore, progress: Progress) -> "Voice":
    if config.brain.kind == "native" and config.native.speaks:
        return load_own_voice(config, store)
    return load_voice(config, store, progress)


def load_own_voice(config: Config, store: ModelStore) -> "Voice":
    """The voice of a Step-Audio checkpoint that speaks itself.

    Raises:
        ConfigError: no voice prompt is given.
        ModelError: the checkpoint has no voice, or its files or the prompt cannot be used.
    """
    from tts.token2wav.prompt import read_prompt
    from tts.token2wav.voice import TokenVoice

    if not config.native.voice_prompt:
        raise ConfigError("native.speaks needs native.voice_prompt")
    directory = store.path(config.brain.model) / "token2wav"
    device, dtype = _device(config)
    try:
        prompt = read_prompt(Path(config.native.voice_prompt).expanduser(), directory)
        return TokenVoice.load(directory, prompt, device=device, dtype=dtype)
    except (ValueError, OSError) as error:
        raise ModelError(f"{directory}: {error}") from error


def load_brain(config: Config, store: ModelStore, progress: Progress) -> "Brain":
    """The language model, if it is not the native engine's.

    Raises:
        ConfigError: kind "openai" without an address.
    """
    brain = config.brain
    assert brain.kind != "native"
    match brain.kind:
        case "embedded":
            from engine.brain.local import LocalBrain

            return LocalBrain(
                _brain_dir(config, store, progress),
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


def load_native(config: Config, store: ModelStore, progress: Progress) -> "NativeModel":
    """The model of the native engine, on its device.

    Raises:
        ConfigError: a package or the device that it needs is missing.
        ModelError: the checkpoint cannot be used.
    """
    try:
        from engine.native.load import load_model
        from engine.native.minds import Pace
        from engine.native.placing import NativeOptions
        from engine.native.planning import Limits
        from engine.native.sound import SoundConfig
    except ImportError as error:
        raise ConfigError(f'brain.kind = "native" needs the extra "native": {error}') from error
    brain, native = config.brain, config.native
    device, dtype = _device(config)
    options = NativeOptions(
        device=device,
        dtype=dtype,
        weight_bits=native.weight_bits,
        context_tokens=brain.context(),
        cache_tokens=native.cache_tokens,
        calls=config.server.max_calls,
        limits=Limits(prefill_beside_decode=native.prefill_tokens),
        sound=SoundConfig(
            chunk=max(1, native.chunk_ms // LATENT_MS),
            lookahead=native.lookahead_ms // LATENT_MS,
        ),
        pace=Pace(
            native.thought_tokens,
            native.speech_tokens or (100 if native.speaks else 20),
            speak_margin_s=native.speak_margin_s,
        ),
        speaks=native.speaks,
    )
    with progress.task(f"loading {brain.model}") as task:

        def tell(what: str, done: float) -> None:
            task.detail = f"{what}, {done:.0%}"

        try:
            return load_model(store.path(brain.model), options, tell)
        except (ValueError, OSError) as error:
            raise ModelError(f"{brain.model}: {error}") from error


def _device(config: Config) -> "tuple[str, torch.dtype]":
    """Where the native engine runs, and in what precision."""
    import torch

    device, name = config.native.device, config.native.dtype
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "auto":
        name = "bfloat16" if device.startswith("cuda") else "float32"
    torch.set_num_threads(config.brain.threads)
    dtype: torch.dtype = getattr(torch, name)
    return device, dtype


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
