"""The life of a reply: which phases it can be in, and what moves it from one to the next.

Rule: every question about how far a reply has come is answered by its `ReplyState`. Nobody keeps
a flag of their own. All legal moves stand in `TRANSITIONS`; an illegal one raises and changes
nothing.

Theory of operation
===================

A reply begins HELD: the brain thinks and the voice speaks, but nothing goes out. A reply to a
pause that was not the end of the turn is stopped here, and nobody knows that it existed.

When the turn is committed the reply is released. While it is SPEAKING its parts go out as they
are made. When the last part is sent it is DELIVERED: the caller still hears it for a while. When
they have heard all of it, it is PLAYED.

A barge-in stops a reply that sounds. If it may have been a mistake ("mm-hm", a cough), the reply
is SUSPENDED until the caller's words are known. Then it is resumed, and SPEAKING again, or
stopped. It is PLAYED if nothing was left to resume.

Four other things hang on the phase. They are derived from it and stored nowhere else:

1. *Making* (`SpeechPipeline`) begins with HELD and takes no notice of being released. It waits
   while the reply is SUSPENDED. It is over before DELIVERED. The code that moves a reply to
   STOPPED also cancels the reply's task, which ends the making early.
2. *Sending* (`Delivery.next_part`, `Reply`) happens while SPEAKING and in no other phase. So the
   move that leaves SPEAKING is the output gate of a barge-in: nothing is sent after it, whatever
   is still being made.
3. *The response on the wire* (`ResponseStream`) is open exactly while SPEAKING. Each move into
   SPEAKING opens a response, each move out of it closes one. A reply that is resumed is therefore
   reported as several responses.
4. *The floor* (`TurnMachine`) lets speech interrupt a reply that is in a phase of
   `SOUNDING`.

Of the replies in the conversation at most one sounds and at most one is suspended. To release a
reply, `Replies` first moves the one before to PLAYED; the table allows that when it is DELIVERED,
and refuses it while it is still SPEAKING. A reply out of band goes HELD, SPEAKING, DELIVERED,
PLAYED; it is never suspended.

Not in the table: how much was heard (`PlaybackLedger`), and how the brain finished
(`SpeechPipeline.finished`). These are amounts, not phases.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto

from duplex.errors import IllegalTransition


class Phase(Enum):
    """How far a reply has come."""

    HELD = auto()  # it is made, and nothing goes out
    SPEAKING = auto()  # its parts go out
    DELIVERED = auto()  # all parts are out, and the caller still hears them
    SUSPENDED = auto()  # a barge-in stopped it, and it is not known whether that was meant
    PLAYED = auto()  # the caller has heard all of it
    STOPPED = auto()  # nothing more of it will be heard


@dataclass(frozen=True, slots=True)
class Released:
    """The turn is over: the reply may be heard."""


@dataclass(frozen=True, slots=True)
class AllSent:
    """The last part went out."""


@dataclass(frozen=True, slots=True)
class BargedIn:
    """The caller spoke over it, and may not have meant to."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The caller did not mean to interrupt: the rest goes out."""


@dataclass(frozen=True, slots=True)
class HeardOut:
    """The caller has heard all of it, or is taken to have: the next reply begins."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """It is given up: wrong speculation, a barge-in that was meant, or a client's wish."""


SOUNDING = (Phase.SPEAKING, Phase.DELIVERED)  # the caller hears it, so speech interrupts it
ReplyMove = Released | AllSent | BargedIn | Resumed | HeardOut | Stopped

TRANSITIONS: dict[tuple[Phase, type[ReplyMove]], Phase] = {
    (Phase.HELD, Released): Phase.SPEAKING,
    (Phase.HELD, Stopped): Phase.STOPPED,
    (Phase.SPEAKING, AllSent): Phase.DELIVERED,
    (Phase.SPEAKING, BargedIn): Phase.SUSPENDED,
    (Phase.SPEAKING, Stopped): Phase.STOPPED,
    (Phase.DELIVERED, BargedIn): Phase.SUSPENDED,
    (Phase.DELIVERED, HeardOut): Phase.PLAYED,
    (Phase.DELIVERED, Stopped): Phase.STOPPED,
    (Phase.SUSPENDED, Resumed): Phase.SPEAKING,
    (Phase.SUSPENDED, HeardOut): Phase.PLAYED,
    (Phase.SUSPENDED, Stopped): Phase.STOPPED,
}


class ReplyState:
    """The phase of one reply. Tasks of the reply wait here for the phase that they need."""

    def __init__(self) -> None:
        self.phase = Phase.HELD
        self._changed = asyncio.Event()  # set by the next move, which puts a fresh one here

    def move(self, event: ReplyMove) -> None:
        """Go to the next phase and wake those who wait for it.

        Raises:
            IllegalTransition: the table holds no such move; nothing has changed.
        """
        try:
            self.phase = TRANSITIONS[self.phase, type(event)]
        except KeyError:
            raise IllegalTransition(
                f"{type(event).__name__} while the reply is {self.phase.name}"
            ) from None
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, phase: Phase) -> None:
        """Wait until the reply is in ``phase``. Returns without a pause if it is."""
        while self.phase is not phase:
            await self._changed.wait()

    async def leaves(self, phase: Phase, within_s: float | None = None) -> bool:
        """Wait until the reply is in another phase than ``phase``, at most ``within_s`` seconds.
        Returns whether it is, without a pause if it is already."""
        if self.phase is phase:
            try:
                async with asyncio.timeout(within_s):
                    while self.phase is phase:
                        await self._changed.wait()
            except TimeoutError:
                pass  # the move may have come at the same moment
        return self.phase is not phase
