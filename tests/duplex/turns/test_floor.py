"""The floor: every legal move, and that illegal ones change nothing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from duplex.turns.floor import (
    TRANSITIONS,
    BeginTurn,
    CommitTurn,
    DiscardTurn,
    DropSpeculation,
    Floor,
    Interrupt,
    Speculate,
    TurnMachine,
)

KINDS: list[type[FloorEvent]] = [
    SpeechStarted,
    BufferOpened,
    PauseStarted,
    SpeechResumed,
    TurnEnded,
    TurnDiscarded,
]


def event(kind: type[FloorEvent], at: int) -> FloorEvent:
    return SpeechStarted(at, from_sample=at) if kind is SpeechStarted else kind(at)  # type: ignore[call-arg]


def started(at: int) -> SpeechStarted:
    return SpeechStarted(at, from_sample=at)


def test_a_turn_with_a_pause_inside() -> None:
    machine = TurnMachine()
    assert machine.receive(started(100)) == [BeginTurn(100)]
    assert machine.receive(PauseStarted(200)) == [Speculate(200)]
    assert machine.receive(SpeechResumed(300)) == [DropSpeculation(300)]
    assert machine.receive(PauseStarted(400)) == [Speculate(400)]
    assert machine.receive(TurnEnded(500)) == [CommitTurn(500)]
    assert machine.floor is Floor.LISTENING


def test_speech_into_a_reply_interrupts_it_before_it_opens_the_turn() -> None:
    machine = TurnMachine()
    assert machine.receive(started(7), sounding_id="r1") == [Interrupt("r1", 7), BeginTurn(7)]


def test_speech_after_the_reply_has_ended_interrupts_nothing() -> None:
    machine = TurnMachine()
    assert machine.receive(started(7), sounding_id=None) == [BeginTurn(7)]


def test_clearing_a_paused_turn_drops_its_speculation_too() -> None:
    machine = TurnMachine()
    machine.receive(started(0))
    machine.receive(PauseStarted(1))
    assert machine.receive(TurnDiscarded(2)) == [DropSpeculation(2), DiscardTurn(2)]


@given(st.lists(st.sampled_from(KINDS), max_size=30))
def test_any_order_of_events_is_legal_by_the_table_or_changes_nothing(
    kinds: list[type[FloorEvent]],
) -> None:
    machine = TurnMachine()
    floors = [machine.floor]
    for at, kind in enumerate(kinds):
        if (machine.floor, kind) in TRANSITIONS:
            machine.receive(event(kind, at))
        else:
            with pytest.raises(IllegalTransition):
                machine.receive(event(kind, at))
        floors.append(machine.floor)
    for (before, after), kind in zip(pairwise(floors), kinds, strict=True):
        assert after == TRANSITIONS.get((before, kind), (before,))[0]


@given(st.lists(st.sampled_from(KINDS), max_size=30))
def test_every_speculation_is_dropped_or_committed_before_the_next(
    kinds: list[type[FloorEvent]],
) -> None:
    machine = TurnMachine()
    held = False
    for at, kind in enumerate(kinds):
        if (machine.floor, kind) not in TRANSITIONS:
            continue
        for action in machine.receive(event(kind, at)):
            if isinstance(action, Speculate):
                assert not held
                held = True
            elif isinstance(action, DropSpeculation | CommitTurn):
                held = False
    assert held == (machine.floor is Floor.PAUSED)
