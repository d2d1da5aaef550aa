"""A call in another language: the ear is told, the brain is told, and what cannot be is said."""

from dataclasses import replace

import pytest

from duplex.dialogue.languages import answer_line, set_language, wanted_language
from duplex.errors import ProtocolError
from duplex.protocol.session_config import SessionConfig
from duplex.testing.caller import Caller
from duplex.testing.engine import Script, ScriptedEngine, ScriptedSession
from duplex.testing.virtual_time import virtual
from engine.types import Transcript


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


class GermanEngine(ScriptedEngine):
    """Its ear knows German, and hears nothing else."""

    def open(self) -> ScriptedSession:
        session = German(self.script)
        self.sessions.append(session)
        return session


class German(Listening):
    async def end_turn(self) -> Transcript:
        return replace(await super().end_turn(), language="de")


def test_the_brain_is_told_and_an_unknown_language_is_an_error() -> None:
    async def call() -> None:
        engine = GermanEngine(Script(hears=("Wie spät ist es?",)))
        async with Caller(engine=engine) as caller:
            transcription = {"model": "whisper-1", "language": "de-CH"}
            audio = {"input": {"transcription": transcription}}
            caller.send("session.update", session={"type": "realtime", "audio": audio})
            await caller.speak(1.0)
            await caller.pause(3.0)
            (session,) = engine.sessions
            assert isinstance(session, German)
            assert session.heard_in == "de"
            assert session.histories[0][0].text.endswith("Answer in German.")
            transcription["language"] = "xx"
            caller.send("session.update", session={"type": "realtime", "audio": audio})
            await caller.pause(0.1)
            error = caller.one("error")["error"]
            assert error["param"] == "session.audio.input.transcription.language"
            assert session.heard_in == "de"

    virtual(call())


def test_the_brain_is_told_the_language_by_its_name() -> None:
    assert answer_line("de") == "The caller speaks German. Answer in German."
    assert "'yo'" in answer_line("yo")
