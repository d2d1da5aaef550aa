"""Converts between a line's audio and the session's: G.711 stays as it is, PCM is resampled."""

from duplex.audio.formats import decode_pcm16, encode_pcm16
from duplex.audio.resample import Resampler
from duplex.phone.codec import refused
from duplex.phone.events import Encoding
from duplex.protocol.session_config import AudioFormat


class _Stream:
    """Resamples PCM; any cuts of the input give the same output."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._rates = (from_hz, to_hz)
        self._resampler = Resampler(from_hz, to_hz)

    def convert(self, audio: bytes) -> bytes:
        """Return as much as ``audio`` and what came before determine."""
        try:
            return encode_pcm16(self._resampler.feed(decode_pcm16(audio)))
        except ValueError as error:
            raise refused(str(error)) from error

    def flush(self) -> bytes:
        """Return the rest; what comes next is another sound."""
        rest = encode_pcm16(self._resampler.flush())
        self._resampler = Resampler(*self._rates)
        return rest


class _Same:
    """Passes G.711 as it is."""

    def convert(self, audio: bytes) -> bytes:
        """Return ``audio``."""
        return audio

    def flush(self) -> bytes:
        """Return nothing: nothing is held back."""
        return b""


def to_session(encoding: Encoding, audio_format: AudioFormat) -> "_Stream | _Same":
    """Return the converter from the line's audio to the session's."""
    if encoding.name != "pcm16":
        return _Same()
    return _Stream(encoding.rate_hz, audio_format.sample_rate)


def to_line(encoding: Encoding, audio_format: AudioFormat) -> "_Stream | _Same":
    """Return the converter from the session's audio to the line's."""
    if encoding.name != "pcm16":
        return _Same()
    return _Stream(audio_format.sample_rate, encoding.rate_hz)
