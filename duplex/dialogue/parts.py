"""The loaded models, shared by all calls."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from duplex.dialogue.interfaces import EndEar, Engine, Steps
from duplex.interruption.judge import InterruptionConfig, InterruptionJudge
from duplex.protocol.session_config import SessionConfig
from duplex.turns.interfaces import Judge, Vad
from engine.types import Elsewhere, GenerationOptions, Mortal
from tts.types import Voice


@dataclass(frozen=True, slots=True)
class Parts:
    """The loaded models, shared by all calls, and what a call starts with.

    ``engines`` and ``voices`` are those that a client may choose in place of the first, by name.
    ``voice_languages`` are the codes of the languages that the voices speak; None: not known.
    ``end_ear`` None: the words alone say when a turn is over.
    """

    engine: Engine
    vad: Vad
    voice: Voice
    voice_steps: Steps
    defaults: SessionConfig
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    engines: Mapping[str, Engine] = field(default_factory=dict)
    voices: Mapping[str, Voice] = field(default_factory=dict)
    voice_languages: frozenset[str] | None = None
    open_judge: Callable[[InterruptionConfig], Judge] = InterruptionJudge
    end_ear: EndEar | None = None

    def engine_of(self, model: str) -> Engine:
        """The engine of that name. Clients made for other servers name models that are not here:
        they get the first."""
        return self.engines.get(model, self.engine)

    def voice_of(self, name: str) -> Voice:
        """The voice of that name, else the first."""
        return self.voices.get(name, self.voice)

    @property
    def are_alive(self) -> bool:
        """Whether all engines can still answer."""
        engines = (self.engine, *self.engines.values())
        return all(engine.is_alive for engine in engines if isinstance(engine, Mortal))

    @property
    def _elsewhere(self) -> Iterator[Elsewhere]:
        """The engines of other processes."""
        for engine in (self.engine, *self.engines.values()):
            if isinstance(engine, Elsewhere):
                yield engine

    @contextlib.asynccontextmanager
    async def in_touch(self) -> AsyncGenerator[None, None]:
        """Keep in touch with engines in other processes, while the block runs."""
        async with contextlib.AsyncExitStack() as stack:
            for engine in self._elsewhere:
                await stack.enter_async_context(engine.in_touch())
            yield

    @property
    def unready(self) -> str | None:
        """Why an engine in other processes would take no call now; None if all would."""
        return next((why for engine in self._elsewhere if (why := engine.unready)), None)

    async def reserve(self) -> str | None:
        """Have engines in other processes keep a place for the next call; returns why one has
        none."""
        for engine in self._elsewhere:
            if (why := await engine.reserve()) is not None:
                return why
        return None

    def release(self) -> None:
        """The next call, for which places were kept, will not come."""
        for engine in self._elsewhere:
            engine.release()

    def close(self) -> None:
        """Free the models and stop their threads. Call it when the last call is over."""
        for engine in (self.engine, *self.engines.values()):
            engine.close()
        self.voice_steps.close()
        if self.end_ear is not None:
            self.end_ear.close()

    @property
    def models(self) -> list[str]:
        """All models that a call may name; first, that of calls that name none."""
        return [self.defaults.model, *self.engines]

    @property
    def voice_names(self) -> list[str]:
        """All voices that a call may name; first, that of calls that name none."""
        return [self.defaults.audio.output.voice, *self.voices]
