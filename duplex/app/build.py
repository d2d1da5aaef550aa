"""From configuration to concrete parts: the only place that names them.

What is given, or comes from a plug-in, is used as it is (`duplex.app.plugins`); the rest is made
here. Model code is imported inside the functions, so that the command line starts without it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from duplex.app.build_ear import ear_model, load_ear, tell_unspoken
from duplex.app.build_elsewhere import as_engine_has_it, with_elsewhere
from duplex.app.build_native import load_native, load_own_voice
from duplex.app.build_remote import (
    REMOTE,
    ask_services,
    load_remote_brain,
    load_remote_voices,
    speakers,
)
from duplex.app.build_vllm import load_vllm, model_dir
from duplex.app.build_voices import convert_voices, languages_of, load_all, models_of, names_of
from duplex.app.generation import generation
from duplex.app.needs import check_needs
from duplex.app.plugins import NOTHING_GIVEN, Given, is_made, name_of, with_plugins
from duplex.config import Config
from duplex.errors import ConfigError, ModelError
from duplex.model_store import ModelStore, Progress, parse_source
from duplex.model_store.manifest import load_manifest

if TYPE_CHECKING:
    from duplex.app.build_voices import PlainVoice
    from duplex.dialogue.interfaces import EndEar, Engine
    from duplex.dialogue.parts import Parts
    from duplex.protocol.session_config import SessionConfig
    from duplex.turns.vad import SileroVad
    from engine.brain.interface import Brain
    from engine.ear.evidence import SpeechMeter
    from engine.ear.interface import Ear
    from tts.openai.voice import OpenAIVoice
    from tts.types import Voice

VAD = "silero-vad"
END_EAR = "smart-turn-v3"
G2P = "g2p-en"


def open_store(config: Config, given: Given = NOTHING_GIVEN) -> ModelStore:
    """The models on this machine.

    Raises:
        ConfigError: a model is named in a way that cannot be a source.
    """
    known = load_manifest()
    for ref in references(config, given):
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
        ConfigError: a package that it needs is missing.
        ModelError: something could not be fetched or is not what it should be.
    """
    check_needs(config, given)
    store.ensure(references(config, given), progress)
    convert_voices(_models_of_voices(config, given), store, progress)
    if config.brain.kind == "embedded" and is_made(config, given, "brain"):
        for brain in (config.brain.model, *config.brain.others):
            _brain_dir(brain, store, progress)
    if config.brain.kind == "vllm" and is_made(config, given, "brain"):
        model_dir(config.brain.model, store, progress)


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
    given, elsewhere = with_elsewhere(config, given)
    config = ask_services(config, given)
    install(config, store, progress, given)
    with progress.task("loading the models"):
        silero = _load_vad(store) if given.vad is None else None
        engine, engines = load_engines(config, store, progress, given, silero)
        voice, voices = _load_voices(config, store, progress, given)
        vad = silero or given.vad
        assert vad is not None
    spoken = languages_of([voice, *voices.values()])
    if given.ear is None:
        tell_unspoken(config.ear, spoken)
    own = is_made(config, given, "brain") and config.brain.kind == "native"
    options = generation(config, store.path(config.brain.model) if own else None, given)
    worker = Worker("voice", speakers(config, given))
    parts = Parts(
        engine,
        vad,
        voice,
        worker,
        defaults,
        options,
        engines,
        voices,
        voice_languages=spoken,
        end_ear=_load_end_ear(store) if _listens(config, given) else None,
    )
    return parts if elsewhere is None else as_engine_has_it(parts, config, elsewhere)


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
    # A native model, and one with a preset, is not told how to think: it knows.
    is_told = config.brain.kind != "native" and not config.brain.preset
    thinking = config.brain.thinking != "off" and is_told
    detection = ServerVad(
        threshold=turn.threshold,
        prefix_padding_ms=turn.prefix_padding_ms,
        silence_duration_ms=turn.hangover_ms,
        idle_timeout_ms=round(turn.idle_prompt_s * 1000) or None,
    )
    own = config.voice.name if config.voice.kind == REMOTE else config.voice.model
    voice = name_of(config, given, "voice") or own
    is_engine = given.ear is None and given.brain is None  # else no engine is a plug-in
    model = (name_of(config, given, "engine") if is_engine else None) or name_of(
        config, given, "brain"
    )
    return SessionConfig(
        model=model or config.brain.model,
        instructions=config.brain.instructions or system_prompt(thinking=thinking),
        audio=AudioConfig(AudioInput(turn_detection=detection), AudioOutput(voice=voice)),
    )


