"""What answers are decoded on, as `engine.native.answering` needs it.

`engine.native.runtime` is one on our own kernels. Another runtime may keep its logs elsewhere: a
log is a handle that only the runtime which opened it can read.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from engine.brain.call_guard import CallGuard
from engine.native.runtime.sampling import Sampling
from engine.native.runtime.work import Prompt

T = TypeVar("T")
LogHandle = Any  # of the same runtime; it has a `close`, to be called within `Runtime.run`


class Decoded(Protocol):
    """Tokens of one answer as they are decoded; see `engine.native.runtime.generation`."""

    @property
    def log(self) -> LogHandle:
        """The log that is decoded."""

    def start(self) -> None:
        """Begin. Whoever starts it has to `stop` it."""

    async def stop(self) -> None:
        """End; afterwards no step touches the log. May be repeated."""

    async def cached(self) -> int:
        """How many of the prompt's ids were in the log."""


class TokenInbox(Protocol):
    """Tokens of several generations, in the order in which they came."""

    async def get(self) -> tuple[Decoded, int | None]:
        """The next token and whose it is; None: that generation has ended."""


class Runtime(Protocol):
    """Runs one model for all calls; see `engine.native.runtime.scheduler`."""

    @property
    def is_alive(self) -> bool:
        """Whether work is still taken."""

    def open_log(self) -> LogHandle:
        """An empty log."""

    async def run(self, function: Callable[[], T]) -> T:
        """Call ``function`` where logs may be closed."""

    async def bring_up_to(self, log: LogHandle, prompt: Prompt) -> int:
        """Make ``log`` hold ``prompt``, or what of it is likely to stay."""

    def generate(
        self,
        log: LogHandle,
        prompt: Prompt,
        sampling: Sampling,
        *,
        stop_ids: frozenset[int],
        limit: int,
        before: Sequence[int] = (),
        forks: bool = False,
        must_say: Callable[[int], bool] | None = None,
        guard: CallGuard | None = None,
        inbox: Any = None,
    ) -> Decoded:
        """Decode what follows ``prompt``."""

    def open_inbox(self) -> TokenInbox:
        """An inbox of this runtime."""

    def close(self) -> None:
        """Stop."""
