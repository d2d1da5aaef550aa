"""The format of a model's answers, and what the two brains of one answer decode with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from engine.brain.call_guard import CallGuard
from engine.brain.chat_format import Renderer
from engine.native.interfaces import Decoded, LogHandle, Runtime, TokenInbox
from engine.native.minds import Pace
from engine.native.model.ta4 import Ta4Ids
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.work import Prompt
from engine.text.thought_filter import THINK_CLOSE, THINK_OPEN

_NO_THOUGHTS = f"{THINK_OPEN}\n\n{THINK_CLOSE}\n"


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The ids around a model's thoughts, and the pace of its two brains.

    ``no_thoughts`` follows the opening of an answer without thoughts: an empty think block, or
    nothing. ``speech`` is set for a model that makes its own speech (ta4); then ``think_close``
    and ``no_thoughts`` end with ``<tts_start>``.
    """

    renderer: Renderer
    think_open: tuple[int, ...]
    think_close: tuple[int, ...]
    no_thoughts: tuple[int, ...]
    pace: Pace
    speech: Ta4Ids | None = None

    def beginning(self, text: str) -> Self:
        """The format of an answer that begins with ``text`` after its thoughts."""
        ids = self.renderer.plain(text)
        return replace(
            self,
            think_close=(*self.think_close, *ids),
            no_thoughts=(*self.no_thoughts, *ids),
        )


def thinking_format(
    renderer: Renderer, pace: Pace, *, always_thinks: bool, speech: Ta4Ids | None = None
) -> AnswerFormat:
    """The format of a model that thinks between ``<think>`` tags, or can be made to.
    ``always_thinks``: it was trained to begin every answer with a think block."""
    begin = (speech.start,) if speech else ()
    no_thoughts = renderer.plain(_NO_THOUGHTS) if always_thinks else []
    return AnswerFormat(
        renderer,
        think_open=tuple(renderer.plain(f"{THINK_OPEN}\n")),
        think_close=(*renderer.plain(f"{THINK_CLOSE}\n"), *begin),
        no_thoughts=(*no_thoughts, *begin),
        pace=pace,
        speech=speech,
    )


@dataclass(frozen=True, slots=True)
class Decoding:
    """What both brains of one answer share: the prompt, the call's log, and the device.

    ``open_guard`` makes the guard of its calls of functions, at the beginning of the answer; None
    if it comes to none. With ``must_say`` it does not end before a word.
    """

    format: AnswerFormat
    scheduler: Runtime
    log: LogHandle
    prompt: Prompt
    sampling: Sampling
    inbox: TokenInbox
    open_guard: Callable[[], CallGuard] | None = None
    must_say: bool = False

    def generation(
        self,
        log: LogHandle,
        ids: Sequence[int],
        *,
        stop_ids: frozenset[int],
        limit: int,
        before: Sequence[int] = (),
        forks: bool = False,
        must_say: Callable[[int], bool] | None = None,
        guard: CallGuard | None = None,
    ) -> Decoded:
        """A generation of what follows the prompt and ``ids``, not started yet; its tokens come to
        the inbox. See `Runtime.generate`."""
        return self.scheduler.generate(
            log,
            Prompt([*self.prompt.ids, *ids], self.prompt.sounds),
            self.sampling,
            stop_ids=stop_ids,
            limit=limit,
            before=before,
            forks=forks,
            must_say=must_say,
            guard=guard,
            inbox=self.inbox,
        )
