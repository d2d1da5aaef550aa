"""The formulation brain at work: the thoughts of one answer, on the call's own log.

A token that was made is *raw* at first, because it may be the beginning of the closing tag.
`TagWatch` decides that it is a thought; then it is *certain*. `Minds` is given certain thoughts
only, and only as many as it asks for; the others wait.
"""

from collections import deque

from engine.native.answer_format import Decoding
from engine.native.interfaces import Decoded
from engine.native.minds import Minds, TagWatch
from engine.types import Thought


class Formulation:
    """Makes the thoughts of one answer. It is idle, or has one generation running."""

    def __init__(self, decoding: Decoding, minds: Minds) -> None:
        self._decoding = decoding
        self._minds = minds
        self._generation: Decoded | None = None  # None after the block was closed
        self._raw: list[int] = []  # all tokens made, also those of a possible closing tag
        self._certain: deque[int] = deque()  # thoughts that the minds have not asked for yet
        self._is_over = False  # the model has closed its block
        self._watch = TagWatch()
        self._text = decoding.format.renderer.stream()

    @property
    def has_thought(self) -> bool:
        """Whether a token was made: then the call's log ends in thoughts."""
        return bool(self._raw)

    def owns(self, generation: Decoded) -> bool:
        """Whether a token of ``generation`` is for `take`."""
        return generation is self._generation

    async def think(self) -> None:
        """Give the minds the thoughts that they want: those that wait, then new ones."""
        self._hand_over()
        if not (lacking := self._minds.thoughts_wanted):
            return
        await self.stop()
        self._generation = self._decoding.generation(
            self._decoding.log,
            [*self._decoding.format.think_open, *self._raw],
            stop_ids=self._decoding.format.renderer.stop_ids,
            limit=lacking,
            before=tuple(self._raw),
        )
        self._generation.start()

    async def take(self, token: int | None) -> list[Thought]:
        """Take the next token of the generation, or None at its end; returns new thoughts."""
        if token is None:
            await self.think()
            return []
        thoughts: list[Thought] = []
        self._is_over = token in self._decoding.format.renderer.stop_ids
        if not self._is_over:
            self._raw.append(token)
            for certain, text in self._watch.feed(token, self._text.feed(token)):
                self._certain.append(certain)
                if text:
                    thoughts.append(Thought(text))
            self._is_over = self._watch.is_closed
        self._hand_over()
        if self._is_over:
            await self.stop()  # it would run on to its limit
            self._generation = None
        return thoughts

    async def stop(self) -> None:
        """Stop the generation, if one runs; then no step touches the call's log."""
        if self._generation is not None:
            await self._generation.stop()

    def _hand_over(self) -> None:
        """Give the minds as many thoughts as they ask for, and report the end of them."""
        while self._certain and self._minds.thoughts_wanted:
            self._minds.thought(self._certain.popleft())
        if self._is_over and not self._certain and self._minds.thoughts_wanted:
            self._minds.thoughts_ended()
