"""ear.model = "auto": by the language and a measured pass, and said with its speed."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from duplex.app import build_ear
from duplex.app.build_ear import (
    BOUND_MS,
    ear_model,
    exact_pass_ms,
    larger_ear,
    tell_choice,
    tell_unspoken,
)
from duplex.config import Config, EarConfig
from duplex.model_store import ModelStore


class CountingEar:
    passes = 0

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        self.passes += 1
        assert len(pcm) == 48_000
        return ""


@pytest.mark.parametrize(
    ("model", "language", "chosen"),
    [
        ("auto", "en", "whisper-tiny.en"),
        ("auto", "de", "whisper-base"),
        ("auto", "auto", "whisper-base"),
        ("whisper-base", "en", "whisper-base"),
        ("path:/a/whisper", "de", "path:/a/whisper"),
    ],
)
def test_auto_goes_by_the_language(model: str, language: str, chosen: str) -> None:
    assert ear_model(EarConfig(model=model, language=language)) == chosen


def test_the_larger_ear_is_taken_where_there_is_computing_to_spare() -> None:
    auto = EarConfig(model="auto")
    assert larger_ear(auto, 60.0, cores=8) == "whisper-base"
    assert larger_ear(auto, 60.0, cores=2) is None
    assert larger_ear(auto, 90.0, cores=8) is None
    assert larger_ear(EarConfig(), 60.0, cores=8) is None
    assert larger_ear(EarConfig(model="auto", language="de"), 60.0, cores=8) is None


def test_a_pass_is_the_faster_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.5, 1.0, 1.2])
    monkeypatch.setattr("time.perf_counter", lambda: next(seconds))
    assert exact_pass_ms(CountingEar()) == pytest.approx(200)


def test_the_choice_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    config = EarConfig(model="auto", language="de")
    with caplog.at_level(logging.INFO, "duplex.app.build_ear"):
        tell_choice(config, "whisper-base", BOUND_MS)
        tell_choice(config, "whisper-base", BOUND_MS + 1)
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]
    assert "whisper-base for 'de'" in caplog.messages[0]


@pytest.mark.parametrize("pass_ms", [40.0, 140.0])
def test_auto_loads_the_ear_that_keeps_up(
    pass_ms: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passes are given; which models are installed and loaded is looked at."""
    installed: list[str] = []
    monkeypatch.setattr(ModelStore, "ensure", lambda self, names, progress: installed.extend(names))
    monkeypatch.setattr(ModelStore, "path", lambda self, name: tmp_path / name)
    monkeypatch.setattr(build_ear, "_load_whisper", lambda config, directory, meter: directory.name)
    monkeypatch.setattr(build_ear, "exact_pass_ms", lambda ear: pass_ms)
    monkeypatch.setattr("duplex.app.build_ear._usable_cores", lambda: 8)
    loaded = build_ear.load_ear(Config(ear=EarConfig(model="auto")), ModelStore(tmp_path))
    larger = pass_ms < 100
    assert installed == (["whisper-base"] if larger else [])
    assert loaded == ("whisper-base" if larger else "whisper-tiny.en")


def test_a_language_without_a_voice_is_said_at_start(caplog: pytest.LogCaptureFixture) -> None:
    tell_unspoken(EarConfig(), frozenset({"en"}))
    tell_unspoken(EarConfig(language="de"), None)
    assert caplog.messages == []
    tell_unspoken(EarConfig(language="de"), frozenset({"en"}))
    tell_unspoken(EarConfig(language="auto"), frozenset({"en"}))
    assert ["'de'" in caplog.messages[0], "any language" in caplog.messages[1]] == [True, True]
