"""An engine that treats requests as vLLM does, with a model that is a function of all tokens."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence

import numpy as np

from engine.brain.chat_format import CHATML, Renderer
from engine.native.answer_format import thinking_format
from engine.native.minds import Pace
from engine.vllm.brain import VllmBrain
from engine.vllm.client import Chunk, Draw, Tokens
from tests._support.byte_tokens import byte_tokenizer

BLOCK = 4  # tokens; only whole blocks are found again
PACE = Pace(thought_tokens=8, speech_tokens=5, speak_margin_s=1.5)


class FakeEngine:
    """Wants ``wish`` at the beginning of each answer, then letters drawn from a hash."""

    def __init__(self, wish: str = "", *, capacity_tokens: int = 0, places: int = 256) -> None:
        tokenizer = byte_tokenizer()
        self.is_alive = True
        self.capacity_tokens = capacity_tokens
        self.places = places
        self.open = 0  # requests
        self.most_open = 0
        self.chunks: list[int] = []  # sizes, in order
        self.computed = 0  # tokens
        self.made = 0  # tokens
        self.fails: Callable[[], None] = lambda: None  # before each step
        self._wish = tokenizer.encode(wish).ids
        self._prompt_end = tokenizer.encode("assistant\n").ids
        self._letters = tokenizer.encode("abcdefgh ,.").ids
        self._stop = tokenizer.token_to_id("<|im_end|>")
        self._size = tokenizer.get_vocab_size()
        self._cache: set[tuple[int, ...]] = set()  # the beginnings that are known

    async def request(self, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Tokens, None]:
        held: list[int] = []
        computed = cached = 0
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            async for chunk in chunks:
                del held[computed:]  # the last token that was made
                self.chunks.append(len(chunk.ids))
                first, start = not held, len(held)
                held += chunk.ids
                if first:
                    cached = computed = self._found(held)
                for count in range(chunk.draw.limit):
                    await asyncio.sleep(0)
                    self.fails()
                    self.computed += len(held) - computed
                    computed = len(held)
                    self._keep(held)
                    made = held[start + len(chunk.ids) :]
                    token = self._choose(held, chunk.draw, made, count)
                    held.append(token)
                    self.made += 1
                    yield Tokens([token], cached)
                    if token in chunk.draw.stop_ids:
                        break
        finally:
            self.open -= 1

    def close(self) -> None:
        self.is_alive = False

    def _found(self, ids: Sequence[int]) -> int:
        blocks = range(BLOCK, len(ids), BLOCK)  # the last token is always computed
        return max((end for end in blocks if tuple(ids[:end]) in self._cache), default=0)

    def _keep(self, ids: Sequence[int]) -> None:
        self._cache |= {tuple(ids[:end]) for end in range(BLOCK, len(ids) + 1, BLOCK)}

    def _choose(self, held: list[int], draw: Draw, made: Sequence[int], count: int) -> int:
        scores = np.random.default_rng(zlib.crc32(np.array(held, np.int64).tobytes())).random(
            self._size
        )
        scores[self._letters] += 1
        scores[self._stop] += 0.95
        said = self._said(held)
        if said is not None and said < len(self._wish):
            scores[self._wish[said]] = 9
        elif self._wish and said is not None:
            scores[self._stop] = 8
        scores[[*{*draw.said, *made}]] /= draw.repetition_penalty
        scores[list(draw.banned)] = -1
        if count == 0 and draw.must_begin:
            scores[list(draw.stop_ids)] = -1
        if draw.allowed:
            scores[[i for i in range(self._size) if i not in draw.allowed]] = -1
        return int(scores.argmax())

    def _said(self, held: list[int]) -> int | None:
        """How much of its answer stands there; None outside of answers."""
        width = len(self._prompt_end)
        starts = range(len(held) - width, -1, -1)
        ends = (
            start + width for start in starts if held[start : start + width] == self._prompt_end
        )
        end = next(ends, None)
        return None if end is None or self._stop in held[end:] else len(held) - end


def open_brain(engine: FakeEngine, *, context_tokens: int = 4096) -> VllmBrain:
    """A brain on ``engine``."""
    renderer = Renderer(byte_tokenizer(), CHATML)
    answer_format = thinking_format(renderer, PACE, always_thinks=False)
    return VllmBrain(engine, renderer, answer_format, context_tokens=context_tokens)
