"""Fixed words, spoken by a call's voice: greetings and goodbyes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from duplex.audio.formats import Samples
from duplex.audio.resample import Resampler
from duplex.dialogue.parts import Parts
from duplex.phone.events import Encoding
from duplex.protocol.session_config import AudioOutput
from tts.text.segment import Segmenter
from tts.types import MIN_SPEED, SpokenWord

Piece = tuple[bytes, list[SpokenWord]]
Spoken = dict[tuple[str, str, str, int, float], list[Piece]]
"""What was synthesised before, for all calls. Only texts of the configuration are kept."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Speaks fixed words in a call. ``speed`` is the server's, to which the call's own is relative.
    ``spoken`` is shared by all calls: a greeting is synthesised once."""

    parts: Parts
    output: AudioOutput
    encoding: Encoding
    speed: float
    spoken: Spoken

    @property
    def can_say(self) -> bool:
        """Whether the voice can say given words; a voice that the brain drives cannot."""
        return not self.parts.voice_of(self.output.voice).takes_codes

    async def say(self, text: str) -> AsyncGenerator[Piece, None]:
        """Yield ``text`` spoken: audio in the line's encoding, and words by their ends in it."""
        speed = max(MIN_SPEED, self.speed * self.output.speed)
        encoding = self.encoding
        key = (text, self.output.voice, encoding.name, encoding.rate_hz, speed)
        if key in self.spoken:
            for piece in self.spoken[key]:
                yield piece
            return
        pieces = []
        async with aclosing(self._synthesize(text, speed)) as made:
            async for piece in made:
                pieces.append(piece)
                yield piece
        self.spoken[key] = pieces

    async def _synthesize(self, text: str, speed: float) -> AsyncGenerator[Piece, None]:
        voice = self.parts.voice_of(self.output.voice)
        utterance = voice.open(speed)
        resampler = Resampler(voice.sample_rate, self.encoding.rate_hz)
        ratio = self.encoding.rate_hz / voice.sample_rate
        segmenter = Segmenter()
        clauses = [*segmenter.feed(text), *segmenter.finish()]
        for chunks in (*map(utterance.feed, clauses), utterance.finish()):
            async with aclosing(self.parts.voice_steps.stream(chunks)) as stream:
                async for chunk in stream:
                    words = [SpokenWord(w.text, round(w.end_sample * ratio)) for w in chunk.words]
                    yield self._encoded(resampler.feed(chunk.samples)), words
        yield self._encoded(resampler.flush()), []

    def _encoded(self, samples: Samples) -> bytes:
        return self.encoding.codec.encode(samples)
