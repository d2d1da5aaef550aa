"""Bounds on the work that one client's messages cause, whatever they hold."""

import asyncio

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.items import MAX_AUDIO_BYTES
from duplex.protocol.shapes import ClientMessage
from duplex.rate import TokenBucket

_SMALL_CHARS = 32_768  # is decoded at once, whatever it holds
_MAX_OBJECTS = 4_000  # of a larger message: the tools of the largest agents have hundreds
_MAX_VALUES = 200_000  # commas are cheap, and long texts have many
# Of audio that may come at once: the largest message the protocol allows, of 24 kHz PCM.
_BURST_S = MAX_AUDIO_BYTES / (2 * 24_000)
# While a client waits it is not read, and the pings of its socket are not answered. Clients give up
# after 20 s.
_MAX_WAIT_S = 10.0


def check_cost(message: ClientMessage) -> None:
    """Refuse JSON that would hold up the event loop: objects and values cost far more to decode
    than audio of the same length (docs/decisions/0045-measured-bounds.md). Events that come
    without JSON pass.

    Raises:
        ProtocolError: it has too many values.
    """
    if not isinstance(message, str | bytes) or len(message) <= _SMALL_CHARS:
        return
    if isinstance(message, str):
        objects = message.count("{") + message.count("[")
        values = message.count(",")
    else:
        objects = message.count(b"{") + message.count(b"[")
        values = message.count(b",")
    if objects > _MAX_OBJECTS or values > _MAX_VALUES:
        raise ProtocolError("The message has too many values.", code=Code.INVALID_VALUE)


class AudioPace:
    """Takes audio no faster than ``rate`` times real time. A client that sends a little more has to
    wait before it is read again, and what is far more is refused: hearing costs time in proportion,
    which other callers need."""

    def __init__(self, rate: float, now_s: float) -> None:
        self._never_long_s = rate * _MAX_WAIT_S  # there is no debt when a message is read
        self._bucket = TokenBucket(rate, _BURST_S, now_s)

    def check(self, seconds: float, now_s: float) -> None:
        """Refuse ``seconds`` of audio that would have to wait for long.

        Raises:
            ProtocolError: rate_limit_exceeded; nothing was taken.
        """
        if seconds <= self._never_long_s:
            return
        wait_s = self._bucket.wait_s(seconds, now_s)
        if wait_s > _MAX_WAIT_S:
            raise ProtocolError(
                f"The audio lasts {seconds:.1f} s, and comes faster than it can be heard. Nothing "
                f"of it was taken. Send it in parts, or again in {wait_s - _MAX_WAIT_S:.0f} s.",
                code=Code.RATE_LIMIT,
                param="audio",
            )

    async def take(self, seconds: float, now_s: float) -> None:
        """Note ``seconds`` of audio; wait if it is too much."""
        debt_s = self._bucket.debt_s(seconds, now_s)
        await asyncio.sleep(debt_s)  # zero: other calls get their turn
