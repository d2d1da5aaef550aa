"""Which ear hears, if ``ear.model`` is "auto", and what of it is said at start."""

import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from duplex.config import EarConfig

if TYPE_CHECKING:
    from engine.ear.interface import Ear

AUTO = "auto"
ENGLISH = "whisper-tiny.en"
MULTILINGUAL = "whisper-base"
# The exact pass runs in the pause, of 300 ms at the least, and the brain has to begin in it too.
BOUND_MS = 150
_TYPICAL_S = 3  # of speech in a turn
_RATE_HZ = 16_000
VOICE_LANGUAGES = frozenset({"en"})  # of all built-in voices

logger = logging.getLogger(__name__)


def ear_model(ear: EarConfig) -> str:
    """The model that ``ear`` names. "auto" is the small English ear for English, because the larger
    one is no better in digits and single words (docs/decisions/0076-which-ear.md), else the
    multilingual one."""
    if ear.model != AUTO:
        return ear.model
    return ENGLISH if ear.language == "en" else MULTILINGUAL


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


def tell_choice(config: EarConfig, ear: "Ear") -> None:
    """Say in one line which ear "auto" has chosen, and how fast it is here."""
    if config.model != AUTO:
        return
    taken_ms = exact_pass_ms(ear)
    logger.log(
        logging.INFO if taken_ms <= BOUND_MS else logging.WARNING,
        "ear.model is auto: %s for %r; a turn of %d s takes %d ms, and a pause leaves %d",
        ear_model(config),
        config.language,
        _TYPICAL_S,
        taken_ms,
        BOUND_MS,
    )


def tell_unspoken(config: EarConfig, spoken: frozenset[str] | None) -> None:
    """Say if callers are heard in a language that none of the voices speaks; None: not known."""
    language = config.language
    if spoken is not None and language not in spoken:
        heard = "any language" if language == "auto" else repr(language)
        logger.warning("callers are heard in %s, and no voice speaks more than English", heard)
