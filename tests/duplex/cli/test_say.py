import io
from pathlib import Path

import pytest
import soundfile  # type: ignore[import-untyped]

from duplex.app import build
from duplex.cli.main import main
from duplex.testing.voice import ScriptedVoice


def test_prints_a_line_for_each_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["say", "Gate 22M.", "E = mc²", "👍"]) == 0
    assert capsys.readouterr().out == "Gate twenty two M.\nE equals m c squared\nthumbs up\n"


def test_reads_lines_from_the_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("AT&T\r\n\nŁódź\n"))
    assert main(["say"]) == 0
    assert capsys.readouterr().out == "A.T and T\n\nLódź\n"


def test_takes_a_locale(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["say", "--locale", "en-GB", "on 5/6"]) == 0
    assert capsys.readouterr().out == "on June fifth\n"


@pytest.mark.parametrize("name", ["out.wav", "out.FLAC"])
def test_writes_the_sound(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "load_voice", lambda *_: ScriptedVoice())
    assert main(["say", "One.", "😀", "--save", str(tmp_path / name)]) == 0
    sound = soundfile.info(tmp_path / name)
    assert sound.format == name[-4:].strip(".").upper()
    assert sound.samplerate == ScriptedVoice.sample_rate
    assert sound.duration > 4 * 0.06 + 0.5
    assert capsys.readouterr().out == "One.\ngrinning face\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["say", "Hi.", "--save", "out.mp3"], "must end in .wav or .flac"),
        (["say", "Hi.", "--save", "/nowhere/at/all.wav"], "/nowhere/at/all.wav"),
        (["say", " ", "--save", "/tmp/never-written.wav"], "nothing to say"),
    ],
)
def test_refuses_in_one_line(
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(build, "load_voice", lambda *_: ScriptedVoice())
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
