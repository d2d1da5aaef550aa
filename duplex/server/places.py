"""What calls take of the allowance of their keys, wherever that is counted."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from duplex.metrics import Metrics
from duplex.protocol.codes import Code
from duplex.server.http import HttpAnswer, problem
from duplex.server.keys import Principal
from duplex.server.store import Store, StoreDown

logger = logging.getLogger(__name__)

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
_CHARGE_S = 10.0  # between looks at a key's minutes, which other calls use too
_SOON_S = 0.01
_DOWN = "The limits of this key cannot be looked at now. Try again in a moment."


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not taken. ``kind`` is for the metrics, the rest for the caller."""

    kind: str
    message: str
    code: Code
    close_code: int

    def answer(self, retry_s: int) -> HttpAnswer:
        """Return it as the answer to a plain request, which may come again after ``retry_s``."""
        is_key = self.code is Code.RATE_LIMIT
        status = HTTPStatus.TOO_MANY_REQUESTS if is_key else HTTPStatus.SERVICE_UNAVAILABLE
        return problem(status, self.message, self.code, (("Retry-After", str(retry_s)),))


class Place:
    """What one call takes of its key's allowance, from its admission to its end. One that no call
    uses is given back."""

    def __init__(self, places: "Places", principal: Principal, *, is_counted: bool) -> None:
        self._places = places
        self._principal = principal
        self._id = secrets.token_hex(12)  # no other server has one of that name
        self._is_counted = is_counted
        self.on_unused: Callable[[], None] | None = None  # gives back what else was kept for it
        self._is_used = False  # by a call, which then ends it
        self._is_down = False  # whether the store was, when it was asked last

    async def take(self) -> str | None:
        """Take it; returns why it is not there, in words for the caller.

        Raises:
            StoreDown: that is not known.
        """
        if not self._is_counted:
            return None
        who = self._principal
        try:
            refusal = await self._places.store.begin(who.account, who.allowance, self._id)
        except StoreDown:  # it may have been taken all the same
            self._leave()
            raise
        self._is_counted = refusal is None
        return refusal

    async def run_out(self) -> None:
        """Keep it, and charge the key for the time; returns when the key's minutes are used up."""
        while self._is_counted:
            left_s = await self._left_s()
            if left_s <= 0:
                return
            await asyncio.sleep(min(max(left_s, _SOON_S), self._places.period_s))
        await asyncio.Event().wait()  # nothing is counted

    def use(self) -> None:
        """A call has it now."""
        self._is_used = True

    def give_back(self) -> None:
        """Free it, unless a call uses it."""
        if self._is_used:
            return
        on_unused, self.on_unused = self.on_unused, None
        if on_unused is not None:
            on_unused()
        self.end()

    def end(self) -> None:
        """Free it: its call is over."""
        if self._is_counted:
            self._is_counted = False
            self._leave()

    def _leave(self) -> None:
        who = self._principal
        self._places.errands.run(self._places.store.end(who.account, who.allowance, self._id))

    async def _left_s(self) -> float:
        who = self._principal
        try:
            left_s = await self._places.store.left_s(who.account, who.allowance, self._id)
        except StoreDown as error:
            if not self._is_down:
                logger.warning("a call goes on uncounted: %s", error)
            self._is_down = True
            self._places.errands.count_failure()
            return float("inf")
        self._is_down = False
        return left_s


class Places:
    """The places of all calls of one server."""

    def __init__(
        self,
        store: Store,
        errands: "Errands",
        *,
        lease_s: float = 30.0,
        admits_when_down: bool = False,
    ) -> None:
        """``lease_s`` is how long the store keeps a place that is not renewed. With
        ``admits_when_down`` calls of keys with limits are taken while it cannot be asked."""
        self.store = store
        self.errands = errands
        self.period_s = min(_CHARGE_S, lease_s / 3)
        self._admits_when_down = admits_when_down

    async def reserve(self, principal: Principal) -> Place | Refusal:
        """Take a place for a call, or say why there is none. A key without limits has one,
        whatever becomes of the store."""
        place = Place(self, principal, is_counted=principal.allowance.bounds_calls)
        try:
            spent = await place.take()
        except StoreDown as error:
            self.errands.count_failure()
            if self._admits_when_down:
                logger.warning("a call of a key with limits is taken uncounted: %s", error)
                return Place(self, principal, is_counted=False)
            logger.warning("a call of a key with limits is refused: %s", error)
            return Refusal("store_down", _DOWN, Code.SERVER_ERROR, TRY_AGAIN_LATER)
        if spent is not None:
            return Refusal("key_limit", spent, Code.RATE_LIMIT, POLICY_VIOLATION)
        return place


class Errands:
    """Work for the store that nobody waits for. What fails is counted, and done without."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        """Do ``work`` soon."""
        task = asyncio.ensure_future(self._do(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def count_failure(self) -> None:
        """The store could not be used."""
        self._metrics.count("duplex_store_failures_total")

    async def finish(self) -> None:
        """Wait for what is being done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _do(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except StoreDown as error:
            self.count_failure()
            logger.info("left undone: %s", error)
