"""Parts that an installed package brings."""

from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from duplex import ConfigError, Server, load_config
from duplex.app.plugins import Given, with_plugins
from duplex.testing import Caller, Script, ScriptedEngine, in_virtual_time
from tests._support.wire import say_something, until

MODULE = '''
"""A package that brings a part of each kind."""
from duplex import Finished
from duplex.testing import LoudnessVad, ScriptedEngine, ScriptedVoice


class Parrot:
    context_tokens = 4096

    def __init__(self, mood):
        self.mood = mood

    def open(self):
        return self

    def close(self):
        pass

    async def prefill(self, messages, partial=None):
        pass

    async def generate(self, messages, options):
        yield f"{messages[-1].text} I am {self.mood}."
        yield Finished("stop", 0, 0, 0)


class HelloEar:
    def transcribe(self, pcm):
        return "Hello there."


def load_brain(mood="sad"):
    if not mood:
        raise ValueError("no mood")
    return Parrot(mood)
'''
ENTRY_POINTS = """
[duplex.brains]
parrot = parrot_plugin:load_brain
broken = parrot_plugin:nothing
[duplex.ears]
hello = parrot_plugin:HelloEar
[duplex.voices]
tone = parrot_plugin:ScriptedVoice
[duplex.vads]
loudness = parrot_plugin:LoudnessVad
[duplex.engines]
scripted = parrot_plugin:ScriptedEngine
"""
KINDS = {
    "ear.kind": "plugin:hello",
    "brain.kind": "plugin:parrot",
    "voice.kind": "plugin:tone",
    "vad.kind": "plugin:loudness",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, as pip would have put it there."""
    site = tmp_path / "site"
    info = site / "parrot_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "parrot_plugin.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    return site


@pytest.mark.usefixtures("installed")
async def test_a_server_of_plug_ins_answers_in_a_call(tmp_path: Path) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text(
        "[server]\nport = 0\n[limits]\nrefuse_lag_ms = 0\nrefuse_stage_ms = 0\n"
        f"[models]\ncache_dir = '{tmp_path}/none'\n"
        "[brain]\nkind = 'plugin:parrot'\noptions = { mood = 'cheerful' }\n"
        "[ear]\nkind = 'plugin:hello'\n[voice]\nkind = 'plugin:tone'\n"
        "[vad]\nkind = 'plugin:loudness'\n"
    )
    async with Server(load_config(path)).listen() as running, connect(running.url) as connection:
        created = await until(connection, "session.created")
        assert created["session"]["model"] == "parrot"
        assert created["session"]["audio"]["output"]["voice"] == "tone"
        response = await say_something(connection)
        assert response["output"][0]["content"][0]["transcript"] == "Hello there. I am cheerful."
    assert not (tmp_path / "none").exists(), "no model was needed"


@pytest.mark.usefixtures("installed")
def test_an_engine_takes_the_place_of_the_ear_and_the_brain() -> None:
    config = load_config(None, {**KINDS, "engine.kind": "plugin:scripted"})
    given = with_plugins(config, Given())
    assert isinstance(given.engine, ScriptedEngine)
    assert (given.ear, given.brain) == (None, None)
    assert given.voice is not None


@pytest.mark.usefixtures("installed")
def test_what_is_given_in_python_comes_first() -> None:
    class Deaf:
        def transcribe(self, pcm: object) -> str:
            return ""

    ear = Deaf()
    given = with_plugins(load_config(None, KINDS), Given(ear=ear))
    assert given.ear is ear
    assert type(given.brain).__name__ == "Parrot"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"brain.kind": "plugin:magpie"},
            r"brain\.kind: no plug-in 'magpie' in duplex\.brains; installed: broken, parrot$",
        ),
        ({"brain.kind": "plugin:broken"}, r"'broken' cannot be imported: .*nothing"),
        (
            {"brain.kind": "plugin:parrot", "brain.options": {"colour": "green"}},
            r"brain\.options: plug-in 'parrot': .*colour",
        ),
        (
            {"brain.kind": "plugin:parrot", "brain.options": {"mood": ""}},
            r"brain\.options: plug-in 'parrot': no mood",
        ),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_named_in_one_line(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        with_plugins(load_config(None, options), Given())
    assert "\n" not in str(raised.value)


def test_without_any_the_message_says_so() -> None:
    config = load_config(None, {"vad.kind": "plugin:loudness"})
    with pytest.raises(ConfigError, match="installed: none"):
        with_plugins(config, Given())


@pytest.mark.usefixtures("installed")
@in_virtual_time
async def test_a_bot_of_the_configuration_is_called_in_virtual_time() -> None:
    config = load_config(None, {**KINDS, "brain.options": {"mood": "calm"}})
    async with Caller(Script(hears=["Hi."]), config) as caller:
        await caller.speak(1)
        await caller.pause(5)
        assert caller.last_response.text == "Hi. I am calm."
