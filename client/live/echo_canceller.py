"""The loudspeaker's sound is taken out of the microphone's.

WebRTC's echo canceller (AEC3), as packaged by LiveKit, does it: it learns the room's delay and
response, subtracts, suppresses what is left, and lets a second voice through.
"""

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client.realtime import SAMPLE_RATE_HZ
from duplex.audio.formats import decode_pcm16, encode_pcm16

Samples = NDArray[np.float32]

FRAME_SAMPLES = SAMPLE_RATE_HZ // 100  # the canceller works in frames of 10 ms
# What was played waits here for the microphone's frame of the same time. More than so much
# means that the microphone stands still; the oldest is forgotten.
MAX_BEHIND_FRAMES = 100
# The two devices' buffers differ by a few frames; the canceller finds constant delays itself,
# so what is further behind is fed at once rather than kept as one more delay.
JITTER_FRAMES = 6


class Canceller(Protocol):
    """Takes frames of 10 ms; ``delay_ms`` is from ``played`` to its echo in ``clean``."""

    def played(self, frame: Samples) -> None:
        """A frame that goes to the loudspeaker."""
        ...

    def clean(self, frame: Samples, delay_ms: int) -> Samples:
        """A frame of the microphone without the echo."""
        ...


class WebRtcCanceller:
    """WebRTC's audio processing module.

    Raises:
        ImportError: the package ``livekit`` is not installed.
    """

    def __init__(self) -> None:
        from livekit import rtc

        self._frame = rtc.AudioFrame
        self._module = rtc.AudioProcessingModule(echo_cancellation=True, high_pass_filter=True)

    def played(self, frame: Samples) -> None:
        """See `Canceller`."""
        data = bytearray(encode_pcm16(frame))
        self._module.process_reverse_stream(self._frame(data, SAMPLE_RATE_HZ, 1, len(frame)))

    def clean(self, frame: Samples, delay_ms: int) -> Samples:
        """See `Canceller`."""
        audio = self._frame(bytearray(encode_pcm16(frame)), SAMPLE_RATE_HZ, 1, len(frame))
        self._module.set_stream_delay_ms(delay_ms)
        self._module.process_stream(audio)  # in place
        return decode_pcm16(bytes(audio.data))


class EchoGuard:
    """Pairs what the loudspeaker took with what the microphone gave, frame by frame.

    ``played`` may be called from another thread. ``latency_s`` is that of both devices.
    """

    def __init__(self, canceller: Canceller, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self._canceller = canceller
        self._played: deque[Samples] = deque(maxlen=MAX_BEHIND_FRAMES)
        self._rest = np.zeros(0, np.float32)  # of what was played, less than a frame

    def played(self, samples: Samples) -> None:
        """What the loudspeaker takes, silence included."""
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = joined[whole:]
        self._played.extend(joined[:whole].reshape(-1, FRAME_SAMPLES))

    def clean(self, samples: Samples) -> Samples:
        """The microphone's samples, whole frames of 10 ms, without the echo.

        Raises:
            ValueError: they are not whole frames.
        """
        if len(samples) % FRAME_SAMPLES:
            raise ValueError(f"{len(samples)} samples are not whole frames of {FRAME_SAMPLES}")
        out = np.empty_like(samples)
        for start in range(0, len(samples), FRAME_SAMPLES):
            self._feed()
            delay_ms = self.latency_s * 1000 - 10 * len(self._played)
            frame = samples[start : start + FRAME_SAMPLES]
            out[start : start + FRAME_SAMPLES] = self._canceller.clean(
                frame, max(0, round(delay_ms))
            )
        return out

    def _feed(self) -> None:
        """One frame for each of the microphone's, and more after a stall."""
        count = max(1, len(self._played) - JITTER_FRAMES)
        for _ in range(min(count, len(self._played))):
            self._canceller.played(self._played.popleft())
