"""The work of one sequence in the device's steps."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from engine.brain.call_guard import CallGuard
from engine.brain.token_log import common_prefix
from engine.native.kv_cache import Log
from engine.native.latents import LatentSound, rows_of
from engine.native.runtime.planning import Candidate
from engine.native.runtime.runner import StepInput
from engine.native.runtime.sampling import Chooser, Sampling
from engine.worker import Priority

# A row this many tokens ahead of its reader rests, so an answer that is cut wastes no more.
RUN_AHEAD_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Prompt:
    """The ids that a log has to hold, of tokens and of latents."""

    ids: Sequence[int]
    sounds: Sequence[LatentSound] = ()  # with the latents of the negative ids


@dataclass(slots=True)
class Work:
    """The work of one sequence. Only the device's thread uses it, except `consumed`, which the
    reader of the tokens writes."""

    log: Log
    prompt: Prompt
    priority: Priority
    order: int
    done: "Future[None]"  # resolved when no step touches the log any more
    admitted: "Future[int]"  # how many of the prompt's ids the log held
    sampling: Sampling | None = None  # None: only prefill the prompt
    stop_ids: frozenset[int] = frozenset()
    limit: int = 0
    deliver: Callable[[int], None] | None = None
    pending: list[int] = field(default_factory=list)
    latents: Tensor | None = None  # [n, C], of the ids below zero among the pending
    made: list[int] = field(default_factory=list)
    before: Sequence[int] = ()  # of the same answer, which the repetition penalty counts too
    consumed: int = 0
    served: int = 0  # number of its last turn to decode, among those of all rows
    must_say: Callable[[int], bool] | None = None  # no stop token before it was true of a token
    guard: CallGuard | None = None  # of its calls of functions, if it may come to any
    forks: bool = False  # until admitted, `log` is another's, which is only read
    waits: bool = False  # until another work ends: the cache has no room for both

    def admit(self) -> None:
        """Begin: cut the log to what it has in common with the prompt; the rest is pending."""
        ids = self.prompt.ids
        same = common_prefix(self.log.entries, ids)
        if self.forks:
            self.log = self.log.fork(same)
        # The scores after the last id come only with a step over it.
        kept = min(same, len(ids) - 1) if self.sampling is not None else same
        self._go_on_from(kept)
        self.admitted.set_result(same)

    def begin_again(self) -> None:
        """Give the log's memory back, and wait. What was made stays, and is prefilled again."""
        self._go_on_from(0)
        self.waits = True

    def _go_on_from(self, kept: int) -> None:
        self.log.truncate(kept)
        self.pending = [*self.prompt.ids, *self.made][kept:]
        heard = [id_ for id_ in self.pending if id_ < 0]
        self.latents = rows_of(heard, self.prompt.sounds, self.log.pool.device) if heard else None

    @property
    def rank(self) -> tuple[int, int]:
        return int(self.priority), self.order

    @property
    def decodes(self) -> bool:
        return bool(self.made) and len(self.pending) == 1

    @property
    def rests(self) -> bool:
        return len(self.made) - self.consumed >= RUN_AHEAD_TOKENS

    def candidate(self) -> Candidate:
        takes_part = not (self.rests or self.waits)
        pending = len(self.pending) if takes_part else 0
        return Candidate(pending, self.decodes and takes_part, self.rank, self.served)

    def chooser(self) -> Chooser | None:
        """How its next token is chosen; None if it only prefills."""
        if self.sampling is None:
            return None
        seen = [*self.before, *self.made]
        forbidden = () if self.must_say is None else tuple(self.stop_ids)
        if self.guard is None:
            return Chooser(self.sampling, seen, forbidden)
        if not self.guard.in_call:
            return Chooser(self.sampling, seen, forbidden, self.guard.mask())
        return Chooser(self.sampling, (), (), self.guard.mask())  # a call has to repeat itself

    def feed(self, count: int) -> StepInput:
        """The next ``count`` of its pending ids; their scores are wanted after the last."""
        entries = self.pending[:count]
        heard = sum(id_ < 0 for id_ in entries)
        latents = None if self.latents is None or not heard else self.latents[:heard]
        last = count == len(self.pending)
        return StepInput(
            self.log, entries, latents, wants_scores=last and self.sampling is not None
        )

    def fed(self, feed: StepInput) -> None:
        """Note that ``feed`` was run."""
        del self.pending[: len(feed.entries)]
        if self.latents is not None and feed.latents is not None:
            self.latents = self.latents[len(feed.latents) :]

    def take(self, token: int) -> None:
        """Note that ``token`` was decoded, and deliver it."""
        self.made.append(token)
        if self.guard is not None:
            self.guard.take(token)
        assert self.deliver is not None
        self.deliver(token)
        if self.must_say is not None and self.must_say(token):
            self.must_say = None
        if token in self.stop_ids or len(self.made) >= self.limit:
            self.done.set_result(None)
        else:
            self.pending.append(token)

    def fail(self, error: Exception) -> None:
        """End the work with ``error``."""
        for future in (self.admitted, self.done):
            if not future.done():
                future.set_exception(error)
