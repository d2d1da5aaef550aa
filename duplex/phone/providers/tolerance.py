"""What becomes of a provider's message that cannot be read: it is passed over and counted.

A person is at the other end, and the audio before and behind it is good. Only a flood of them ends
the call. Until a stream has begun nobody speaks: there what cannot be read ends it.
"""

from collections.abc import Callable, Sequence

from duplex.errors import ProtocolError
from duplex.logs import AnyLogger
from duplex.metrics import Metrics
from duplex.phone.codec import PhoneCodec, Wire
from duplex.phone.events import PhoneEvent, Started
from duplex.rate import TokenBucket

AT_ONCE = 200  # 4 s of a stream in which nothing can be read
A_SECOND = 10


class TolerantCodec:
    """A `PhoneCodec` of one call that passes over what another cannot read."""

    def __init__(
        self,
        codec: PhoneCodec,
        provider: str,
        metrics: Metrics,
        log: AnyLogger,
        clock: Callable[[], float],
    ) -> None:
        """``provider`` is the name by which the messages are counted."""
        self.frame_ms = codec.frame_ms
        self.has_marks = codec.has_marks
        self.play, self.mark = codec.play, codec.mark
        self.clear, self.hang_up = codec.clear, codec.hang_up
        self._codec = codec
        self._provider = provider
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._allowed = TokenBucket(A_SECOND, AT_ONCE, clock())
        self._has_started = False
        self._has_told = False

    def receive(self, message: Wire) -> Sequence[PhoneEvent]:
        """Read one message; no events if it cannot be read.

        Raises:
            ProtocolError: it cannot be read, and comes before the start or is one too many.
        """
        try:
            events = self._codec.receive(message)
        except ProtocolError as error:
            self._metrics.count("duplex_dropped_total", reason=self._provider)
            if not (self._has_started and self._allowed.take(1, self._clock())):
                raise
            if not self._has_told:
                self._has_told = True
                self._log.info("a message of its phone line is passed over: %s", error.code)
            self._log.debug("a message is passed over: %s", error)
            return ()
        self._has_started = self._has_started or any(isinstance(e, Started) for e in events)
        return events
