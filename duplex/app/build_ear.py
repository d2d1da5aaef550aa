"""The ear: which one hears if ``ear.model`` is "auto", and what of it is said at start."""

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from duplex.app.build_remote import REMOTE, load_remote_ear
from duplex.config import Config, EarConfig
from duplex.errors import ConfigError
from duplex.model_store import ModelStore, Progress

if TYPE_CHECKING:
    from engine.ear.evidence import SpeechMeter
    from engine.ear.interface import Ear

AUTO = "auto"
ENGLISH = "whisper-tiny.en"
MULTILINGUAL = "whisper-base"
# The exact pass runs in the pause, of 300 ms at the least, and the brain has to begin in it too.
BOUND_MS = 150
_TYPICAL_S = 3  # of speech in a turn
_RATE_HZ = 16_000
_TIMES_ENGLISH = 2.2  # what the multilingual ear computes for the same sound; word_errors.json
_SPARE_CORES = 4  # the brain and other calls leave some over

logger = logging.getLogger(__name__)


def load_ear(
    config: Config,
    store: ModelStore,
    meter: "SpeechMeter | None" = None,
    progress: Progress | None = None,
) -> "Ear":
    """The ear that the configuration names; a Whisper must be installed, but for a larger one
    that "auto" takes. ``meter`` tells it speech from noise where it is in doubt.

    Raises:
        ConfigError: it cannot be used, or does not know the language.
        ModelError: the larger one cannot be installed.
    """
    ear = config.ear
    if ear.kind == REMOTE:
        return load_remote_ear(config)
    model = ear_model(ear)
    loaded = _load_whisper(config, store.path(model), meter)
    if ear.model != AUTO:
        return loaded
    pass_ms = exact_pass_ms(loaded)
    if (larger := larger_ear(ear, pass_ms)) is not None:
        store.ensure([larger], progress or Progress(None))
        model, loaded = larger, _load_whisper(config, store.path(larger), meter)
        pass_ms = exact_pass_ms(loaded)
    tell_choice(ear, model, pass_ms)
    return loaded


def _load_whisper(config: Config, directory: Path, meter: "SpeechMeter | None") -> "Ear":
    from engine.ear.whisper import WhisperEar

    ear = config.ear
    language = None if ear.language == "auto" else ear.language
    try:
        return WhisperEar(directory, threads=ear.threads, language=language, meter=meter)
    except ValueError as error:
        raise ConfigError(f"ear: {error}") from error


def ear_model(ear: EarConfig) -> str:
    """The model that is loaded first. "auto" is the small English ear for English, else the
    multilingual one."""
    if ear.model != AUTO:
        return ear.model
    return ENGLISH if ear.language == "en" else MULTILINGUAL


def larger_ear(config: EarConfig, pass_ms: float, cores: int | None = None) -> str | None:
    """The ear that "auto" takes in place of the small English one, if this machine has computing
    to spare: it mishears fewer words (docs/decisions/0076-which-ear.md).

    Args:
        pass_ms: `exact_pass_ms` of the small one.
        cores: those that this process may use; None: counted.
    """
    if config.model != AUTO or ear_model(config) != ENGLISH:
        return None
    spare = (cores or _usable_cores()) >= _SPARE_CORES
    return MULTILINGUAL if spare and pass_ms * _TIMES_ENGLISH <= BOUND_MS else None


def _usable_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def exact_pass_ms(ear: "Ear") -> float:
    """How long ``ear`` takes for a turn of typical length: the faster of two passes.

    The sound is noise, whose words are few: what is timed is mostly the encoder, which takes the
    same time for any sound.
    """
    pcm = np.random.default_rng(0).normal(0, 0.1, _TYPICAL_S * _RATE_HZ).astype(np.float32)
    taken: list[float] = []
    for _ in range(2):
        began_s = time.perf_counter()
        ear.transcribe(pcm)
        taken.append(time.perf_counter() - began_s)
    return 1000 * min(taken)


def tell_choice(config: EarConfig, model: str, pass_ms: float) -> None:
    """Say in one line which ear "auto" has chosen, and how fast it is here."""
    logger.log(
        logging.INFO if pass_ms <= BOUND_MS else logging.WARNING,
        "ear.model is auto: %s for %r; a turn of %d s takes %d ms, and a pause leaves %d",
        model,
        config.language,
        _TYPICAL_S,
        pass_ms,
        BOUND_MS,
    )


def tell_unspoken(config: EarConfig, spoken: frozenset[str] | None) -> None:
    """Say if callers are heard in a language that none of the voices speaks; None: not known."""
    language = config.language
    if spoken is not None and language not in spoken:
        heard = "any language" if language == "auto" else repr(language)
        known = ", ".join(sorted(spoken))
        logger.warning("callers are heard in %s, and the voices speak only: %s", heard, known)
