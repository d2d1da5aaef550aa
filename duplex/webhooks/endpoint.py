"""One address that is sent events: what waits for it, and the tries to deliver it."""

import asyncio
import base64
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2

from duplex.config import WebhookConfig
from duplex.metrics import Metrics
from duplex.webhooks.retrying import BACKOFF, Answer, Backoff, Verdict, verdict, wait_s
from duplex.webhooks.signing import signed_headers
from engine.remote.service import proxy_for

logger = logging.getLogger(__name__)

_REQUESTS = 4  # at a time, to one address
_READ_BYTES = 64 * 1024  # of an answer, which nobody wants, so that its connection can be kept


@dataclass(frozen=True, slots=True)
class Event:
    """What is sent, in JSON. Events with one ``call_id`` arrive in order."""

    id: str
    call_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: Event
    give_up_at_s: float  # of the event loop's clock


class Endpoint:
    """Delivers events while a server runs. A call's events go one after the other; those of other
    calls do not wait for them. Make it where an event loop runs."""

    def __init__(
        self,
        config: WebhookConfig,
        key: bytes,
        metrics: Metrics,
        backoff: Backoff = BACKOFF,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``chance`` spreads the pauses between tries."""
        self._url = httpx2.URL(config.url)
        proxy = proxy_for(config.url)
        self.name = self._url.host  # the rest of an address may be a secret
        self._config = config
        self._key = key
        self._metrics = metrics
        self._backoff = backoff
        self._chance = chance
        # A client would log addresses, follow redirects and keep cookies.
        self._transport = httpx2.AsyncHTTPTransport(proxy=proxy.url if proxy else None)
        self._headers = {
            "content-type": "application/json",
            "user-agent": "duplex-r1",
            **_authorization(self._url),
        }
        self._slots = asyncio.Semaphore(_REQUESTS)
        self._lanes: dict[str, deque[_Waiting]] = {}  # by call; what is being sent is the first
        self._tasks: set[asyncio.Task[None]] = set()  # one a lane
        self._waiting = 0  # events in all lanes
        self._is_closed = False  # set when it wants no more, or the server stops
        self._is_dropping = False  # whether that was told; until half of the queue is free again

    def enqueue(self, event: Event) -> None:
        """Take an event, to be delivered in time; never waits. It is dropped if too many wait."""
        if self._is_closed or self._waiting >= self._config.queue:
            self._drop(1)
            if not (self._is_dropping or self._is_closed):
                logger.warning(
                    "webhook %s: %d events wait: new ones are dropped", self.name, self._waiting
                )
            self._is_dropping = True
            return
        if self._waiting < self._config.queue / 2:
            self._is_dropping = False
        self._waiting += 1
        now_s = asyncio.get_running_loop().time()
        waiting = _Waiting(event, now_s + self._config.retry_s)
        lane = self._lanes.setdefault(event.call_id, deque())
        lane.append(waiting)
        if len(lane) == 1:
            task = asyncio.create_task(self._empty(event.call_id, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self, patience_s: float) -> None:
        """Deliver what waits, for ``patience_s`` at most; what is left is dropped."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        self._close("the server stops")
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._transport.aclose()

    async def _empty(self, call_id: str, lane: deque[_Waiting]) -> None:
        """Deliver the events of one call."""
        found: Verdict = "delivered"
        try:
            while lane and found != "gone":
                found = await self._deliver(lane[0])
                lane.popleft()
                self._waiting -= 1
        finally:
            if self._lanes.get(call_id) is lane:
                del self._lanes[call_id]
                self._waiting -= len(lane)
                self._drop(len(lane))
        if found == "gone":
            logger.warning("webhook %s: it wants no more events, and gets none", self.name)
            self._close("it wants no more")

    async def _deliver(self, waiting: _Waiting) -> Verdict:
        """Try until it is taken, refused, or too old."""
        event, loop = waiting.event, asyncio.get_running_loop()
        tries = 0
        while True:
            answer = await self._try(event)
            tries += 1
            found = verdict(answer)
            if found == "delivered":
                self._count("delivered")
                return found
            pause_s = None
            if found == "again":
                left_s = waiting.give_up_at_s - loop.time()
                now = datetime.now(UTC)
                pause_s = wait_s(answer, tries, left_s, self._backoff, self._chance(), now)
            said = f"status {answer.status}" if answer.status is not None else answer.failure
            if pause_s is None:
                self._count("failed")
                logger.warning(
                    "webhook %s: %s is given up (tries: %d): %s", self.name, event.id, tries, said
                )
                return found
            logger.info(
                "webhook %s: %s is tried again in %.1f s: %s", self.name, event.id, pause_s, said
            )
            await asyncio.sleep(pause_s)

    async def _try(self, event: Event) -> Answer:
        signature = signed_headers(self._key, event.id, int(time.time()), event.body)
        limit_s = self._config.timeout_s
        request = httpx2.Request(
            "POST",
            self._url,
            headers={**self._headers, **signature},
            content=event.body,
            extensions={"timeout": httpx2.Timeout(limit_s).as_dict()},
        )
        answer = Answer(failure=f"no answer within {limit_s:g} s")
        try:
            async with self._slots, asyncio.timeout(limit_s):
                response = await self._transport.handle_async_request(request)
                async with aclosing(response):
                    answer = Answer(response.status_code, response.headers)
                    await _drain(response)
        except TimeoutError:
            pass  # the status holds if there was one
        except httpx2.HTTPError as error:
            if answer.status is None:
                answer = Answer(failure=f"{type(error).__name__}: {error}")
        return answer

    def _close(self, why: str) -> None:
        """Take no more, and drop what waits."""
        self._is_closed = True
        if self._waiting:
            logger.warning("webhook %s: %s: %d events are dropped", self.name, why, self._waiting)
            self._drop(self._waiting)
        self._lanes.clear()
        self._waiting = 0
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _drop(self, amount: int) -> None:
        if amount:
            self._count("dropped", amount)

    def _count(self, result: str, amount: int = 1) -> None:
        self._metrics.count("duplex_webhooks_total", amount, result=result)


async def _drain(response: httpx2.Response) -> None:
    read = 0
    async for piece in response.aiter_raw():
        read += len(piece)
        if read > _READ_BYTES:
            break


def _authorization(url: httpx2.URL) -> dict[str, str]:
    if not url.userinfo:
        return {}
    basic = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    return {"authorization": f"Basic {basic}"}
