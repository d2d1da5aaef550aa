"""The calls that a server holds: decides whether there is room for another, and runs each from
its admission to its end."""

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from duplex.config import Config
from duplex.dialogue.parts import Parts
from duplex.logs import call_logger
from duplex.metrics import Metrics
from duplex.protocol.codes import Code
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.shapes import ShapeName
from duplex.server import memory
from duplex.server.gate import POLICY_VIOLATION
from duplex.server.keys import Principal
from duplex.server.load import Load
from duplex.server.quota import Account
from duplex.server.resumable_call import Ending, ResumableCall, token_digest

logger = logging.getLogger(__name__)

TRY_AGAIN_LATER = 1013
_TRIM_S = 1.0  # after a call, for all that end by then together
_CHARGE_S = 10.0  # between looks at a key's minutes, which other calls use too
OUT_OF_MINUTES = Ending(
    "out_of_minutes", POLICY_VIOLATION, "the key's minutes of today are used", Code.RATE_LIMIT
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not taken. ``kind`` is for the metrics, the rest for the caller."""

    kind: str
    message: str
    code: Code
    close_code: int


class CallRegistry:
    """All calls of one process. Models are shared; everything else belongs to a call."""

    def __init__(self, config: Config, parts: Parts, metrics: Metrics, load: Load) -> None:
        self._config = config
        self._parts = parts
        self._metrics = metrics
        self._load = load
        self._accounts: dict[tuple[bool, str], Account] = {}  # by kind and name
        self._calls: dict[ResumableCall, asyncio.Task[None]] = {}
        self._numbered = 0  # ids ever given to calls
        self._trimming: asyncio.TimerHandle | None = None  # set when a call has ended

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[ResumableCall]:
        return iter(list(self._calls))

    def account(self, principal: Principal) -> Account:
        """Return what the calls of a key use, or, without a key, those of an address that needs
        none."""
        burst_bytes = 2 * self._config.server.max_message_bytes
        return self._accounts.setdefault(
            (principal.is_key, principal.name),
            Account(principal.allowance, burst_bytes, time.time()),
        )

    @property
    def unready(self) -> str | None:
        """Why the server can hold no further call now, in a word; None if it can."""
        if not self._parts.are_alive:
            return "engine lost"
        if len(self._calls) >= self._config.server.max_calls:
            return "full"
        return "busy" if self._calls and self._load.refusal(time.monotonic()) else None

    def refusal(self, principal: Principal) -> Refusal | None:
        """Why another call cannot be held, if it cannot."""
        if not self._parts.are_alive:
            message = "The engine is lost: nothing can be answered. Try again in a moment."
            return Refusal("engine_lost", message, Code.SERVER_STOPPING, TRY_AGAIN_LATER)
        limit = self._config.server.max_calls
        if len(self._calls) >= limit:
            message = f"The server is full: it holds {limit} calls. Try again later."
            return Refusal("full", message, Code.SERVER_FULL, TRY_AGAIN_LATER)
        busy = self._load.refusal(time.monotonic()) if self._calls else None
        if busy is not None:
            return Refusal("busy", busy, Code.SERVER_FULL, TRY_AGAIN_LATER)
        spent = self.account(principal).refusal(time.time())
        if spent is not None:
            return Refusal("key_limit", spent, Code.RATE_LIMIT, POLICY_VIOLATION)
        return None

    def refuse(self, refusal: Refusal) -> None:
        """Note that a call was not taken."""
        logger.info("refused a call: %s", refusal.kind)
        self._metrics.count("duplex_refused_total", reason=refusal.kind)

    def new_id(self) -> str:
        """Return an id for a call that has not been opened yet, for what is logged before."""
        self._numbered += 1
        return f"call-{self._numbered}"

    def open(
        self,
        principal: Principal,
        start: SessionConfig,
        origin: str,
        *,
        shape: ShapeName = "ga",
        call_id: str = "",
    ) -> ResumableCall:
        """Begin a call with the session ``start``. It runs as a task of its own, as it may outlive
        the socket. ``origin`` is for the log, ``call_id`` is from `new_id` if there was one."""
        call_id = call_id or self.new_id()
        call = ResumableCall(
            call_id, self._config, self._parts, self._metrics, principal, start, shape=shape
        )
        call_logger(logger, call_id).info(
            "opened from %s by %s", origin, principal.name or "anybody"
        )
        self._metrics.count("duplex_calls_total")
        account = self.account(principal)
        account.begin(time.time())  # at once: others of the key may call in this moment
        self._calls[call] = asyncio.create_task(self._run(call, account))
        return call

    def find(self, token: str | None) -> ResumableCall | None:
        """Return the call that may be taken up with ``token``, None if there is none."""
        if token is None:
            return None
        digest = token_digest(token)
        return next((call for call in self._calls if call.token_digest == digest), None)

    async def end_all(self, ending: Ending, patience_s: float) -> None:
        """End every call; those that take too long, without a goodbye."""
        for call in self._calls:
            call.end(ending)
        if self._calls:
            _, late = await asyncio.wait(self._calls.values(), timeout=patience_s)
            for task in late:
                task.cancel()

    async def _run(self, call: ResumableCall, account: Account) -> None:
        loop = asyncio.get_running_loop()
        charging: asyncio.TimerHandle | None = None

        def charge() -> None:
            nonlocal charging
            left_s = account.left_s(time.time())
            if left_s <= 0:
                call.end(OUT_OF_MINUTES)
            elif left_s < float("inf"):
                charging = loop.call_later(min(left_s, _CHARGE_S), charge)

        charge()
        try:
            await call.run()
        finally:
            if charging is not None:
                charging.cancel()
            account.end(time.time())
            del self._calls[call]
            if self._trimming is None:
                self._trimming = loop.call_later(_TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        memory.give_back()
