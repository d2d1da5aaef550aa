"""Who has the floor: a pure state machine in sample time.

Events come from the speech detector, the endpointing policy, the client and the reply; what is
to be done about them goes back as actions. All legal moves of the floor stand in `TRANSITIONS`;
an illegal one raises and changes nothing.
"""

from dataclasses import dataclass
from enum import Enum, auto

from duplex.errors import IllegalTransition
from duplex.turns.events import (
    BufferOpened,
    FloorEvent,
    PauseStarted,
    PlaybackChange,
    ReplyStarted,
    SpeechResumed,
    SpeechStarted,
    TurnDiscarded,
    TurnEnded,
)


class Floor(Enum):
    """What the caller does. Whether a reply is playing is known beside it."""

    LISTENING = auto()  # the caller is silent, no turn is open
    SPEAKING = auto()  # a turn is open and the caller is heard
    PAUSED = auto()  # a turn is open and the caller is silent; it may be over


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """The caller took the floor: begin to listen."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The caller spoke into a reply: cut it."""

    response_id: str
    at_sample: int


@dataclass(frozen=True, slots=True)
class Speculate:
    """The caller paused: work on a reply as if the turn were over, and hold it back."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class DropSpeculation:
    """The caller went on: the held reply is wrong, and history must not show it."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class CommitTurn:
    """The turn is over: put it into history and release the reply."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class DiscardTurn:
    """Forget the open turn."""

    at_sample: int


Action = OpenTurn | Interrupt | Speculate | DropSpeculation | CommitTurn | DiscardTurn
_Step = type[OpenTurn | Speculate | DropSpeculation | CommitTurn | DiscardTurn]

TRANSITIONS: dict[tuple[Floor, type[FloorEvent]], tuple[Floor, tuple[_Step, ...]]] = {
    (Floor.LISTENING, SpeechStarted): (Floor.SPEAKING, (OpenTurn,)),
    (Floor.LISTENING, BufferOpened): (Floor.SPEAKING, (OpenTurn,)),
    (Floor.SPEAKING, PauseStarted): (Floor.PAUSED, (Speculate,)),
    (Floor.PAUSED, SpeechResumed): (Floor.SPEAKING, (DropSpeculation,)),
    (Floor.PAUSED, TurnEnded): (Floor.LISTENING, (CommitTurn,)),
    (Floor.SPEAKING, TurnEnded): (Floor.LISTENING, (CommitTurn,)),
    (Floor.LISTENING, TurnDiscarded): (Floor.LISTENING, ()),
    (Floor.SPEAKING, TurnDiscarded): (Floor.LISTENING, (DiscardTurn,)),
    (Floor.PAUSED, TurnDiscarded): (Floor.LISTENING, (DropSpeculation, DiscardTurn)),
}


class TurnMachine:
    """The floor of one call, and the reply that is playing, if one is."""

    def __init__(self) -> None:
        self.floor = Floor.LISTENING
        self.reply: str | None = None  # id of the reply that sounds; set by ReplyStarted

    def receive(self, event: FloorEvent) -> list[Action]:
        """Move and say what is to be done, in order.

        Raises:
            IllegalTransition: the table holds no such move; nothing has changed.
        """
        try:
            floor, steps = TRANSITIONS[self.floor, type(event)]
        except KeyError:
            raise IllegalTransition(f"{type(event).__name__} while {self.floor.name}") from None
        actions: list[Action] = []
        if isinstance(event, SpeechStarted) and self.reply is not None:
            actions.append(Interrupt(self.reply, event.at_sample))
        actions += [step(event.at_sample) for step in steps]
        self.floor = floor
        return actions

    def reply_changed(self, event: PlaybackChange) -> None:
        """Note that a reply began or ended.

        Raises:
            IllegalTransition: a second reply begins, or one ends that is not playing.
        """
        expected = None if isinstance(event, ReplyStarted) else event.response_id
        if self.reply != expected:
            raise IllegalTransition(f"{event} while the reply is {self.reply}")
        self.reply = event.response_id if isinstance(event, ReplyStarted) else None
