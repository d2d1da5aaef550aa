"""Which logs give way when the cache is full.

A log can always be built again: every work brings its log up to a whole prompt, and the latents of
the conversation are kept elsewhere. So the log that has rested longest is dropped first. If that is
not enough, a work waits until others end. If all wait, the newest is put back to its beginning
(preemption by recomputation: Kwon et al. 2023, "Efficient Memory Management for LLM Serving with
PagedAttention", section 4.5).
"""

import logging
from collections.abc import Sequence

from engine.native.kv_cache import BlockPool, Log
from engine.native.runtime.work import Work

logger = logging.getLogger(__name__)


class Memory:
    """The room in the cache, shared out to the works of a step."""

    def __init__(self, pool: BlockPool) -> None:
        self.dropped = 0  # logs
        self.preempted = 0  # works
        self._pool = pool
        self._resting: dict[Log, None] = {}  # those no work writes to; longest first

    def took(self, log: Log) -> None:
        """A work writes to ``log`` from now on."""
        self._resting.pop(log, None)

    def rests(self, log: Log) -> None:
        """No work writes to ``log`` any more."""
        self._resting.pop(log, None)
        self._resting = {old: None for old in self._resting if old.length}
        if log.length:
            self._resting[log] = None

    def fitting(self, share: dict[int, int], works: Sequence[Work]) -> dict[int, int]:
        """The part of ``share`` (ids to run, by number of the work) for which there is room."""
        promised = 0
        fits: dict[int, int] = {}
        for index, count in share.items():
            needed = works[index].log.blocks_for(count)
            if self._make_room(promised + needed):
                fits[index] = count
                promised += needed
        return fits

    def preempt(self, works: Sequence[Work]) -> bool:
        """Put the newest work but one back to its beginning; whether there was one."""
        holding = sorted((work for work in works if work.log.length), key=lambda work: work.rank)
        if len(holding) < 2:
            return False
        logger.info("the cache is full: the newest of %d works begins again", len(holding))
        holding[-1].begin_again()
        self.preempted += 1
        return True

    def _make_room(self, blocks: int) -> bool:
        for log in list(self._resting):
            if self._pool.free_blocks >= blocks:
                break
            del self._resting[log]
            if log.length:
                logger.info("the cache is full: %d tokens of a resting call go", log.length)
                log.truncate(0)
                self.dropped += 1
        return self._pool.free_blocks >= blocks
