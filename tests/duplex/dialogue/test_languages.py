"""A call in another language: the ear is told, the brain is told, and what cannot be is said."""

import pytest

from duplex.dialogue.languages import answer_line, set_language, wanted_language
from duplex.errors import ProtocolError
from duplex.protocol.session_config import SessionConfig
from duplex.testing.engine import Script, ScriptedEngine, ScriptedSession


class Listening(ScriptedSession):
    """A scripted session whose ear knows languages."""

    languages: frozenset[str] | None = frozenset({"en", "de"})
    heard_in: str | None = "nothing set"

    def hear_in(self, language: str | None) -> None:
        self.heard_in = language


def session(language: str | None) -> SessionConfig:
    update = {"audio": {"input": {"transcription": {"language": language}}}}
    return SessionConfig().merge(update)


def listening() -> Listening:
    return Listening(Script())


@pytest.mark.parametrize(
    ("given", "code"), [("de", "de"), ("de-CH", "de"), ("EN_us", "en"), (None, None)]
)
def test_a_region_is_left_out(given: str | None, code: str | None) -> None:
    assert wanted_language(session(given)) == code
    assert wanted_language(SessionConfig()) is None


def test_the_ear_is_told_what_it_knows_and_the_client_what_it_does_not() -> None:
    engine = listening()
    set_language(engine, "de")
    assert engine.heard_in == "de"
    with pytest.raises(ProtocolError, match=r"'xx'.*2 languages"):
        set_language(engine, "xx")
    assert engine.heard_in == "de"
    set_language(engine, None)
    assert engine.heard_in is None
    engine.languages = frozenset({"en"})
    with pytest.raises(ProtocolError, match="English only"):
        set_language(engine, "de")


def test_an_engine_that_cannot_be_told_hears_as_ever() -> None:
    set_language(ScriptedEngine().open(), "de")
    engine = listening()
    engine.languages = None
    set_language(engine, "de")
    assert engine.heard_in == "nothing set"


def test_only_another_language_is_told_to_the_brain() -> None:
    assert answer_line("") == answer_line("en") == ""
    assert answer_line("de") == "The caller speaks German. Answer in German."
    assert "'yo'" in answer_line("yo")
