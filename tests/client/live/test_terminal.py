"""What is missing is told in words, before any server is asked."""

import asyncio
import io
import sys
from importlib.util import find_spec

import pytest

from client.live import terminal
from client.live.terminal import LiveOptions, list_devices, live_talk
from client.talk import USAGE
from duplex.cli.main import main

NOWHERE = "ws://127.0.0.1:9/v1/realtime"
needs_pyaudio = pytest.mark.skipif(find_spec("pyaudio") is None, reason="needs PyAudio")


def talk(**options) -> tuple[int, str]:
    out = io.StringIO()
    code = asyncio.run(live_talk(LiveOptions(NOWHERE, **options), out))
    return code, out.getvalue()


def test_without_pyaudio(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    code, text = talk()
    assert code == USAGE
    assert "pip install 'duplex-r1[mic]'" in text
    assert "apt-get install portaudio19-dev" in text
    out = io.StringIO()
    assert list_devices(out) == USAGE
    assert "brew install portaudio" in out.getvalue()


def test_without_the_echo_canceller(monkeypatch):
    monkeypatch.setitem(sys.modules, "livekit", None)
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    code, text = talk(echo_guard="on")
    assert code == USAGE
    assert "error: the echo guard needs the package livekit" in text
    assert "Without it use headphones" in talk()[1]
    assert "headphones" not in talk(echo_guard="off")[1]


def test_push_to_talk_without_keys(monkeypatch):
    monkeypatch.setattr(terminal, "has_keys", lambda: False)
    assert talk(push_to_talk=True) == (USAGE, "error: push-to-talk needs a terminal with keys\n")


@needs_pyaudio
def test_a_machine_without_sound(monkeypatch):
    monkeypatch.setattr(terminal.PortAudio, "devices", lambda self: [])  # type: ignore[attr-defined]
    assert talk() == (USAGE, "error: this machine has no microphone\n")
    out = io.StringIO()
    assert list_devices(out) == USAGE
    assert out.getvalue() == "this machine has no sound devices\n"


@needs_pyaudio
def test_a_device_that_there_is_not():
    """The real sound system, whatever it has."""
    code, text = talk(input="no such microphone")
    assert code == USAGE
    assert "no such microphone" in text or "this machine has no microphone" in text


def test_from_the_command_line(monkeypatch, capsys, logging_restored):
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    assert main(["talk", "--devices"]) == USAGE
    assert main(["talk", "--echo-guard", "off"]) == USAGE
    assert capsys.readouterr().out.count("pip install 'duplex-r1[mic]'") == 2
    assert main(["talk", "--save", "heard.wav"]) == 1
    assert "--save and --timeline go with --file" in capsys.readouterr().err
