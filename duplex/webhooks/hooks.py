"""The webhooks of one server: each call's events go to the addresses that want them."""

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import httpx2

from duplex.audio.formats import Samples
from duplex.config import Config, EventName, WebhookConfig
from duplex.dialogue.observers import Answer, CallInfo, CallObserver, TurnEnd
from duplex.errors import ConfigError
from duplex.logs import iso
from duplex.metrics import Metrics
from duplex.protocol.ids import random_id
from duplex.protocol.items import FunctionCall
from duplex.protocol.server_events import OutputItemDone, ResponseDone, ServerEvent
from duplex.webhooks.endpoint import Endpoint, Event
from duplex.webhooks.events import (
    Call,
    CallData,
    CalledFunction,
    Counts,
    Ended,
    FunctionCalled,
    Recorded,
    Recording,
    TurnEnded,
    answer_of,
    body_of,
    call_of,
)
from duplex.webhooks.retrying import BACKOFF, Backoff
from duplex.webhooks.signing import PREFIX, key_of
from tts.types import SpokenWord

Tell = Callable[[EventName, float, CallData], None]
"""Takes an event, the Unix time at which it happened, and what it says."""

_FAREWELL_S = 5.0  # when the server stops: for events to be delivered


class Webhooks:
    """Tells of calls while `running`."""

    def __init__(self, config: Config, metrics: Metrics, backoff: Backoff = BACKOFF) -> None:
        """
        Raises:
            ConfigError: a secret is missing, or is none.
        """
        self._metrics = metrics
        self._backoff = backoff
        self._configs = keys_of(config)
        self._endpoints: list[tuple[WebhookConfig, Endpoint]] = []  # set while it is running
        self._naming_key = secrets.token_bytes(16)  # another server's calls have the same names

    def observe(self, info: CallInfo) -> CallObserver | None:
        """See `duplex.dialogue.observers.Observe`."""
        return CallHooks(info, self._call(info), self._send) if self._endpoints else None

    def recorded(self, info: CallInfo, recording: Recording) -> None:
        """Tell that the recording of a call is whole, which it is some time after the call."""
        self._send("call.recorded", time.time(), Recorded(self._call(info), recording=recording))

    def _call(self, info: CallInfo) -> Call:
        name = f"{info.call_id} {info.began_s}".encode()
        digest = hashlib.blake2b(name, key=self._naming_key, digest_size=8)
        return call_of(info, f"call_{digest.hexdigest()}")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Deliver while the block runs. At its end what still waits has a few seconds.

        Raises:
            ConfigError: an address, or a proxy that the environment names for it, is none.
        """
        try:
            self._endpoints = [
                (config, Endpoint(config, key, self._metrics, self._backoff))
                for config, key in self._configs
            ]
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            raise ConfigError(f"webhooks: {error}") from error
        try:
            yield
        finally:
            endpoints, self._endpoints = self._endpoints, []
            await asyncio.gather(*(each.finish(_FAREWELL_S) for _, each in endpoints))

    def _send(self, kind: EventName, at_s: float, data: CallData) -> None:
        wanting = [endpoint for config, endpoint in self._endpoints if kind in config.events]
        if not wanting:
            return
        event_id = random_id("evt")
        event = Event(event_id, data.call.id, body_of(event_id, kind, at_s, data))
        for endpoint in wanting:
            endpoint.enqueue(event)


class CallHooks(CallObserver):
    """What one call tells of itself."""

    notice = ""

    def __init__(self, info: CallInfo, call: Call, tell: Tell) -> None:
        self._tell = tell
        self._began_s = info.began_s
        self._call = call
        self._usage = Counts()
        self._turns: set[str] = set()  # their items, less those that were taken back
        self._responses = 0
        self._words: tuple[str | None, str] = (None, "")  # of the last turn: its item, its words
        tell("call.started", info.began_s, CallData(self._call))

    def heard(self, samples: Samples, rate_hz: int, at_s: float) -> None:
        """No event tells of this, or of the next two."""

    def said(
        self, item_id: str, samples: Samples, rate_hz: int, words: Sequence[SpokenWord], at_s: float
    ) -> None:
        """See `CallObserver`, as for the others."""

    def cut(self, item_id: str, heard_s: float, words: str, at_s: float) -> None:
        """See `CallObserver`."""

    def turn_ended(self, turn: TurnEnd, at_s: float) -> None:
        self._turns.add(turn.item_id)

    def understood(self, item_id: str, words: str, at_s: float) -> None:
        self._words = (item_id, words)

    def taken_back(self, item_id: str, at_s: float) -> None:
        self._turns.discard(item_id)

    def answered(self, answer: Answer, at_s: float) -> None:
        self._responses += 1
        if not answer.in_conversation:
            return
        item_id, words = self._words
        data = TurnEnded(
            self._call,
            item_id=answer.turn_item_id,
            words=words if item_id is not None and item_id == answer.turn_item_id else None,
            answer=answer_of(answer),
        )
        self._tell("call.turn_ended", self._began_s + at_s, data)

    def sent(self, event: ServerEvent, at_s: float) -> None:
        if isinstance(event, ResponseDone) and event.response.usage is not None:
            self._usage = self._usage.plus(event.response.usage)
        elif isinstance(event, OutputItemDone):
            item = event.item
            if isinstance(item, FunctionCall) and item.status == "completed":
                function = CalledFunction(item.name, item.arguments, item.call_id)
                data = FunctionCalled(self._call, function=function)
                self._tell("call.function_called", self._began_s + at_s, data)

    def ended(self, kind: str, at_s: float) -> None:
        ended_s = self._began_s + at_s
        data = Ended(
            self._call,
            ended_at=iso(ended_s),
            duration_s=round(at_s, 3),
            reason=kind,
            turns=len(self._turns),
            responses=self._responses,
            usage=self._usage,
        )
        self._tell("call.ended", ended_s, data)


def keys_of(config: Config) -> list[tuple[WebhookConfig, bytes]]:
    """Return the webhooks, each with what its events are signed with.

    Raises:
        ConfigError: a secret is missing, or is none.
    """
    return [(each, _key(each)) for each in config.webhooks]


def _key(config: WebhookConfig) -> bytes:
    """
    Raises:
        ConfigError: as `keys_of`.
    """
    secret = config.secret()
    if not secret:
        raise ConfigError(
            f"webhooks: the variable {config.secret_env} is not set; a secret is what "
            f'`echo "{PREFIX}$(openssl rand -base64 32)"` prints'
        )
    try:
        return key_of(secret)
    except ValueError as error:
        raise ConfigError(f"webhooks: {config.secret_env} holds no secret: {error}") from error