def _load_vad(store: ModelStore) -> "SileroVad":
    from duplex.turns.vad import SileroVad

    return SileroVad(store.path(VAD) / "silero_vad.onnx")


def load_engines(
    config: Config,
    store: ModelStore,
    progress: Progress,
    given: Given = NOTHING_GIVEN,
    silero: "SileroVad | None" = None,
) -> "tuple[Engine, dict[str, Engine]]":
    """The first engine, and all others by the name of their model. They share the ear.
    ``silero`` tells them speech from noise where the ear is in doubt.

    Raises:
        ConfigError: the configuration asks for what is not there or cannot be.
        ModelError: the native engine's checkpoint cannot be used.
    """
    is_alone = config.brain.kind in ("native", "vllm")
    has_others = not is_alone and is_made(config, given, "brain")
    if config.brain.others and not has_others:
        raise ConfigError(
            'brain.others: a brain of kind "native" or "vllm", or of your own, is alone'
        )
    if given.engine is not None:
        return given.engine, {}
    meter = None if silero is None else silero.probabilities
    ear = load_ear(config, store, meter, progress) if given.ear is None else given.ear
    others: dict[str, Engine] = {}
    for name in config.brain.others:
        other = structs.replace(config, brain=structs.replace(config.brain, model=name))
        others[name] = _load_engine(other, ear, None, store, progress, meter)
    return _load_engine(config, ear, given.brain, store, progress, meter), others


def _load_engine(
    config: Config,
    ear: "Ear",
    brain: "Brain | None",
    store: ModelStore,
    progress: Progress,
    meter: "SpeechMeter | None",
) -> "Engine":
    from engine.embedded import EmbeddedEngine

    if brain is None and config.brain.kind == "native":
        from engine.native.engine import NativeEngine

        model = load_native(config, store, progress)
        if model.tower is not None:
            return NativeEngine(ear, model.tower, model.brain, meter)
        brain = model.brain
    elif brain is None:
        remote = config.brain
        if remote.kind == REMOTE and (remote.hears or remote.prefill_ahead):
            from engine.remote_brain import RemoteBrainEngine

            client = load_remote_brain(config)
            return RemoteBrainEngine(ear, client, hears=remote.hears, meter=meter)
        brain = load_brain(config, store, progress)
    return EmbeddedEngine(
        ear,
        brain,
        incremental=config.brain.incremental_prefill,
        meter=meter,
        tells_manner=config.ear.manner,
    )


def load_voice(config: Config, store: ModelStore, progress: Progress) -> "PlainVoice | OpenAIVoice":
    """The voice that ``voice.model`` names, installed if it is missing.

    Raises:
        ConfigError: espeak is asked for and not installed, or the voice cannot be used.
        ModelError: it cannot be installed.
    """
    if config.voice.kind == REMOTE:
        return load_remote_voices(config)[0]
    store.ensure([G2P, *models_of(structs.replace(config.voice, others=()))], progress)
    return load_voices(config, [config.voice.model], store, progress)[0]


def load_voices(
    config: Config, names: Sequence[str], store: ModelStore, progress: Progress
) -> "list[PlainVoice]":
    """The voices of those names, which must be installed.

    Raises:
        ConfigError: espeak is asked for and not installed, or a voice is not what it should be.
    """
    from tts.g2p.espeak import Espeak
    from tts.g2p.g2p import G2P as DictionaryG2P

    try:
        espeak = config.voice.g2p == "espeak"
        phonemizer = Espeak() if espeak else DictionaryG2P(store.path(G2P))
    except ImportError as error:
        raise ConfigError(f"voice.g2p: {error}") from error
    return load_all(names, config.voice, phonemizer, store, progress)


