"""The sound of a turn as WAV files, for a brain that hears over HTTP. No IO."""

import base64
import io
import wave

import numpy as np
from numpy.typing import NDArray

from engine.ear.guards import quietest_point
from engine.features import SAMPLE_RATE_HZ

_REST = SAMPLE_RATE_HZ // 2  # samples behind a cut, at the least: no model hears much in less


class Clip:
    """A piece of sound. Its file is made when it is first asked for, which takes milliseconds and
    may be done in any thread."""

    __slots__ = ("_audio", "_wav", "samples")

    def __init__(self, audio: NDArray[np.float32]) -> None:
        """``audio`` is [N] at 16 kHz."""
        self.samples = len(audio)
        self._audio: NDArray[np.float32] | None = audio  # until the file is made
        self._wav = ""

    @property
    def wav(self) -> str:
        """A WAV file in base64: 16 kHz mono with 16 bits."""
        audio = self._audio
        if audio is not None:
            self._wav = _wav_of(audio)
            self._audio = None  # last: another thread that finds none reads the file
        return self._wav


class ClippedSound:
    """The sound of a turn in pieces; an `engine.types.Sound`. It has no latents, and so no ids."""

    ids: tuple[int, ...] = ()

    def __init__(self, clips: tuple[Clip, ...]) -> None:
        self._clips = clips

    @property
    def clips(self) -> tuple[Clip, ...]:
        """Its pieces in order; none once it is forgotten."""
        return self._clips

    @property
    def samples(self) -> int:
        """How long it is."""
        return sum(clip.samples for clip in self._clips)

    def make(self) -> "ClippedSound":
        """Make the files of all its pieces, which may be done in any thread. Returns itself."""
        for clip in self._clips:
            _ = clip.wav
        return self

    def forget(self) -> None:
        """Free it. Its message is words from now on."""
        self._clips = ()


class TurnClips:
    """The open turn's sound. A piece that is closed does not change any more."""

    def __init__(self, piece_s: float) -> None:
        """``piece_s`` is the longest piece."""
        self._longest = max(2 * _REST, round(piece_s * SAMPLE_RATE_HZ))
        self._closed: tuple[Clip, ...] = ()
        self._open: list[NDArray[np.float32]] = []
        self._samples = 0  # of `_open`

    def append(self, samples: NDArray[np.float32]) -> bool:
        """Add 16 kHz mono samples; whether that closed a piece."""
        self._open.append(samples)
        self._samples += len(samples)
        before = len(self._closed)
        while self._samples >= self._longest + _REST:
            self._close()
        return len(self._closed) > before

    @property
    def closed(self) -> ClippedSound:
        """The pieces that are closed."""
        return ClippedSound(self._closed)

    @property
    def whole(self) -> ClippedSound:
        """All pieces, as if the turn ended here. The turn may go on."""
        rest = (Clip(np.concatenate(self._open)),) if self._samples else ()
        return ClippedSound((*self._closed, *rest))

    def _close(self) -> None:
        """Cut where it is quiet, so that no word is cut."""
        audio = np.concatenate(self._open)
        cut = quietest_point(audio, SAMPLE_RATE_HZ, self._longest // 2, self._longest)
        self._closed = (*self._closed, Clip(audio[:cut]))
        self._open = [audio[cut:]]
        self._samples = len(audio) - cut


def _wav_of(samples: NDArray[np.float32]) -> str:
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32768).clip(max=32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, SAMPLE_RATE_HZ, len(pcm), "NONE", ""))
        writer.writeframes(pcm.tobytes())
    return base64.b64encode(file.getvalue()).decode()
