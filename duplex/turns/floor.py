"""Who has the floor: a pure state machine in sample time.

Events come from the speech detector, the endpointing policy and the client; what is to be done
about them goes back as actions. All legal moves stand in `TRANSITIONS`; an illegal one raises and
changes nothing. Whether a reply sounds is known by the reply (`duplex.dialogue.reply_state`) and
passed in.
"""

from dataclasses import dataclass
from enum import Enum, auto

from duplex.errors import IllegalTransition
from duplex.turns.events import (
    BufferOpened,
    FloorEvent,
    PauseStarted,
    SpeechResumed,
    SpeechStarted,
    TurnDiscarded,
    TurnEnded,
)


class Floor(Enum):
    """What the caller does."""

    LISTENING = auto()  # the caller is silent, no turn is open
    SPEAKING = auto()  # a turn is open and the caller is heard
    PAUSED = auto()  # a turn is open and the caller is silent; it may be over


@dataclass(frozen=True, slots=True)
class BeginTurn:
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
    """The turn is over and may be committed: `Dialogue` puts it into history and releases the
    reply in one step."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class DiscardTurn:
    """Forget the open turn."""

    at_sample: int


Action = BeginTurn | Interrupt | Speculate | DropSpeculation | CommitTurn | DiscardTurn
_Step = type[BeginTurn | Speculate | DropSpeculation | CommitTurn | DiscardTurn]

TRANSITIONS: dict[tuple[Floor, type[FloorEvent]], tuple[Floor, tuple[_Step, ...]]] = {
    (Floor.LISTENING, SpeechStarted): (Floor.SPEAKING, (BeginTurn,)),
    (Floor.LISTENING, BufferOpened): (Floor.SPEAKING, (BeginTurn,)),
    (Floor.SPEAKING, PauseStarted): (Floor.PAUSED, (Speculate,)),
    (Floor.PAUSED, SpeechResumed): (Floor.SPEAKING, (DropSpeculation,)),
    (Floor.PAUSED, TurnEnded): (Floor.LISTENING, (CommitTurn,)),
    (Floor.SPEAKING, TurnEnded): (Floor.LISTENING, (CommitTurn,)),
    (Floor.LISTENING, TurnDiscarded): (Floor.LISTENING, ()),
    (Floor.SPEAKING, TurnDiscarded): (Floor.LISTENING, (DiscardTurn,)),
    (Floor.PAUSED, TurnDiscarded): (Floor.LISTENING, (DropSpeculation, DiscardTurn)),
}


class TurnMachine:
    """The floor of one call."""

    def __init__(self) -> None:
        self.floor = Floor.LISTENING

    def receive(self, event: FloorEvent, sounding_id: str | None = None) -> list[Action]:
        """Move and say what is to be done, in order. ``sounding_id`` is the response of the reply
        that the caller hears, None if there is none: speech interrupts it.

        Raises:
            IllegalTransition: the table holds no such move; nothing has changed.
        """
        try:
            self.floor, steps = TRANSITIONS[self.floor, type(event)]
        except KeyError:
            raise IllegalTransition(f"{type(event).__name__} while {self.floor.name}") from None
        actions: list[Action] = []
        if sounding_id is not None and isinstance(event, SpeechStarted):
            actions.append(Interrupt(sounding_id, event.at_sample))
        actions += [step(event.at_sample) for step in steps]
        return actions