def _listens(config: Config, given: Given) -> bool:
    """Whether the sound of a turn's end is judged, where speech is found by our own detector."""
    return config.turn.listens_to_ends and is_made(config, given, "vad")


def _load_end_ear(store: ModelStore) -> "EndEar":
    from engine.ear.smart_turn import SmartTurn, SmartTurnEar

    return SmartTurnEar(SmartTurn(_only(store.path(END_EAR), "*.onnx")))


def _load_voices(
    config: Config, store: ModelStore, progress: Progress, given: Given
) -> "tuple[Voice, dict[str, Voice]]":
    """The voice of calls that name none, and all others by name."""
    if given.voice is not None:
        return given.voice, {}
    if is_made(config, given, "brain") and config.brain.kind == "native" and config.native.speaks:
        return load_own_voice(config, store), {}
    if config.voice.kind == REMOTE:
        return load_remote_voices(config)
    names = names_of(config.voice)
    first, *others = load_voices(config, names, store, progress)
    return first, dict(zip(names[1:], others, strict=True))


def load_brain(config: Config, store: ModelStore, progress: Progress) -> "Brain":
    """The language model of the embedded engine.

    Raises:
        ConfigError: the kind is unknown, or the address, key, proxy or model of "openai" is wrong.
        ModelError: the model's files cannot be used.
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

            try:
                return HuggingFaceBrain(store.path(brain.model), context_tokens=brain.context())
            except (OSError, ValueError) as error:
                raise ModelError(f"brain.model = {brain.model!r}: {_line(error)}") from error
        case "vllm":
            return load_vllm(config, store, progress)
        case "openai":
            return load_remote_brain(config)
        case _:
            raise ConfigError(f"brain.kind: {brain.kind!r} is no language model of ours")


def references(config: Config, given: Given = NOTHING_GIVEN) -> list[str]:
    """All models that are needed for what is made here."""
    references = []
    if is_made(config, given, "vad"):
        references.append(VAD)
    if _listens(config, given):
        references.append(END_EAR)
    if is_made(config, given, "voice"):
        references += (
            [G2P, *_models_of_voices(config, given)] if config.voice.kind != REMOTE else []
        )
    if is_made(config, given, "ear") and config.ear.kind != REMOTE:
        references.append(ear_model(config.ear))
    if is_made(config, given, "brain") and config.brain.kind != REMOTE:
        references += [config.brain.model, *config.brain.others]
    return references


def _models_of_voices(config: Config, given: Given) -> list[str]:
    """The models of the voices that are needed."""
    is_made_here = is_made(config, given, "voice") and config.voice.kind != REMOTE
    return models_of(config.voice) if is_made_here else []


def _brain_dir(model: str, store: ModelStore, progress: Progress) -> Path:
    from engine.brain.convert import RECIPE, convert

    def build(target: Path, progress: Progress) -> None:
        with progress.task(f"converting {model}") as task:

            def report(what: str, done: float) -> None:
                task.detail = f"{what}, {done:.0%}"

            try:
                convert(_only(store.path(model), "*.gguf"), target, report)
            except ValueError as error:
                raise ModelError(
                    f"{model}: {error}. Any other model can be behind a server of its own, such as "
                    'llama.cpp or Ollama: brain.kind = "openai"'
                ) from error

    return store.derived(f"{model}-onnx", RECIPE, [model], build, progress)


def _line(error: Exception) -> str:
    """What a library says at length, in one line."""
    return " ".join(str(error).split())


def _only(directory: Path, pattern: str) -> Path:
    """The only file in ``directory`` that matches.

    Raises:
        ModelError: no file matches, or more than one does.
    """
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise ModelError(f"{directory} should hold one {pattern} file and holds {len(found)}")
    return found[0]
