"""What a call reports while it goes on, to whoever keeps, sends or measures it.

A server is given a list of `Observe`. Each is asked once for every call, when it begins, and
returns its `CallObserver`, or None for a call that it has no interest in. `Observers` is the call's
side: it adds the time, and drops an observer that fails, so that the call goes on.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from duplex.audio.formats import Samples
from duplex.logs import call_logger
from duplex.metrics import Clock
from duplex.protocol.response_types import StatusDetails
from duplex.protocol.server_events import ServerEvent
from duplex.protocol.session_config import SessionConfig
from tts.types import SpokenWord

logger = logging.getLogger(__name__)

# Turns that may still be taken back, and are then not counted; only the last can.
_TAKEN_BACK = 4
_TOLD = 2  # times that a notice is said, if it is talked over


@dataclass(frozen=True, slots=True)
class CallInfo:
    """What is known of a call when it begins."""

    call_id: str
    began_s: float  # Unix time
    key: str  # the name of the caller's key; "" without one
    client: str  # what it comes over: "websocket", "webrtc", "sip", "twilio", ...
    origin: str  # the address, or the provider of a phone call
    session: SessionConfig  # what it begins with; `SessionUpdated` tells what it is later
    records: bool | None = None  # whether its calls are recorded, if the key says so
    caller: str = ""  # the number of who calls, if it is a phone call and known
    called: str = ""  # the number that was called, likewise
    traceparent: str = ""  # names the trace that it is part of (W3C Trace Context), if there is one


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The caller's turn ``item_id`` is over."""

    item_id: str
    from_sample: int  # of the call's 16 kHz samples: where its audio begins
    to_sample: int  # where its speech ended
    ended_s: float  # likewise, in the call's seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """A response has ended, at its last sample sent; the caller may still hear it."""

    response_id: str
    item_id: str  # of its words, which `said` and `cut` name
    turn_item_id: str | None  # the caller's turn that it answers
    words: str  # all that were sent
    modality: str  # "audio" or "text"
    in_conversation: bool  # else it is out of band, and nobody hears it
    is_resumed: bool  # goes on with one that was interrupted
    ending: StatusDetails
    speech_end_s: float  # the caller's last speech sample, in the call's seconds
    marks_ms: dict[str, float]  # stages, after that; see `duplex.metrics.STAGES`


class CallObserver(Protocol):
    """One call's. Nothing here may wait: the event loop of all calls does meanwhile.

    ``at_s`` is seconds since the call began, of a monotonic clock.
    """

    notice: str
    """What the caller has to be told because of it, before all else; "" if nothing."""

    def heard(self, samples: Samples, rate_hz: int, at_s: float) -> None:
        """Audio came from the caller."""

    def said(
        self,
        item_id: str,
        samples: Samples,
        rate_hz: int,
        words: Sequence[SpokenWord],
        at_s: float,
    ) -> None:
        """Audio of an item goes out, with the words that end in it; offsets are samples from the
        item's first. It is played when all that went out before is."""

    def cut(self, item_id: str, heard_s: float, words: str, at_s: float) -> None:
        """Only so much of the item was heard, and these words of it. It may come again for the
        same item: the last one holds."""

    def turn_ended(self, turn: TurnEnd, at_s: float) -> None:
        """A turn of the caller's is over; its words may not be known yet."""

    def understood(self, item_id: str, words: str, at_s: float) -> None:
        """What the caller said in a turn; "" if nobody could tell."""

    def taken_back(self, item_id: str, at_s: float) -> None:
        """The item, a turn or an answer to it, is not part of the call: the turn goes on."""

    def answered(self, answer: Answer, at_s: float) -> None:
        """A response has ended."""

    def sent(self, event: ServerEvent, at_s: float) -> None:
        """An event goes to the client, audio too."""

    def ended(self, kind: str, at_s: float) -> None:
        """The call is over; ``kind`` is why, as ``duplex_calls_ended_total`` counts it. Nothing
        follows."""


Observe = Callable[[CallInfo], CallObserver | None]
"""Asked for each call when it begins."""


