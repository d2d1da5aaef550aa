"""Who takes the calls of a `SipListener` in tests, with a phone to call it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from websockets.exceptions import ConnectionClosed

from duplex.config import SipConfig
from duplex.metrics import Metrics
from duplex.phone.events import CallerAudio, KeyPressed, Started, Stopped
from duplex.phone.sip.call import SipCall, SipCodec
from duplex.phone.sip.listener import Refused, SipListener
from tests._support.sip_phone import SipPhone, sip_phone


class Desk:
    """Takes the calls of a listener, and notes them."""

    def __init__(self) -> None:
        self.refusal: Refused | None = None
        self.open: list[SipCall] = []
        self.answered: list[str] = []  # by whom
        self.told: list[object] = []  # events, but for sound
        self.keys = ""
        self.encodings: list[str] = []
        self.heard = 0  # frames of sound
        self.metrics = Metrics()
        self.listener: SipListener

    async def serve(self, call: SipCall) -> None:
        codec = SipCodec(call)
        self.open.append(call)
        with contextlib.suppress(ConnectionClosed):
            while True:
                for event in codec.receive(await call.recv()):
                    if isinstance(event, Started):
                        self.answered.append(event.parameters["assistant"])
                        self.encodings.append(event.encoding.name)
                    elif isinstance(event, KeyPressed):
                        self.keys += event.key
                    elif isinstance(event, Stopped):
                        self.told.append(event)
                    elif isinstance(event, CallerAudio):
                        self.heard += 1
        self.open.remove(call)


@contextlib.asynccontextmanager
async def desk(**options: object) -> AsyncIterator[tuple[Desk, SipPhone]]:
    """A listener, and a phone to call it."""
    taker = Desk()
    config = SipConfig(enabled=True, listen="127.0.0.1:0", **options)  # type: ignore[arg-type]
    listener = SipListener(
        config,
        taker.metrics,
        lambda: taker.refusal,
        lambda dialled: dialled.upper(),
        taker.serve,
        lambda: "call-1",
    )
    taker.listener = listener
    await listener.start()
    try:
        async with sip_phone(listener.address) as phone:
            yield taker, phone
            await listener.stop()
    finally:
        await listener.stop()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the real network does."""
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0.005)
