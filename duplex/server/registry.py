"""The calls that a server holds: decides whether there is room for another, and runs each from
its admission to its end."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence

from duplex.config import Config
from duplex.dialogue.observers import CallInfo, Observe
from duplex.dialogue.parts import Parts
from duplex.logs import call_logger
from duplex.metrics import Metrics
from duplex.protocol.codes import Code
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.shapes import ShapeName
from duplex.server import memory
from duplex.server.keys import Principal
from duplex.server.load import Load
from duplex.server.places import POLICY_VIOLATION, TRY_AGAIN_LATER, Place, Places, Refusal
from duplex.server.quota import Rates
from duplex.server.resumable_call import Ending, ResumableCall, token_digest

logger = logging.getLogger(__name__)

_TRIM_S = 1.0  # after a call, for all that end by then together
OUT_OF_MINUTES = Ending(
    "out_of_minutes", POLICY_VIOLATION, "the key's minutes of today are used", Code.RATE_LIMIT
)


class CallRegistry:
    """All calls of one process. Models are shared; everything else belongs to a call."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        metrics: Metrics,
        load: Load,
        places: Places,
        observe: Sequence[Observe] = (),
    ) -> None:
        """``observe`` are asked for each call whether they observe it."""
        self._places = places
        self._config = config
        self._parts = parts
        self._metrics = metrics
        self._load = load
        self._observe = observe
        self._rates: dict[str, Rates] = {}  # by account
        self._calls: dict[ResumableCall, asyncio.Task[None]] = {}
        self._numbered = 0  # ids ever given to calls
        self._trimming: asyncio.TimerHandle | None = None  # set when a call has ended

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[ResumableCall]:
        return iter(list(self._calls))

    def rates(self, principal: Principal) -> Rates:
        """Return what the callers of a key may send, or, without a key, those of an address that
        needs none."""
        burst_bytes = 2 * self._config.server.max_message_bytes
        return self._rates.setdefault(principal.account, Rates(principal.allowance, burst_bytes))

    @property
    def unready(self) -> str | None:
        """Why the server can hold no further call now, in a word; None if it can."""
        if not self._parts.are_alive:
            return "engine lost"
        if len(self._calls) >= self._config.server.max_calls:
            return "full"
        if (why := self._parts.unready) is not None:
            return why
        return "busy" if self._calls and self._load.refusal(time.monotonic()) else None

    def refusal(self) -> Refusal | None:
        """Why another call cannot be held, whosever it is; None if it can."""
        if not self._parts.are_alive:
            message = "The engine is lost: nothing can be answered. Try again in a moment."
            return Refusal("engine_lost", message, Code.SERVER_STOPPING, TRY_AGAIN_LATER)
        limit = self._config.server.max_calls
        if len(self._calls) >= limit:
            message = f"The server is full ({limit} at a time). Try again later."
            return Refusal("full", message, Code.SERVER_FULL, TRY_AGAIN_LATER)
        busy = self._load.refusal(time.monotonic()) if self._calls else None
        if busy is not None:
            return Refusal("busy", busy, Code.SERVER_FULL, TRY_AGAIN_LATER)
        return None

    async def reserve(self, principal: Principal, *, is_call: bool = True) -> Place | Refusal:
        """Take a place of a principal's, for a call at the engine, too; see `Places.reserve`."""
        place = await self._places.reserve(principal)
        if isinstance(place, Refusal) or not is_call:
            return place
        try:
            why = await self._parts.reserve()
        except asyncio.CancelledError:  # the client has gone
            place.give_back()
            raise
        if why is None:
            place.on_unused = self._parts.release
            return place
        place.give_back()
        return Refusal("engine", why, Code.SERVER_FULL, TRY_AGAIN_LATER)

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
        place: Place,
        *,
        shape: ShapeName = "ga",
        call_id: str = "",
        client: str = "websocket",
        caller: str = "",
        called: str = "",
        traceparent: str = "",
    ) -> ResumableCall:
        """Begin a call with the session ``start``. It runs as a task of its own, as it may outlive
        the socket. ``origin`` is for the log, ``place`` is the call's, ``call_id`` is from `new_id`
        if there was one; ``client`` says what the call comes over, and the rest is told to those
        who observe it."""
        call_id = call_id or self.new_id()
        info = CallInfo(
            call_id,
            time.time(),
            principal.name,
            client,
            origin,
            start,
            principal.records,
            caller,
            called,
            traceparent,
        )
        call = ResumableCall(
            call_id,
            self._config,
            self._parts,
            self._metrics,
            principal,
            start,
            shape=shape,
            info=info,
            observe=self._observe,
        )
        call_logger(logger, call_id).info(
            "opened from %s by %s", origin, principal.name or "anybody"
        )
        self._metrics.count("duplex_calls_total")
        place.use()
        self._calls[call] = asyncio.create_task(self._run(call, place))
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

    async def _run(self, call: ResumableCall, place: Place) -> None:
        charging = asyncio.create_task(_charge(call, place))
        try:
            await call.run()
        finally:
            charging.cancel()
            place.end()
            del self._calls[call]
            if self._trimming is None:
                loop = asyncio.get_running_loop()
                self._trimming = loop.call_later(_TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        memory.give_back()


async def _charge(call: ResumableCall, place: Place) -> None:
    await place.run_out()
    call.end(OUT_OF_MINUTES)
