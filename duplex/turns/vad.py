"""Where speech is: the probability of speech in each frame, from silero.

Time is the number of 16 kHz samples since the call began.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import webrtcvad  # type: ignore[import-untyped]
from numpy.typing import NDArray

from duplex.audio.formats import Framer, Samples, float_to_int16

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 512  # what silero was trained on: 32 ms
_CONTEXT_SAMPLES = 64  # the end of the frame before, which silero reads again
_GATE_SAMPLES = 160  # webrtcvad's shortest frame: 10 ms

# The gate closes when both detectors have been quiet for so many frames (0.5 s), and what it
# held back last is heard by silero when it opens, so that an onset finds a state that is awake.
_GATE_QUIET_FRAMES = 16
_GATE_QUIET_PROBABILITY = 0.1
_PREROLL_FRAMES = 8


_BASS_HZ = (70, 300)
_BASS = 2.0
_BASS_TAPS = 256


@dataclass(frozen=True, slots=True)
class VadFrame:
    """The probability of speech in the ``FRAME_SAMPLES`` samples from ``at_sample`` on."""

    at_sample: int
    probability: float


class SileroVad:
    """silero's network, shared by all calls; it holds weights and no stream's state.

    Args:
        model_path: silero_vad.onnx of version 5 or 6.
    """

    def __init__(self, model_path: Path) -> None:
        self._session = cpu_session(model_path)

    def open(self, gate_mode: int | None = 0) -> "SileroStream":
        """Begin a stream. ``gate_mode`` is webrtcvad's, 0 (lets most through) to 3, or None."""
        return SileroStream(self, gate_mode)

    def probabilities(self, pcm: Samples) -> NDArray[np.float32]:
        """The probability of speech in each whole frame of a clip ``pcm``, heard from its start.

        Unlike a stream's, it may be asked on any thread.
        """
        frames = self.open(gate_mode=None).feed(pcm)
        return np.array([frame.probability for frame in frames], np.float32)

    def step(
        self, window: Samples, state: NDArray[np.float32]
    ) -> tuple[float, NDArray[np.float32]]:
        """One frame with its context, [576], and the state, [2, 1, 128]: probability, new state."""
        probability, state = self._session.run(
            None, {"input": window[None], "state": state, "sr": np.array(SAMPLE_RATE, np.int64)}
        )
        return float(probability[0, 0]), state


class SileroStream:
    """One call's stream through a shared `SileroVad`.

    webrtcvad is 20 times cheaper than silero and sits in front of it: in lasting silence silero
    is skipped and 0 is reported.
    """

    def __init__(self, model: SileroVad, gate_mode: int | None) -> None:
        self._model = model
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context: Samples = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._framer = Framer(FRAME_SAMPLES)
        self._gate_framer = Framer(_GATE_SAMPLES)
        self._gate = None if gate_mode is None else webrtcvad.Vad(gate_mode)
        self._quiet_frames = 0
        self._skipped: deque[Samples] = deque(maxlen=_PREROLL_FRAMES)
        self._next_sample = 0

    def feed(self, samples: Samples) -> list[VadFrame]:
        """Take 16 kHz samples of any number; return the frames that they complete."""
        return [self._frame(frame) for frame in self._framer.feed(samples)]

    def _frame(self, frame: Samples) -> VadFrame:
        at_sample = self._next_sample
        self._next_sample += FRAME_SAMPLES
        window = np.concatenate([self._context, frame])
        self._context = frame[-_CONTEXT_SAMPLES:]
        if self._gate_is_shut(frame):
            self._skipped.append(window)
            return VadFrame(at_sample, 0.0)
        while self._skipped:
            _, self._state = self._model.step(self._skipped.popleft(), self._state)
        probability, self._state = self._model.step(window, self._state)
        if probability >= _GATE_QUIET_PROBABILITY:
            self._quiet_frames = 0
        return VadFrame(at_sample, probability)

    def _gate_is_shut(self, frame: Samples) -> bool:
        if self._gate is None:
            return False
        parts = [float_to_int16(part).tobytes() for part in self._gate_framer.feed(frame)]
        # Every part is looked at, since webrtcvad adapts to the noise that it hears.
        voiced = [self._gate.is_speech(part, SAMPLE_RATE) for part in parts]
        if any(voiced):
            self._quiet_frames = 0
        else:
            self._quiet_frames += 1
        return self._quiet_frames > _GATE_QUIET_FRAMES


class TelephoneBass:
    """Gives a voice on the telephone its lowest tones back: one stream of 16 kHz, no delay.

    silero leans on what lies below 300 Hz, and a telephone line does not carry it. The envelope,
    the mean of what is rectified, swings with the voice's period; what it has of 70 to 300 Hz is
    added. Pauses are seen earlier for it, and fewer frames are mistaken (decision record 0013).
    """

    def __init__(self) -> None:
        self._before: Samples = np.zeros(_BASS_TAPS - 1, np.float32)

    def feed(self, samples: Samples) -> Samples:
        """As many samples as are given."""
        joined = np.concatenate([self._before, np.abs(samples)])
        self._before = joined[len(samples) :]
        return samples + np.convolve(joined, _bass(), "valid").astype(np.float32)


@cache
def _bass() -> NDArray[np.float32]:
    """The difference of two first-order low-passes, which lets no constant through."""
    at = np.arange(_BASS_TAPS) / SAMPLE_RATE
    low, high = (np.exp(-2 * np.pi * hz * at) for hz in _BASS_HZ)
    taps: NDArray[np.float32] = _BASS * (high / high.sum() - low / low.sum())
    return taps.astype(np.float32)


def cpu_session(model_path: Path) -> onnxruntime.InferenceSession:
    """An onnxruntime session on one thread that sleeps, rather than spins, when it has no work."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        str(model_path), options, providers=["CPUExecutionProvider"]
    )
