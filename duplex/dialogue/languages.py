"""The language of a call: which the client has set, and what the brain is told of it."""

from typing import Protocol, runtime_checkable

from duplex.dialogue.interfaces import EngineSession
from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.session_config import SessionConfig

# fmt: off
_NAMES = {
    "ar": "Arabic", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "ms": "Malay",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sv": "Swedish", "ta": "Tamil", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}
# fmt: on


@runtime_checkable
class HearsLanguages(Protocol):
    """An engine's session whose ear may be told the caller's language."""

    @property
    def languages(self) -> frozenset[str] | None:
        """Codes such as "en"; None: the ear does not say which it knows, and cannot be told."""

    def hear_in(self, language: str | None) -> None:
        """Hear the caller in it, one of `languages`; None: as the server is configured."""


def wanted_language(session: SessionConfig) -> str | None:
    """The code that the client has set, without its region: "de" of "de-CH"."""
    transcription = session.audio.input.transcription
    language = None if transcription is None else transcription.language
    return language.replace("_", "-").split("-")[0].lower() if language else None


def set_language(engine: EngineSession, language: str | None) -> None:
    """Have the caller heard in ``language``, as `wanted_language` gives it.

    Raises:
        ProtocolError: the ear does not know it; nothing has changed.
    """
    if not isinstance(engine, HearsLanguages) or engine.languages is None:
        return
    known = engine.languages
    if language is not None and language not in known:
        named = "English only" if known == {"en"} else f"{len(known)} languages, and not this one"
        raise ProtocolError(
            f"Invalid value: '{language}'. The ear of this server knows {named}.",
            code=Code.INVALID_VALUE,
            param="session.audio.input.transcription.language",
        )
    engine.hear_in(language)


def name_of(language: str) -> str:
    """The English name of a language's code; the code itself for those that are rarely spoken."""
    return _NAMES.get(language, f"the language of code {language!r}")


def answer_line(language: str) -> str:
    """What the brain is told of the caller's ``language``."""
    return f"The caller speaks {name_of(language)}. Answer in {name_of(language)}."
