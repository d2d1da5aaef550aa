"""The format of a model's answers, and what the two brains of one answer decode with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.brain.call_guard import CallGuard
from engine.brain.chat_format import Renderer
from engine.native.kv_cache import Log
from engine.native.minds import Pace
from engine.native.model.ta4 import Ta4Ids
from engine.native.runtime.generation import Generation, Inbox
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.scheduler import Scheduler
from engine.native.runtime.work import Prompt


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


@dataclass(frozen=True, slots=True)
class Decoding:
    """What both brains of one answer share: the prompt, the call's log, and the device.

    ``open_guard`` makes the guard of its calls of functions, at the beginning of the answer; None
    if it comes to none. With ``must_say`` it does not end before a word.
    """

    format: AnswerFormat
    scheduler: Scheduler
    log: Log
    prompt: Prompt
    sampling: Sampling
    inbox: Inbox
    open_guard: Callable[[], CallGuard] | None = None
    must_say: bool = False

    def generation(
        self,
        log: Log,
        ids: Sequence[int],
        *,
        stop_ids: frozenset[int],
        limit: int,
        before: Sequence[int] = (),
        forks: bool = False,
        must_say: Callable[[int], bool] | None = None,
        guard: CallGuard | None = None,
    ) -> Generation:
        """A generation of what follows the prompt and ``ids``, not started yet; its tokens come to
        the inbox. See `Scheduler.generate`."""
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
