"""From the names of voices to the voices: which model a name means, of which kind it is, and what
it is loaded with."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from duplex.config import VoiceConfig
from duplex.errors import ConfigError, ModelError
from duplex.model_store import ModelStore, Progress
from duplex.model_store.manifest import load_manifest

if TYPE_CHECKING:
    from tts.espeak.voice import EspeakVoice
    from tts.g2p.g2p import Phonemizer
    from tts.hibari.voice import HibariVoice
    from tts.kokoro.voice import KokoroModel, KokoroVoice
    from tts.piper.voice import PiperVoice
    from tts.shifted import ShiftedVoice
    from tts.types import Voice

    PlainVoice = EspeakVoice | HibariVoice | KokoroVoice | PiperVoice | ShiftedVoice

logger = logging.getLogger(__name__)

KOKORO, ESPEAK = "kokoro", "espeak"
_ALL_SPEAKERS = f"{KOKORO}/*"
_SLOW = 0.7  # s of work for a second of speech: ear and brain need the machine too

Kind = Literal["hibari", "kokoro", "piper"]


class VoiceName(NamedTuple):
    """What ``MODEL``, ``kokoro/SPEAKER``, ``espeak/VOICE``, and ``@+4`` after any, mean."""

    model: str
    speaker: str
    semitones: int


def names_of(voice: VoiceConfig) -> list[str]:
    """The names of all voices; first, that of calls that name none.

    Raises:
        ConfigError: a pitch is moved too far.
    """
    plain, _ = _parse(voice.model)
    names = [voice.model]
    for other in voice.others:
        if other == _ALL_SPEAKERS:
            files = load_manifest()[KOKORO].hashes
            names += [f"{KOKORO}/{Path(f).stem}" for f in files if f.endswith(".bin")]
        else:
            names.append(plain + other if other.startswith("@") else other)
    return list(dict.fromkeys(names))


def models_of(voice: VoiceConfig) -> list[str]:
    """The models of all voices, each once; espeak-ng's are the system's.

    Raises:
        ConfigError: as `names_of`.
    """
    models = dict.fromkeys(_read(name).model for name in names_of(voice))
    return [model for model in models if model != ESPEAK]


def needs_espeak(voice: VoiceConfig) -> bool:
    """Whether the system's espeak-ng has to be there.

    Raises:
        ConfigError: as `names_of`.
    """
    return voice.g2p == ESPEAK or any(_read(name).model == ESPEAK for name in names_of(voice))


def convert_voices(models: Iterable[str], store: ModelStore, progress: Progress) -> None:
    """Cut the graphs of those that are Piper voices; all are installed."""
    for model in models:
        if _kind(model, store) == "piper":
            _split(model, store, progress)


def load_all(
    names: Sequence[str],
    voice: VoiceConfig,
    phonemizer: "Phonemizer",
    store: ModelStore,
    progress: Progress,
) -> "list[PlainVoice]":
    """The voices of those names, which must be installed. Voices of one model share it.

    Raises:
        ConfigError: a model is not what it should be, or has no such speaker.
    """
    read = [_read(name) for name in names]
    is_espeak = read[0].model == ESPEAK
    if voice.kind == "piper" and (is_espeak or _kind(read[0].model, store) != "piper"):
        raise ConfigError(
            f'voice.kind = "piper", but {names[0]} is no Piper voice: voice.model = "piper-joe" is'
        )
    try:
        models = {
            model: _load(model, voice, phonemizer, store, progress)
            for model in dict.fromkeys(name.model for name in read)
            if model != ESPEAK
        }
        voices = [_voice(models.get(name.model), name) for name in read]
    except (ValueError, ImportError) as error:
        raise ConfigError(f"voice: {error}") from error
    _check_pace(names[0], voices[0])
    return voices


def languages_of(voices: "Iterable[Voice]") -> frozenset[str] | None:
    """The codes of the languages that ``voices`` speak; None if one of them does not say."""
    codes = [getattr(voice, "language", None) for voice in voices]
    return None if None in codes else frozenset(map(str, codes))


def language_of_first(voice: VoiceConfig) -> str:
    """The language of calls' first voice, as far as its name or a file beside it tells; no model is
    loaded.

    Raises:
        ConfigError: as `names_of`.
    """
    from tts.g2p.espeak import language_of
    from tts.piper.voice import espeak_voice_in

    read = _read(voice.model)
    if read.model == ESPEAK:
        return language_of(read.speaker)
    folder = Path(read.model.removeprefix("path:"))
    configs = sorted(folder.glob("*.onnx.json")) if read.model != folder.name else []
    own = espeak_voice_in(configs[0]) if len(configs) == 1 else ""
    return language_of(own) if own else "en"


def _parse(name: str) -> tuple[str, int]:
    from tts.shifted import parse_shift

    try:
        return parse_shift(name)
    except ValueError as error:
        raise ConfigError(f"voice: {error}") from error


def _read(name: str) -> VoiceName:
    plain, semitones = _parse(name)
    for model in (KOKORO, ESPEAK):
        if plain.startswith(f"{model}/"):
            return VoiceName(model, plain.removeprefix(f"{model}/"), semitones)
    return VoiceName(plain, "", semitones)


def _kind(model: str, store: ModelStore) -> Kind:
    """By the files: a Piper voice has none with letters, Kokoro a style for each speaker."""
    known = load_manifest().get(model.removeprefix("package:"))
    files = list(known.hashes) if known else [p.name for p in store.path(model).iterdir()]
    if "vocab.json" not in files:
        return "piper"
    return "kokoro" if any(name.endswith(".bin") for name in files) else "hibari"


def _load(
    model: str,
    voice: VoiceConfig,
    phonemizer: "Phonemizer",
    store: ModelStore,
    progress: Progress,
) -> "HibariVoice | KokoroModel | PiperVoice":
    from tts.g2p.espeak import language_of
    from tts.hibari.voice import HibariVoice
    from tts.kokoro.voice import KokoroModel
    from tts.piper.split import CONFIG_FILE
    from tts.piper.voice import PiperVoice, espeak_voice_in

    locale, threads = voice.locale, voice.threads
    match _kind(model, store):
        case "hibari":
            graph = _only(store.path(model), "*.onnx")
            # A second thread gains little here and takes from other calls.
            return HibariVoice(graph, phonemizer, locale=locale, threads=threads or 1)
        case "kokoro":
            path = store.path(model)
            return KokoroModel(path, phonemizer, locale=locale, threads=threads or 2)
        case "piper":
            path = _split(model, store, progress)
            own = espeak_voice_in(path / CONFIG_FILE)
            language = language_of(own) if own else "en"
            if language != "en":
                phonemizer = _foreign(model, own, voice)
            return PiperVoice(
                path, phonemizer, locale=locale, language=language, threads=threads or 2
            )


def _foreign(model: str, own: str, voice: VoiceConfig) -> "Phonemizer":
    """The phonemizer of a Piper voice of another language; only espeak-ng knows those.

    Raises:
        ValueError: that is not chosen, or has no such voice.
        ImportError: it is not installed.
    """
    from tts.g2p.espeak import Espeak

    if voice.g2p != ESPEAK:
        raise ValueError(f'{model} speaks {own!r}, which needs voice.g2p = "espeak"')
    return Espeak(own)


def _voice(
    loaded: "HibariVoice | KokoroModel | PiperVoice | None", name: VoiceName
) -> "PlainVoice":
    from tts.espeak.voice import EspeakVoice
    from tts.kokoro.voice import DEFAULT_SPEAKER, KokoroModel
    from tts.shifted import ShiftedVoice

    if loaded is None:
        plain: PlainVoice = EspeakVoice(name.speaker)
    elif isinstance(loaded, KokoroModel):
        plain = loaded.speaker(name.speaker or DEFAULT_SPEAKER)
    else:
        plain = loaded
    return ShiftedVoice(plain, name.semitones) if name.semitones else plain


def _check_pace(name: str, voice: "PlainVoice") -> None:
    """Say so if the machine does not keep ahead of a voice that takes much of it."""
    from tts.kokoro.voice import KokoroVoice, real_time_factor

    if isinstance(voice, KokoroVoice) and (factor := real_time_factor(voice)) > _SLOW:
        logger.warning(
            "voice %s: this machine takes %.1f s for a second of speech; calls will hear gaps",
            name, factor,
        )  # fmt: skip


def _split(model: str, store: ModelStore, progress: Progress) -> Path:
    from tts.piper.split import RECIPE, split

    def build(target: Path, progress: Progress) -> None:
        try:
            split(_only(store.path(model), "*.onnx"), target)
        except (ValueError, FileNotFoundError) as error:
            raise ModelError(f"voice {model}: {error}") from error

    return store.derived(f"{model}-split", RECIPE, [model], build, progress)


def _only(directory: Path, pattern: str) -> Path:
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise ModelError(f"{directory} should hold one {pattern} file and holds {len(found)}")
    return found[0]
