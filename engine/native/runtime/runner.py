"""One step of the decoder over the inputs of many sequences."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from engine.errors import ContextExceeded
from engine.native.kv_cache import BlockPool, Log
from engine.native.model.decoder import Decoder, Rows, make_batch


@dataclass(frozen=True, slots=True)
class StepInput:
    """The ids that one sequence adds in a step. Each negative id takes the next row of
    ``latents`` [n, C] instead of an embedding."""

    log: Log
    entries: Sequence[int]
    latents: Tensor | None = None
    wants_scores: bool = False


@dataclass(slots=True)
class StepOutput:
    """The result of a step: the scores [R, V] of the inputs that want them, in their order, and
    the error of each input that found no room, by its index."""

    scores: Tensor | None
    failures: dict[int, Exception] = field(default_factory=dict)


class DecodeGraph(Protocol):
    """A captured decode step; see `engine.native.runtime.graphs`."""

    def fits(self, feeds: Sequence[StepInput]) -> bool:
        """Whether the step is one token of few enough sequences."""

    def scores(self, ids: Sequence[int], rows: Sequence[Rows]) -> Tensor:
        """Scores [R, V] of the tokens after ``ids``."""


class Runner:
    """Runs steps of a decoder on its cache, as a graph where that fits."""

    def __init__(self, decoder: Decoder, pool: BlockPool, graph: DecodeGraph | None = None) -> None:
        self.decoder = decoder
        self.pool = pool
        self._graph = graph
        # Of the last step, if nobody waited for its scores: steps must not pile up on the device
        # faster than it runs them, or a new row would wait behind all of them.
        self._running: torch.cuda.Event | None = None

    @torch.inference_mode()
    def step(self, feeds: Sequence[StepInput]) -> StepOutput:
        """Append every input to its log.

        An input that finds no room is left out and reported. If the step itself fails, all logs are
        as they were.

        Raises:
            Exception: what the device raised.
        """
        outcome = StepOutput(None)
        rows: list[Rows] = []
        fed: list[StepInput] = []
        lengths = [feed.log.length for feed in feeds]
        for index, feed in enumerate(feeds):
            try:
                self._check_length(feed)
                rows.append(Rows(feed.log, feed.log.extend(feed.entries)))
                fed.append(feed)
            except Exception as error:
                outcome.failures[index] = error
        if not fed:
            return outcome
        try:
            outcome.scores = self._run(fed, rows)
        except BaseException:
            for feed, length in zip(feeds, lengths, strict=True):
                feed.log.truncate(length)
            raise
        return outcome

    def _check_length(self, feed: StepInput) -> None:
        length, most = feed.log.length + len(feed.entries), self.decoder.shape.max_positions
        if length > most:
            raise ContextExceeded(f"{length} tokens; the model knows {most} positions")

    def _run(self, feeds: Sequence[StepInput], rows: Sequence[Rows]) -> Tensor | None:
        self._wait()
        if self._graph is not None and self._graph.fits(feeds):
            return self._graph.scores([feed.entries[0] for feed in feeds], rows)
        batch = make_batch(rows, self.decoder.device)
        hidden = self.decoder.forward(self._embed(feeds), batch, self.pool)
        wanted = _last_rows(feeds)
        if not wanted:
            self._mark()
            return None
        return self.decoder.logits(hidden[torch.tensor(wanted, device=hidden.device)])

    def _mark(self) -> None:
        if self.decoder.device.type == "cuda":
            self._running = torch.cuda.Event()
            self._running.record()

    def _wait(self) -> None:
        if self._running is not None:
            self._running.synchronize()
            self._running = None

    def _embed(self, feeds: Sequence[StepInput]) -> Tensor:
        ids = torch.tensor([entry for feed in feeds for entry in feed.entries])
        x = self.decoder.embed(ids.clamp(min=0).to(self.decoder.device))
        heard = [feed.latents for feed in feeds if feed.latents is not None]
        at = (ids < 0).nonzero()[:, 0]
        if len(at):
            x[at.to(x.device)] = torch.cat(heard).to(x)
        return x


def _last_rows(feeds: Sequence[StepInput]) -> list[int]:
    """Row numbers, in the step's batch, of the last entries of the feeds that want scores."""
    end, wanted = 0, []
    for feed in feeds:
        end += len(feed.entries)
        if feed.wants_scores:
            wanted.append(end - 1)
    return wanted
