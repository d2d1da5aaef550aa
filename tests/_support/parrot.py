"""Parts of one's own that need no model: an ear that hears the same in everything, and a brain
that repeats it."""

from engine.types import Finished


class Parrot:
    """As in the documentation: no annotations, its own session."""

    context_tokens = 4096

    def open(self):  # type: ignore[no-untyped-def]
        return self

    def close(self): ...  # type: ignore[no-untyped-def]

    async def prefill(self, messages, partial=None): ...  # type: ignore[no-untyped-def]

    async def generate(self, messages, options):  # type: ignore[no-untyped-def]
        yield f"You said: {messages[-1].text}"
        yield Finished("stop", 0, 0, 0)


class HelloEar:
    """Hears the same in everything."""

    def transcribe(self, pcm: object) -> str:
        return "Hello there."