class _Notice:
    """Whether a caller has heard what they have to be told. A caller who talks over it is told once
    more, and no oftener."""

    def __init__(self) -> None:
        self.is_due = True
        self._words = ""
        self._is_next = False  # whether the next item that is said is the notice
        self._item_id = ""
        self._times = 0

    def take(self, words: str) -> str:
        """Somebody says it now."""
        self.is_due, self._words, self._is_next = False, words, True
        self._times += 1
        return words

    def said(self, item_id: str) -> None:
        """Sound of an item goes out."""
        if self._is_next:
            self._item_id, self._is_next = item_id, False

    def cut(self, item_id: str, words: str) -> None:
        """Only these words of an item were heard."""
        if item_id == self._item_id and self._words and self._times < _TOLD:
            self.is_due = not words.startswith(self._words)


class Observers:
    """Those of one call."""

    def __init__(
        self, clock: Clock, observers: Sequence[CallObserver] = (), call_id: str = ""
    ) -> None:
        """The call begins now, by ``clock``."""
        self.turns = 0
        """How many turns the caller has had."""
        self._clock = clock
        self._began_s = clock()
        self._log = call_logger(logger, call_id)
        self._observers = list(observers)
        self._last_turns: deque[str] = deque(maxlen=_TAKEN_BACK)
        self._notice = _Notice()

    @property
    def has_notice(self) -> bool:
        """Whether the caller has to be told something, and was not told yet."""
        return self._notice.is_due and bool(self._words_of_notice())

    def take_notice(self) -> str:
        """Return what the caller has to be told before all else, to whom says it; "" if nothing,
        or if it was taken. One that is talked over is due again."""
        return self._notice.take(self._words_of_notice()) if self._notice.is_due else ""

    def _words_of_notice(self) -> str:
        return " ".join(observer.notice for observer in self._observers if observer.notice)

    def heard(self, samples: Samples, rate_hz: int) -> None:
        """See `CallObserver.heard`; the others likewise."""
        self._tell(lambda observer, at_s: observer.heard(samples, rate_hz, at_s))

    def said(
        self, item_id: str, samples: Samples, rate_hz: int, words: Sequence[SpokenWord]
    ) -> None:
        self._notice.said(item_id)
        self._tell(lambda observer, at_s: observer.said(item_id, samples, rate_hz, words, at_s))

    def cut(self, item_id: str, heard_s: float, words: str) -> None:
        self._notice.cut(item_id, words)
        self._tell(lambda observer, at_s: observer.cut(item_id, heard_s, words, at_s))

    def turn_ended(
        self, item_id: str, from_sample: int, to_sample: int, speech_end_s: float
    ) -> None:
        """``speech_end_s`` is of the clock."""
        self.turns += 1
        self._last_turns.append(item_id)

        def tell(observer: CallObserver, at_s: float) -> None:
            ended_s = self.since_began_s(speech_end_s)
            observer.turn_ended(TurnEnd(item_id, from_sample, to_sample, ended_s), at_s)

        self._tell(tell)

    def understood(self, item_id: str, words: str) -> None:
        self._tell(lambda observer, at_s: observer.understood(item_id, words, at_s))

    def taken_back(self, item_id: str) -> None:
        if item_id in self._last_turns:
            self._last_turns.remove(item_id)
            self.turns -= 1
        self._tell(lambda observer, at_s: observer.taken_back(item_id, at_s))

    def answered(self, answer: Answer) -> None:
        self._tell(lambda observer, at_s: observer.answered(answer, at_s))

    def sent(self, event: ServerEvent) -> None:
        self._tell(lambda observer, at_s: observer.sent(event, at_s))

    def ended(self, kind: str) -> None:
        self._tell(lambda observer, at_s: observer.ended(kind, at_s))
        self._observers.clear()

    def since_began_s(self, clock_s: float) -> float:
        """Return a time of the clock in the call's seconds."""
        return clock_s - self._began_s

    def _tell(self, tell: Callable[[CallObserver, float], Any]) -> None:
        if not self._observers:
            return
        at_s = self.since_began_s(self._clock())
        for observer in [*self._observers]:
            try:
                tell(observer, at_s)
            except Exception:  # it harms no call
                self._log.exception("what observes the call has failed")
                self._observers.remove(observer)


def observers_of(info: CallInfo, observe: Sequence[Observe], clock: Clock) -> Observers:
    """Ask each of ``observe`` for its side of a call that begins now."""
    found: list[CallObserver] = []
    for ask in observe:
        try:
            observer = ask(info)
        except Exception:  # it harms no call
            call_logger(logger, info.call_id).exception("what observes the call has failed")
        else:
            if observer is not None:
                found.append(observer)
    return Observers(clock, found, info.call_id)
