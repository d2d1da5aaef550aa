"""ear.model = "auto": by the language, and said with its speed."""

import logging

import numpy as np
import pytest
from numpy.typing import NDArray

from duplex.app.ear_choice import BOUND_MS, ear_model, exact_pass_ms, tell_choice, tell_unspoken
from duplex.config import EarConfig


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


def test_the_choice_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    ear = CountingEar()
    with caplog.at_level(logging.INFO, "duplex.app.ear_choice"):
        tell_choice(EarConfig(), ear)
        assert (ear.passes, caplog.messages) == (0, [])
        tell_choice(EarConfig(model="auto", language="de"), ear)
    assert ear.passes == 2
    (line,) = caplog.messages
    assert "whisper-base for 'de'" in line


def test_a_machine_that_is_too_slow_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 0.5, 1.0, 1.2])
    monkeypatch.setattr("time.perf_counter", lambda: next(seconds))
    assert exact_pass_ms(CountingEar()) == pytest.approx(200)
    monkeypatch.setattr("duplex.app.ear_choice.exact_pass_ms", lambda ear: BOUND_MS + 1.0)
    tell_choice(EarConfig(model="auto"), CountingEar())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING


def test_a_language_without_a_voice_is_said_at_start(caplog: pytest.LogCaptureFixture) -> None:
    tell_unspoken(EarConfig(), frozenset({"en"}))
    tell_unspoken(EarConfig(language="de"), None)
    assert caplog.messages == []
    tell_unspoken(EarConfig(language="de"), frozenset({"en"}))
    tell_unspoken(EarConfig(language="auto"), frozenset({"en"}))
    assert ["'de'" in caplog.messages[0], "any language" in caplog.messages[1]] == [True, True]
