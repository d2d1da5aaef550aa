"""Recordings of calls, as tests make and read them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from duplex.audio.formats import Samples
from duplex.call_records import journal
from duplex.call_records.recorder import CallRecorder, Work
from duplex.call_records.recording import Recording
from duplex.dialogue.observers import CallInfo, CallObserver

CUE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d):([0-5]\d):([0-5]\d)\.(\d{3})")
RATE = 24_000


def cues_of(vtt: str) -> list[tuple[float, float, str, str]]:
    """The cues of a WebVTT file, as start, end, voice and text; strict about its form."""
    head, *blocks = vtt.removesuffix("\n").split("\n\n")
    assert head == "WEBVTT"
    cues = []
    for block in blocks:
        timing, payload = block.strip("\n").split("\n")  # one line of text
        match = CUE.fullmatch(timing)
        assert match, timing
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
        start, end = h * 3600 + m * 60 + s + ms / 1000, h2 * 3600 + m2 * 60 + s2 + ms2 / 1000
        assert start < end
        voiced = re.fullmatch(r"<v ([^>]+)>([^<>]*)", payload)
        assert voiced, payload
        assert "&" not in re.sub(r"&(amp|lt|gt);", "", voiced[2])
        cues.append((start, end, voiced[1], voiced[2]))
    return cues


class AtOnce:
    """Does the thread's work on the spot."""

    def __init__(self, folder: Path, info: CallInfo) -> None:
        began = journal.Began(info.call_id, 1_700_000_000.0, "anna", "websocket")
        self.folder = folder
        self.recording = Recording(folder, began)

    def do(self, work: Work, size_bytes: int = 0) -> None:
        work(self.recording)

    def finish(self, why: str, at_s: float) -> None:
        self.recording.close(why, at_s)

    def discard(self) -> None:
        self.recording.delete()


class Recorded:
    """One call's recording."""

    def __init__(self, folder: Path, notice: str = "", rate_hz: int = RATE) -> None:
        self.folder = folder
        self.notice = notice
        self.rate_hz = rate_hz

    def observe(self, info: CallInfo) -> CallObserver:
        return CallRecorder(info, AtOnce(self.folder, info), self.notice, "en")

    @property
    def sound(self) -> Samples:
        """Both channels, in call time."""
        samples, rate_hz = soundfile.read(self.folder / "audio.flac", dtype="float32")
        assert rate_hz == self.rate_hz
        return samples  # type: ignore[no-any-return]

    def ends_of(self, channel: Samples) -> tuple[float, float]:
        """Where it is first and last loud, in seconds."""
        loud = np.flatnonzero(np.abs(channel) > 0.02)
        return loud[0] / self.rate_hz, loud[-1] / self.rate_hz

    @property
    def lines(self) -> list[dict[str, Any]]:
        text = (self.folder / "transcript.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    @property
    def call(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "call.json").read_text())
        return found


def whole_in(folder: Path) -> list[Path]:
    """The recordings that are finished."""
    return sorted(path.parent for path in folder.glob("*/call.json") if not path.parent.suffix)
