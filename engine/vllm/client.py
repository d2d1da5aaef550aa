"""What is asked of vLLM, in our words: requests whose prompt grows while they run."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from torch import Tensor

from engine.native.latents import LatentSound, rows_of

PENALTY, SAID = "answer_penalty", "answer_said"  # of a `Draw`, as vLLM is told them


@dataclass(frozen=True, slots=True)
class Draw:
    """How the tokens after a chunk are drawn: at most ``limit``, up to one of ``stop_ids``.

    ``said``: tokens of the same answer before them, which the repetition penalty counts too.
    ``banned`` do not come, and of ``allowed``, if given, one does. With ``must_begin`` the first is
    not of the ``stop_ids``.
    """

    limit: int = 1
    stop_ids: frozenset[int] = frozenset()
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    said: tuple[int, ...] = ()
    banned: tuple[int, ...] = ()
    allowed: tuple[int, ...] = ()
    must_begin: bool = False


AHEAD = Draw()  # the prompt goes on: the one token that vLLM makes all the same is dropped


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next ids of a request, negative ones of latents in ``sounds``, and what follows them."""

    ids: Sequence[int]
    draw: Draw
    sounds: Sequence[LatentSound] = ()

    def with_placeholders(self, placeholder: int) -> tuple[list[int], list[Tensor]]:
        """The ids with ``placeholder`` for each latent, and the latents [n, C] of each run of
        them."""
        ids = [placeholder if id_ < 0 else id_ for id_ in self.ids]
        runs = [list(run) for heard, run in groupby(self.ids, lambda id_: id_ < 0) if heard]
        return ids, [rows_of(run, self.sounds, "cpu") for run in runs]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that were made. ``cached``: of the request's first chunk so many were in the cache."""

    ids: Sequence[int]
    cached: int


class Client(Protocol):
    """The part of an engine that a request needs."""

    @property
    def is_alive(self) -> bool:
        """Whether the engine's process still runs."""

    @property
    def capacity_tokens(self) -> int:
        """Of its cache; 0 if that is not known."""

    @property
    def places(self) -> int:
        """Most requests that are open at a time, those that wait for more included; others wait
        until one ends."""

    def request(self, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Tokens, None]:
        """Run ``chunks`` as one request that keeps its place in the cache while it waits for more.

        After each chunk come its tokens. The last of them is forgotten when the next chunk comes:
        its keys and values were never computed. ``aclose()`` and cancelling free the place.

        Raises:
            Exception: whatever the engine raises.
        """

    def close(self) -> None:
        """Stop the engine."""
