"""PCM that arrives in pieces of any size, with or without a WAV header. No IO."""

import numpy as np
from numpy.typing import NDArray

from tts.errors import VoiceError

SAMPLE_RATE_HZ = 24_000  # of the protocol's response_format "pcm": 16 bits, mono
_LONGEST_HEADER = 4096  # bytes
_OTHERS = {b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"OggS": "Ogg", b"fLaC": "FLAC"}


class PcmReader:
    """The samples of one stream: feed it bytes."""

    def __init__(self) -> None:
        self._held = b""  # a beginning whose form is not known yet, or half a sample
        self._is_begun = False

    def feed(self, piece: bytes) -> NDArray[np.float32]:
        """The samples that ``piece`` completes: ``[N]`` in [-1, 1].

        Raises:
            VoiceError: it is no PCM, or of another rate.
        """
        data = self._held + piece
        if not self._is_begun:
            start = _start(data)
            if start is None:
                self._held = data
                return np.zeros(0, np.float32)
            self._is_begun = True
            data = data[start:]
        whole = len(data) // 2 * 2
        self._held = data[whole:]
        return np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768)


def _start(data: bytes) -> int | None:
    """Where the samples begin; None while that is not known."""
    if len(data) < 4:
        return None
    if not data.startswith(b"RIFF"):
        for mark, name in _OTHERS.items():
            if data.startswith(mark):
                raise VoiceError(f"the voice's endpoint sends {name}, not PCM")
        return 0
    at = data.find(b"data")
    if at < 0 or len(data) < at + 8:
        if len(data) > _LONGEST_HEADER:
            raise VoiceError("the voice's endpoint sends a WAV file without sound")
        return None
    form = data.find(b"fmt ")
    if not 0 < form <= at - 24:
        raise VoiceError("the voice's endpoint sends a WAV file that cannot be read")
    channels = int.from_bytes(data[form + 10 : form + 12], "little")
    rate_hz = int.from_bytes(data[form + 12 : form + 16], "little")
    bits = int.from_bytes(data[form + 22 : form + 24], "little")
    if (channels, rate_hz, bits) != (1, SAMPLE_RATE_HZ, 16):
        raise VoiceError(
            f"the voice's endpoint sends {rate_hz} Hz, {bits} bits and {channels} channels, "
            f"not PCM of {SAMPLE_RATE_HZ} Hz, 16 bits and one"
        )
    return at + 8
