"""The steps of a voice's utterances: what waits at the same time is rendered in one.

An utterance is fed on its caller's thread and rendered on the voice's. A step that is taken for one
utterance renders a chunk of each other that waits, too; theirs is ready when their own step comes.
"""

import itertools
import logging
import threading
from collections import deque
from collections.abc import Sequence
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray

from tts.token2wav.stream import Feed, StreamState, Token2Wav

logger = logging.getLogger(__name__)

Samples = NDArray[np.float32]


class Utterance:
    """The codes of one utterance that wait, and what was made of it. `SharedSteps` guards it."""

    def __init__(self, state: StreamState) -> None:
        self.state = state
        self.codes: list[int] = []  # given and not yet rendered, nor in the state
        self.made: deque[Samples] = deque()  # in the steps of others, not yet fetched
        self.since = 0  # number of the wait; the lowest waits longest

    @property
    def is_open(self) -> bool:
        """Whether codes are there that no chunk was made of."""
        return bool(self.codes or self.state.pending)


class SharedSteps:
    """Renders the utterances of one voice, up to ``most`` in a step."""

    def __init__(
        self, model: Token2Wav, most: int = 1, lane: torch.cuda.Stream | None = None
    ) -> None:
        self._model = model
        self._most = most
        self._lane = lane
        self._gate = threading.Lock()  # of all utterances; not held while the model runs
        self._numbers = itertools.count(1)
        self._waiting: WeakSet[Utterance] = WeakSet()  # with a whole chunk; given up, it is gone

    def add(self, utterance: Utterance, codes: Sequence[int]) -> None:
        """Take ``codes``. On any thread.

        Raises:
            ValueError: a code is not in the codebook.
        """
        self._model.check(codes)
        with self._gate:
            utterance.codes += codes
            self._note(utterance)

    def next_chunk(self, utterance: Utterance) -> Samples | None:
        """The samples of the next chunk; None if its codes are not there. On the voice's thread.

        Raises:
            Exception: what the device raised.
        """
        with self._gate:
            if utterance.made:
                return utterance.made.popleft()
            if not self._is_due(utterance):
                return None
            others = sorted(self._waiting - {utterance}, key=lambda other: other.since)
            group = [utterance, *others[: self._most - 1]]
            feeds = [self._feed_of(one) for one in group]
        try:
            results = self._run(feeds)
        except Exception:
            if len(group) == 1:
                raise
            logger.exception("a step of %d utterances failed; the first is tried alone", len(group))
            group = group[:1]
            results = self._run(feeds[:1])
        with self._gate:
            for one, feed, (samples, state) in zip(group, feeds, results, strict=False):
                del one.codes[: len(feed.codes)]
                one.state = state
                one.made.append(samples)
                self._note(one)
            return utterance.made.popleft()

    def last_chunk(self, utterance: Utterance) -> Samples:
        """The rest, after `next_chunk` has said None. On the voice's thread.

        Raises:
            Exception: what the device raised.
        """
        with self._gate:
            codes, utterance.codes = utterance.codes, []
        [(samples, utterance.state)] = self._run([Feed(codes, utterance.state, final=True)])
        return samples

    def _run(self, feeds: Sequence[Feed]) -> list[tuple[Samples, StreamState]]:
        with torch.cuda.stream(self._lane):  # no stream, no change
            return self._model.feed_all(feeds)

    def _is_due(self, utterance: Utterance) -> bool:
        return self._model.completes_chunk(utterance.codes, utterance.state)

    def _feed_of(self, utterance: Utterance) -> Feed:
        """So many codes that they complete one chunk."""
        missing = self._model.window_codes - len(utterance.state.pending)
        return Feed(utterance.codes[:missing], utterance.state)

    def _note(self, utterance: Utterance) -> None:
        """Remember whether the utterance waits."""
        if not self._is_due(utterance):
            self._waiting.discard(utterance)
        elif utterance not in self._waiting:
            utterance.since = next(self._numbers)
            self._waiting.add(utterance)
